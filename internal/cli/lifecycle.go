package cli

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

// containerPath is the path of a container in the API, and what follows it.
func containerPath(name, action string) string {
	path := "/containers/" + url.PathEscape(name)
	if action != "" {
		path += "/" + action
	}
	return path
}

// A deed is what a command does to one container. If it returns errSaid it was not done, and the command does not fail for that.
type deed func(ctx context.Context, api *client.Client, name string) error

var errSaid = errors.New("said already")

// post is a deed of one request.
func post(action string, query func() url.Values) deed {
	return func(ctx context.Context, api *client.Client, name string) error {
		var q url.Values
		if query != nil {
			q = query()
		}
		return api.Post(ctx, containerPath(name, action), q, nil, nil)
	}
}

// onEach is a command that does something to containers, one after the other, and prints their names.
func onEach(p *program, use, short string, which func(*container.Summary) bool, do deed) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: count(1, -1), ValidArgsFunction: p.completeContainers(which),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := p.engine()
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(name string) error {
				if name == "" {
					return errdef.Errorf(errdef.Invalid, "%s: a container has no empty name", commandWords(cmd))
				}
				err := do(cmd.Context(), api, name)
				switch {
				case errors.Is(err, errSaid):
					return nil
				case err != nil:
					return p.meant(cmd.Context(), name, err)
				}
				return p.printOthers(name)
			})
		},
	}
}

// startCommand starts containers, or one with its streams here.
func startCommand(p *program) *cobra.Command {
	var attach, interactive bool
	var keys string
	c := onEach(p, "start [OPTIONS] CONTAINER [CONTAINER...]", "Start stopped containers", isStopped, post("start", nil))
	plain := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case !attach && !interactive:
			return plain(cmd, args)
		case len(args) > 1:
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "start: the streams of one container can be here, and %d are named", len(args)), "leave -a and -i away")
		}
		return p.startHere(cmd.Context(), args[0], keys, interactive)
	}
	f := c.Flags()
	f.BoolVarP(&attach, "attach", "a", false, "show its output, and pass signals on")
	f.BoolVarP(&interactive, "interactive", "i", false, "join its standard input, too")
	f.StringVar(&keys, "detach-keys", "", detachText)
	checkpoints := refusedFlag{reason: "checkpoints are not there yet"}
	refuse(f, "checkpoint", "", checkpoints)
	refuse(f, "checkpoint-dir", "", checkpoints)
	return c
}

// startHere starts a container with its streams here. One that runs is joined.
func (p *program) startHere(ctx context.Context, name, keys string, interactive bool) error {
	s := session{proxy: true}
	var err error
	if s.written, s.keys, err = p.detachKeys(keys); err != nil {
		return err
	}
	api, err := p.engine()
	if err != nil {
		return err
	}
	c, err := inspectOne(ctx, api, name)
	if err != nil {
		return p.meant(ctx, name, err)
	}
	if s.join(&c, interactive); c.State.Running {
		return p.attach(ctx, api, &s)
	}
	if err := p.checkTerminal(s.stdin, s.tty); err != nil {
		return err
	}
	if err := p.oneEngine(ctx, api); err != nil {
		return err
	}
	return p.foreground(ctx, api, &s)
}

// stopFlags are those of stop and restart.
type stopFlags struct {
	seconds int
	signal  string
}

func (s *stopFlags) register(p *program, c *cobra.Command) {
	f := c.Flags()
	f.IntVarP(&s.seconds, "timeout", "t", 10, "seconds it has to end by itself; -1: for ever; else as the container says")
	f.IntVar(&s.seconds, "time", 10, "the same as --timeout")
	f.Lookup("time").Hidden = true
	f.StringVarP(&s.signal, "signal", "s", "", "signal that asks it to end (default as the container says)")
	p.completeWords(c, "signal", signalNames()...)
}

func (s *stopFlags) query(c *cobra.Command) url.Values {
	q := url.Values{}
	if c.Flags().Changed("timeout") || c.Flags().Changed("time") {
		q.Set("t", strconv.Itoa(s.seconds))
	}
	if s.signal != "" {
		q.Set("signal", s.signal)
	}
	return q
}

// stopping is a command that asks containers to end.
func stopping(p *program, action, short string, which func(*container.Summary) bool) *cobra.Command {
	var f stopFlags
	var c *cobra.Command
	c = onEach(p, action+" [OPTIONS] CONTAINER [CONTAINER...]", short, which, post(action, func() url.Values { return f.query(c) }))
	f.register(p, c)
	return c
}

func stopCommand(p *program) *cobra.Command {
	return stopping(p, "stop", "Stop containers", isRunning)
}

func restartCommand(p *program) *cobra.Command {
	return stopping(p, "restart", "Stop containers and start them again", nil)
}

func killCommand(p *program) *cobra.Command {
	var signal string
	c := onEach(p, "kill [OPTIONS] CONTAINER [CONTAINER...]", "Send a signal to containers", isRunning,
		post("kill", func() url.Values { return url.Values{"signal": {signal}} }))
	c.Flags().StringVarP(&signal, "signal", "s", "KILL", "name or number")
	p.completeWords(c, "signal", signalNames()...)
	return c
}

func rmCommand(p *program) *cobra.Command {
	var force, volumes bool
	c := onEach(p, "rm [OPTIONS] CONTAINER [CONTAINER...]", "Remove containers", nil, func(ctx context.Context, api *client.Client, name string) error {
		q := url.Values{}
		for key, on := range map[string]bool{"force": force, "v": volumes} {
			if on {
				q.Set(key, "1")
			}
		}
		err := api.Delete(ctx, containerPath(name, ""), q, nil)
		if force && errdef.Is(err, errdef.NotFound) { // as Docker: said, and no error
			p.say(err)
			return errSaid
		}
		return err
	})
	c.Flags().BoolVarP(&force, "force", "f", false, "kill what runs")
	c.Flags().BoolVarP(&volumes, "volumes", "v", false, "remove its volumes without a name, too")
	refuse(c.Flags(), "link", "l", refusedFlag{reason: "links were Docker's before there were networks with names", boolean: true})
	return c
}

func pauseCommand(p *program) *cobra.Command {
	return onEach(p, "pause [OPTIONS] CONTAINER [CONTAINER...]", "Freeze containers", isRunning, post("pause", nil))
}

func unpauseCommand(p *program) *cobra.Command {
	return onEach(p, "unpause [OPTIONS] CONTAINER [CONTAINER...]", "Let frozen containers go on", isPaused, post("unpause", nil))
}

// renameCommand gives a container another name.
func renameCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "rename [OPTIONS] CONTAINER NEW_NAME", Short: "Give a container another name", Args: count(2, 2), ValidArgsFunction: p.completeContainer(nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" || args[1] == "" {
				return errdef.Errorf(errdef.Invalid, "rename: neither the old nor the new name may be empty")
			}
			api, err := p.engine()
			if err != nil {
				return err
			}
			return api.Post(cmd.Context(), containerPath(args[0], "rename"), url.Values{"name": {args[1]}}, nil, nil)
		},
	}
}

// waitCommand prints exit statuses.
func waitCommand(p *program) *cobra.Command {
	var text string
	c := &cobra.Command{
		Use: "wait [OPTIONS] CONTAINER [CONTAINER...]", Short: "Wait for the end of containers and print their exit codes", Args: count(1, -1),
		ValidArgsFunction: p.completeContainers(isRunning),
		RunE: func(cmd *cobra.Command, args []string) error {
			condition, err := waitCondition(text)
			if err != nil {
				return err
			}
			api, err := p.engine()
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(name string) error {
				answer, err := waitFor(cmd.Context(), api, name, condition)
				if err != nil {
					return p.meant(cmd.Context(), name, err)
				}
				e := endOf(answer, name)
				if e.problem != nil {
					return e.problem
				}
				return p.print(strconv.FormatInt(e.code, 10))
			})
		},
	}
	c.Flags().StringVar(&text, "condition", "stopped", "stopped (it does not run), exited (its next end), removed")
	p.completeWords(c, "condition", "stopped", "exited", "removed")
	return c
}

// waitCondition reads --condition: Podman's words, and the API's.
func waitCondition(text string) (container.WaitCondition, error) {
	switch text {
	case "stopped", "not-running":
		return container.WaitConditionNotRunning, nil
	case "exited", "next-exit":
		return container.WaitConditionNextExit, nil
	case "removed":
		return container.WaitConditionRemoved, nil
	}
	return "", errdef.WithHint(errdef.Errorf(errdef.Invalid, "--condition %.64q: there is no such condition", text), "stopped, exited, removed")
}
