package cli

import (
	"context"
	"errors"
	"net/url"

	"github.com/bulkhead-engine/bulkhead/internal/cli/runflags"
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// execFlags are those of exec.
type execFlags struct {
	interactive, tty, detach, privileged bool
	env, envFile                         []string
	dir, user, keys                      string
}

// execCommand runs one more program in a container.
func execCommand(p *program) *cobra.Command {
	var o execFlags
	c := &cobra.Command{
		Use: "exec [OPTIONS] CONTAINER COMMAND [ARG...]", Short: "Run a command in a running container", Args: count(2, -1), ValidArgsFunction: p.completeContainer(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error { return p.exec(cmd.Context(), &o, args) },
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.interactive, "interactive", "i", false, "keep standard input open")
	f.BoolVarP(&o.tty, "tty", "t", false, "give it a terminal")
	f.BoolVarP(&o.detach, "detach", "d", false, "leave it in the background")
	f.StringArrayVarP(&o.env, "env", "e", nil, "set a variable: NAME=VALUE, or NAME for the caller's own")
	f.StringArrayVar(&o.envFile, "env-file", nil, "variables from a `file`")
	f.StringVarP(&o.dir, "workdir", "w", "", "working directory")
	f.StringVarP(&o.user, "user", "u", "", "name or number, and :group")
	f.StringVar(&o.keys, "detach-keys", "", detachText)
	f.BoolVar(&o.privileged, "privileged", false, "more than the container has")
	return c
}

func (p *program) exec(ctx context.Context, o *execFlags, args []string) error {
	env, err := runflags.Variables(o.envFile, o.env)
	if err != nil {
		return err
	}
	q := container.ExecCreateRequest{
		User: o.user, Privileged: o.privileged, Tty: o.tty, AttachStdin: o.interactive && !o.detach, AttachStdout: !o.detach, AttachStderr: !o.detach,
		Env: env, WorkingDir: o.dir, Cmd: args[1:],
	}
	var keys []byte
	if q.DetachKeys, keys, err = p.detachKeys(o.keys); err != nil {
		return err
	}
	if h, w := p.size(); o.tty && h > 0 {
		q.ConsoleSize = &[2]uint{uint(h), uint(w)}
	}
	if err := p.checkTerminal(q.AttachStdin, q.Tty); err != nil {
		return err
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	var made container.ExecCreateResponse
	if err := api.Post(ctx, containerPath(args[0], "exec"), nil, &q, &made); err != nil {
		return p.meant(ctx, args[0], err)
	}
	path := "/exec/" + url.PathEscape(made.ID)
	start := container.ExecStartRequest{Detach: o.detach, Tty: o.tty, ConsoleSize: q.ConsoleSize}
	if o.detach {
		return execFailed(api.Post(ctx, path+"/start", nil, &start, nil))
	}
	return p.joinExec(ctx, api, path, &start, conversation{tty: q.Tty, stdin: q.AttachStdin, stdout: true, err: true, keys: keys})
}

// joinExec starts what was made with its streams here, and ends with its exit status.
func (p *program) joinExec(ctx context.Context, api *client.Client, path string, start *container.ExecStartRequest, c conversation) error {
	conn, err := api.Hijack(ctx, path+"/start", nil, start)
	if err != nil {
		return execFailed(err)
	}
	defer conn.Close()
	if c.tty {
		defer p.followSize(api, path, start.ConsoleSize == nil, false)()
	}
	if err := p.carry(ctx, conn, c); err != nil {
		if errors.Is(err, errDetached) {
			return nil
		}
		return err
	}
	var seen container.ExecInspectResponse
	if err := api.Get(context.WithoutCancel(ctx), path+"/json", nil, &seen); err != nil {
		return err
	}
	switch {
	case seen.ExitCode == nil:
		return errdef.Errorf(errdef.Internal, "exec: its streams have ended, and it has not")
	case *seen.ExitCode != 0:
		return &statusError{status: *seen.ExitCode}
	}
	return nil
}

// execFailed gives an error of the start Docker's exit status.
func execFailed(err error) error {
	if err == nil {
		return nil
	}
	if status := programStatus(err); status != exitEngine {
		return &statusError{status, err}
	}
	return err
}
