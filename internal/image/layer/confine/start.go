package confine

import (
	"context"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"golang.org/x/sys/unix"
)

// Options say where things are. Paths are absolute.
type Options struct {
	Box     string   // a directory to make the worker's root in; the caller removes it afterwards
	Target  string   // the directory that the worker works in
	Program string   // the worker's program, static
	Args    []string // its arguments
}

// Start makes the container, with the descriptor Socket of this process as its own, and waits until the worker ends or standard input is closed. An
// error of kind Unavailable says how a worker ended that did not end by itself.
func Start(ctx context.Context, o *Options) error {
	for _, path := range []string{o.Box, o.Target, o.Program} {
		if !filepath.IsAbs(path) {
			return errdef.Errorf(errdef.Invalid, "path %q is not absolute", path)
		}
	}
	maps, err := ids()
	if err != nil {
		return err
	}
	if err := makeBox(o.Box); err != nil {
		return err
	}
	child, err := launch.Create(ctx, &launch.Options{ID: "unpack", Bundle: o.Box, Dir: o.Box, Spec: Spec(o, maps), Run: true, NoKeyring: true, PreserveFDs: 1})
	if err != nil {
		return err
	}
	unix.Close(Socket)
	return guard(child)
}

// guard waits for the end of the worker or of standard input.
func guard(child *launch.Child) error {
	fds := []unix.PollFd{{Fd: int32(child.PIDFD), Events: unix.POLLIN}, {Fd: 0, Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			child.Kill()
			return errdef.Errorf(errdef.Internal, "poll: %w", err)
		}
		if fds[0].Revents != 0 {
			break
		}
		if fds[1].Revents != 0 {
			child.Kill()
			return nil
		}
	}
	ws, err := child.Wait()
	child.Close()
	switch {
	case err != nil:
		return errdef.Errorf(errdef.Internal, "wait for the unpacking process: %w", err)
	case ws.Signaled():
		return errdef.Errorf(errdef.Unavailable, "the unpacking process was ended by the signal %s", ws.Signal())
	case ws.ExitStatus() != 0:
		return errdef.Errorf(errdef.Unavailable, "the unpacking process ended with status %d", ws.ExitStatus())
	}
	return nil
}
