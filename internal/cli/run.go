package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/cli/runflags"
	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Exit statuses of `run`, Docker's.
const (
	exitEngine        = 125 // the engine's own error
	exitNotExecutable = 126
	exitNotFound      = 127
)

// runCommand is `run`, and `create` without a start.
func runCommand(p *program, start bool) *cobra.Command {
	var f runflags.Flags
	var r remote
	use, short := "create", "Create a container"
	if start {
		use, short = "run", "Create a container and run it"
	}
	c := &cobra.Command{
		Use: use + " [OPTIONS] IMAGE [COMMAND] [ARG...]", Short: short, Args: count(1, -1), ValidArgsFunction: p.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.run(cmd.Context(), &f, &r, args, start); err != nil {
				return asEngine(err)
			}
			return nil
		},
	}
	c.Flags().Bool("help", false, "help for "+use) // -h is the host name
	f.Register(c.Flags())
	r.register(c.Flags())
	if start {
		c.Flags().BoolVarP(&f.Detach, "detach", "d", false, "leave it in the background and print its id")
		c.Flags().BoolVar(&f.SigProxy, "sig-proxy", true, "pass signals on to the program")
	}
	for _, no := range runflags.Refusals() {
		boolean := no.Name == "publish-all" || no.Name == "explain" || no.Name == "disable-content-trust"
		refuse(c.Flags(), no.Name, no.Short, refusedFlag{reason: no.Why, boolean: boolean})
	}
	return c
}

// asEngine gives an error of ours Docker's exit status.
func asEngine(err error) error {
	var status *statusError
	if errors.As(err, &status) {
		return err
	}
	return &statusError{exitEngine, err}
}

func (p *program) run(ctx context.Context, f *runflags.Flags, r *remote, args []string, start bool) error {
	q, err := f.Request(args)
	if err != nil {
		return err
	}
	if f.TTY && !f.Detach && start && f.Interactive && !term.IsTerminal(int(p.in.Fd())) {
		return errdef.Errorf(errdef.Invalid, "the input device is not a TTY")
	}
	if f.Detach && len(f.Attach) > 0 {
		return errdef.Errorf(errdef.Invalid, "conflicting options: -a and -d")
	}
	images, err := p.images(r)
	if err != nil {
		return err
	}
	s, err := p.containers(images)
	if err != nil {
		return err
	}
	img, err := p.imageFor(ctx, images, f, q.Image)
	if err != nil {
		return err
	}
	q.Config.StdinOnce = f.Interactive && !f.Detach
	if f.TTY {
		if w, h, err := term.GetSize(int(p.out.f.Fd())); err == nil {
			q.Host.ConsoleSize = [2]uint{uint(h), uint(w)}
		}
	}
	rec, err := s.Create(ctx, container.Request{Name: f.Name, Image: img, Ref: q.Image, Config: q.Config, Host: q.Host})
	if err != nil {
		return err
	}
	for _, w := range rec.Weaker {
		p.warn("--" + w.Flag + " gives up " + w.What)
	}
	if err := writeID(f.CIDFile, rec.ID); err != nil {
		return errors.Join(err, s.Remove(ctx, rec.ID, container.RemoveOptions{}))
	}
	if !start {
		return p.print(rec.ID)
	}
	if f.Detach {
		if err := s.Start(ctx, rec.ID, nil); err != nil {
			return p.startFailed(ctx, s, rec, err)
		}
		return p.print(rec.ID)
	}
	return p.foreground(ctx, s, rec, f)
}

// imageFor returns the image, pulled if the policy says so. What a pull says goes to standard error: the output is the program's.
func (p *program) imageFor(ctx context.Context, images *image.Service, f *runflags.Flags, name string) (*image.Image, error) {
	policy, err := image.ParsePolicy(f.Pull)
	if err != nil {
		return nil, err
	}
	o := image.PullOptions{Policy: policy}
	if f.Platform != "" {
		platform, err := manifest.ParsePlatform(f.Platform)
		if err != nil {
			return nil, err
		}
		o.Platform = &platform
	}
	img, err := images.Find(name, o.Platform)
	if err == nil && (policy == image.Missing || policy == image.Never) {
		return img, nil
	}
	if err != nil && !errdef.Is(err, errdef.NotFound) {
		return nil, err
	}
	if err != nil && policy == image.Missing && !f.Quiet {
		p.line("Unable to find image '" + name + "' locally")
	}
	if !f.Quiet {
		o.Progress = func(e image.Progress) {
			if e.Total == 0 {
				p.line(strings.TrimPrefix(e.ID+": "+e.Action, ": "))
			}
		}
	}
	return images.Pull(ctx, name, o)
}

// writeID writes --cidfile, which must not be there.
func writeID(path, id string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.Exists, "--cidfile: %w", err), "remove the file, or name another")
	}
	_, err = io.WriteString(file, id)
	return errors.Join(err, file.Close())
}

// startFailed removes what --rm promised to remove, and gives the error Docker's exit status.
func (p *program) startFailed(ctx context.Context, s *container.Service, rec *container.Record, err error) error {
	status := exitEngine
	switch {
	case errdef.Is(err, errdef.NotFound):
		status = exitNotFound
	case errdef.Is(err, errdef.Denied):
		status = exitNotExecutable
	}
	if rec.Host.AutoRemove {
		if e := s.Remove(ctx, rec.ID, container.RemoveOptions{Force: true}); e != nil {
			p.warn(e.Error())
		}
	}
	return &statusError{status, err}
}

// foreground starts a container with its streams here, and ends with its exit status.
func (p *program) foreground(ctx context.Context, s *container.Service, rec *container.Record, f *runflags.Flags) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	conn, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return errdef.Errorf(errdef.Internal, "socketpair: %w", err)
	}
	defer conn.Close()
	restore, err := p.raw(rec.Config.Tty && f.Interactive)
	if err != nil {
		_ = theirs.Close()
		return err
	}
	defer restore()
	copied := make(chan error, 1)
	go func() { copied <- p.carry(conn, f.Interactive) }()
	err = s.Start(ctx, rec.ID, theirs)
	_ = theirs.Close() // else the monitor's end would not be the end of the output
	if err != nil {
		restore()
		return p.startFailed(ctx, s, rec, err)
	}
	stop := p.forward(s, rec, f.SigProxy)
	defer stop()
	code, err := s.Wait(context.WithoutCancel(ctx), rec.ID)
	if err != nil {
		return err
	}
	if err := <-copied; err != nil {
		p.debug("streams: " + err.Error())
	}
	if rec.Host.AutoRemove {
		if err := s.WaitRemoved(context.WithoutCancel(ctx), rec.ID); err != nil {
			p.warn(err.Error())
		}
	}
	if code != 0 {
		return &statusError{status: code}
	}
	return nil
}

// carry attaches to a container over a connection until its output ends.
func (p *program) carry(conn net.Conn, stdin bool) error {
	c, err := control.Ask(conn, control.Request{Op: "attach", Stdin: stdin})
	if err != nil {
		return err
	}
	if stdin {
		go func() {
			_, _ = io.Copy(conn, p.in)
			if u, ok := conn.(*net.UnixConn); ok {
				_ = u.CloseWrite()
			}
		}()
	}
	return c.Copy(p.out, p.errs)
}

// raw sets the caller's terminal so that the program's alone decides what keys mean.
func (p *program) raw(on bool) (restore func(), err error) {
	fd := int(p.in.Fd())
	if !on || !term.IsTerminal(fd) {
		return func() {}, nil
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "terminal: %w", err)
	}
	return func() { _ = term.Restore(fd, old) }, nil
}

// forward passes signals on to the program, and the terminal's size, until stop is called.
func (p *program) forward(s *container.Service, rec *container.Record, proxy bool) (stop func()) {
	got := make(chan os.Signal, 16)
	if proxy && !rec.Config.Tty {
		signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	}
	if rec.Config.Tty {
		signal.Notify(got, syscall.SIGWINCH)
	}
	done := make(chan struct{})
	ctx := context.Background()
	go func() {
		for {
			select {
			case <-done:
				return
			case sig := <-got:
				if sig == syscall.SIGWINCH {
					if w, h, err := term.GetSize(int(p.out.f.Fd())); err == nil {
						_ = s.Resize(ctx, rec.ID, uint16(h), uint16(w))
					}
					continue
				}
				_ = s.Kill(ctx, rec.ID, sig.(syscall.Signal))
			}
		}
	}()
	return func() { signal.Stop(got); close(done) }
}
