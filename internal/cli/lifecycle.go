package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/cli/printable"
	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// onEach is a command that does something to containers, one after the other, and prints their names.
func onEach(p *program, use, short string, do func(context.Context, *container.Service, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: count(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			images, err := p.images(nil)
			if err != nil {
				return err
			}
			s, err := p.containers(images)
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(name string) error {
				if err := do(cmd.Context(), s, name); err != nil {
					return err
				}
				return p.printOthers(name)
			})
		},
	}
}

func startCommand(p *program) *cobra.Command {
	return onEach(p, "start [OPTIONS] CONTAINER [CONTAINER...]", "Start stopped containers", func(ctx context.Context, s *container.Service, name string) error {
		return s.Start(ctx, name, nil)
	})
}

// timeout is the value of --time.
func timeout(c *cobra.Command, seconds *int) func() *time.Duration {
	c.Flags().IntVarP(seconds, "time", "t", 10, "seconds it has to end by itself; -1: for ever")
	c.Flags().IntVar(seconds, "timeout", 10, "the same as --time")
	c.Flags().Lookup("timeout").Hidden = true
	return func() *time.Duration {
		if !c.Flags().Changed("time") && !c.Flags().Changed("timeout") {
			return nil
		}
		d := time.Duration(*seconds) * time.Second
		return &d
	}
}

func stopCommand(p *program) *cobra.Command {
	var seconds int
	var limit func() *time.Duration
	c := onEach(p, "stop [OPTIONS] CONTAINER [CONTAINER...]", "Stop containers", func(ctx context.Context, s *container.Service, name string) error {
		if _, err := s.Resolve(name); err != nil {
			return err
		}
		return s.Stop(ctx, name, limit())
	})
	limit = timeout(c, &seconds)
	return c
}

func restartCommand(p *program) *cobra.Command {
	var seconds int
	var limit func() *time.Duration
	c := onEach(p, "restart [OPTIONS] CONTAINER [CONTAINER...]", "Stop containers and start them again", func(ctx context.Context, s *container.Service, name string) error {
		if err := s.Stop(ctx, name, limit()); err != nil {
			return err
		}
		return s.Start(ctx, name, nil)
	})
	limit = timeout(c, &seconds)
	return c
}

func killCommand(p *program) *cobra.Command {
	var text string
	c := onEach(p, "kill [OPTIONS] CONTAINER [CONTAINER...]", "Send a signal to containers", func(ctx context.Context, s *container.Service, name string) error {
		sig, err := container.ParseSignal(text)
		if err != nil {
			return err
		}
		return s.Kill(ctx, name, sig)
	})
	c.Flags().StringVarP(&text, "signal", "s", "KILL", "name or number")
	return c
}

func rmCommand(p *program) *cobra.Command {
	var force, volumes bool
	c := onEach(p, "rm [OPTIONS] CONTAINER [CONTAINER...]", "Remove containers", func(ctx context.Context, s *container.Service, name string) error {
		err := s.Remove(ctx, name, container.RemoveOptions{Force: force, Volumes: volumes})
		if force && errdef.Is(err, errdef.NotFound) {
			return nil
		}
		return err
	})
	c.Flags().BoolVarP(&force, "force", "f", false, "kill what runs")
	c.Flags().BoolVarP(&volumes, "volumes", "v", false, "remove volumes without a name, which go with the container anyway")
	return c
}

func pauseCommand(p *program) *cobra.Command {
	return onEach(p, "pause [OPTIONS] CONTAINER [CONTAINER...]", "Freeze containers", func(ctx context.Context, s *container.Service, name string) error { return s.Pause(ctx, name) })
}

func unpauseCommand(p *program) *cobra.Command {
	return onEach(p, "unpause [OPTIONS] CONTAINER [CONTAINER...]", "Let frozen containers go on", func(ctx context.Context, s *container.Service, name string) error { return s.Unpause(ctx, name) })
}

// waitCommand prints exit statuses.
func waitCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use: "wait [OPTIONS] CONTAINER [CONTAINER...]", Short: "Wait for the end of containers and print their exit codes", Args: count(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.containers(nil)
			if err != nil {
				return err
			}
			return each(cmd.Context(), args, func(name string) error {
				code, err := s.Wait(cmd.Context(), name)
				if err != nil {
					return err
				}
				return p.print(strconv.Itoa(code))
			})
		},
	}
}

// logsCommand prints what a container has printed.
func logsCommand(p *program) *cobra.Command {
	var follow, stamps bool
	var tail string
	c := &cobra.Command{
		Use: "logs [OPTIONS] CONTAINER", Short: "Print the output of a container", Args: count(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.containers(nil)
			if err != nil {
				return err
			}
			c, err := s.Get(args[0])
			if err != nil {
				return err
			}
			if d := c.Host.LogConfig.Type; d != "" && d != "json-file" {
				return errdef.Errorf(errdef.Unsupported, "logs of %s: its log driver is %s", c.Name, d)
			}
			most := -1
			if tail != "all" {
				if most, err = strconv.Atoi(tail); err != nil || most < 0 {
					return errdef.Errorf(errdef.Invalid, "--tail %.32q: wants a number or all", tail)
				}
			}
			return p.logs(cmd.Context(), s, c, logFlags{follow, stamps, most})
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	c.Flags().BoolVarP(&stamps, "timestamps", "t", false, "say when each line came")
	c.Flags().StringVarP(&tail, "tail", "n", "all", "how many lines from the end")
	return c
}

type logFlags struct {
	follow, stamps bool
	most           int // lines; -1: all
}

// logs reads the rotated files, the oldest first, and then the current one.
func (p *program) logs(ctx context.Context, s *container.Service, c *container.Container, f logFlags) error {
	var entries []logEntry
	for n := 16; n >= 1; n-- {
		if file, err := os.Open(s.LogPath(c.ID) + "." + strconv.Itoa(n)); err == nil {
			entries = append(entries, readEntries(bufio.NewReader(file))...)
			_ = file.Close()
		}
	}
	file, err := os.Open(s.LogPath(c.ID))
	if os.IsNotExist(err) {
		return nil // it never ran
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "logs: %w", err)
	}
	defer file.Close()
	r := bufio.NewReader(file)
	entries = append(entries, readEntries(r)...)
	if f.most >= 0 && len(entries) > f.most {
		entries = entries[len(entries)-f.most:]
	}
	for {
		for i := range entries {
			if err := p.entry(&entries[i], f.stamps); err != nil {
				return err
			}
		}
		if !f.follow {
			return nil
		}
		now, err := s.Get(c.ID)
		if entries = readEntries(r); len(entries) == 0 && (err != nil || !now.Alive) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// A logEntry is a line of json-file.
type logEntry struct {
	Log, Stream string
	Time        time.Time
}

func readEntries(r *bufio.Reader) []logEntry {
	var out []logEntry
	for {
		line, err := r.ReadBytes('\n')
		var e logEntry
		if len(line) > 0 && json.Unmarshal(line, &e) == nil {
			out = append(out, e)
		}
		if err != nil {
			return out
		}
	}
}

func (p *program) entry(e *logEntry, stamps bool) error {
	text := e.Log
	if stamps {
		text = e.Time.Format(time.RFC3339Nano) + " " + text
	}
	w := io.Writer(p.out)
	if e.Stream == "stderr" {
		w = p.errs
	}
	_, err := io.WriteString(w, text)
	return err
}

// execCommand runs one more process in a container.
func execCommand(p *program) *cobra.Command {
	var o container.ExecOptions
	var interactive bool
	c := &cobra.Command{
		Use: "exec [OPTIONS] CONTAINER COMMAND [ARG...]", Short: "Run a command in a running container", Args: count(2, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.containers(nil)
			if err != nil {
				return err
			}
			if o.User != "" && strings.Trim(o.User, "0123456789:") != "" {
				return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "exec: --user %s: names are not looked up here yet", printable.Text(o.User)), "give numbers: UID[:GID]")
			}
			if !interactive && !o.TTY {
				if err := noInput(); err != nil {
					return err
				}
			}
			o.Args = args[1:]
			code, err := s.Exec(cmd.Context(), args[0], o)
			if err != nil {
				return execFailed(err)
			}
			if code != 0 {
				return &statusError{status: code}
			}
			return nil
		},
	}
	f := c.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&interactive, "interactive", "i", false, "keep standard input open")
	f.BoolVarP(&o.TTY, "tty", "t", false, "give it a terminal")
	f.BoolVarP(&o.Detach, "detach", "d", false, "leave it in the background")
	f.StringArrayVarP(&o.Env, "env", "e", nil, "set a variable: NAME=VALUE")
	f.StringVarP(&o.Dir, "workdir", "w", "", "working directory")
	f.StringVarP(&o.User, "user", "u", "", "number, and :number of the group")
	f.BoolVar(&o.Privileged, "privileged", false, "refused: more than the container has")
	return c
}

// noInput puts /dev/null in the place of standard input: the process inherits it.
func noInput() error {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Dup3(null, 0, 0)
		_ = unix.Close(null)
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "exec: %w", err)
	}
	return nil
}

// execFailed gives an error of exec Docker's exit status.
func execFailed(err error) error {
	switch {
	case errdef.Is(err, errdef.NotFound) && strings.Contains(err.Error(), "exec:"):
		return &statusError{exitNotFound, err}
	case errdef.Is(err, errdef.Denied):
		return &statusError{exitNotExecutable, err}
	}
	return err
}
