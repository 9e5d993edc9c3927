package cli

import (
	"context"
	"errors"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// inspectOne asks for one container.
func inspectOne(ctx context.Context, api *client.Client, name string) (container.InspectResponse, error) {
	var c container.InspectResponse
	err := api.Get(ctx, containerPath(name, "json"), nil, &c)
	if err == nil && (c.Config == nil || c.State == nil || c.HostConfig == nil) {
		err = errdef.Errorf(errdef.Internal, "container %q: the engine tells too little of it", name)
	}
	return c, err
}

// attachCommand joins the streams of a container that runs.
func attachCommand(p *program) *cobra.Command {
	var noInput, proxy bool
	var keys string
	c := &cobra.Command{
		Use: "attach [OPTIONS] CONTAINER", Short: "Join the standard streams of a running container", Args: count(1, 1), ValidArgsFunction: p.completeContainer(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			s := session{proxy: proxy}
			var err error
			if s.written, s.keys, err = p.detachKeys(keys); err != nil {
				return err
			}
			api, err := p.engine()
			if err != nil {
				return err
			}
			c, err := inspectOne(cmd.Context(), api, args[0])
			if err != nil {
				return p.meant(cmd.Context(), args[0], err)
			}
			if err := attachable(args[0], c.State); err != nil {
				return err
			}
			s.join(&c, !noInput)
			return p.attach(cmd.Context(), api, &s)
		},
	}
	f := c.Flags()
	f.BoolVar(&noInput, "no-stdin", false, "leave its standard input alone")
	f.BoolVar(&proxy, "sig-proxy", true, "pass signals on to the program")
	f.StringVar(&keys, "detach-keys", "", detachText)
	return c
}

// join takes from a container what its streams are.
func (s *session) join(c *container.InspectResponse, stdin bool) {
	s.id, s.tty, s.stdin, s.stdout, s.err = c.ID, c.Config.Tty, stdin && c.Config.OpenStdin, true, true
}

// attachable reports why a container cannot be attached to.
func attachable(name string, s *container.State) error {
	switch {
	case !s.Running:
		return errdef.WithHint(errdef.Errorf(errdef.Conflict, "attach: container %q does not run", name), "start it: bulkhead start -ai "+name)
	case s.Paused:
		return errdef.WithHint(errdef.Errorf(errdef.Conflict, "attach: container %q is paused", name), "bulkhead unpause "+name)
	case s.Restarting:
		return errdef.WithHint(errdef.Errorf(errdef.Conflict, "attach: container %q is restarting", name), "wait until it runs")
	}
	return nil
}

// attach carries the streams of a running container, and ends with its exit status if it ends meanwhile.
func (p *program) attach(ctx context.Context, api *client.Client, s *session) error {
	if err := p.checkTerminal(s.stdin, s.tty); err != nil {
		return err
	}
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	ended, err := expectEnd(last, api, s.id, false)
	if err != nil {
		return err
	}
	conn, err := api.Hijack(ctx, containerPath(s.id, "attach"), s.query(), nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	if s.proxy && !s.tty {
		defer p.passSignals(api, s.id)()
	}
	if s.tty {
		defer p.followSize(api, containerPath(s.id, ""), true, true)()
	}
	err = p.carry(ctx, conn, s.conversation)
	switch {
	case errors.Is(err, errDetached):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	select {
	case e := <-ended:
		return e.err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
