package runtime

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/labelpipe"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sigpipe"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A foreground is what stands between the caller and a process that it waits for: standard streams, terminal, signals.
type foreground struct {
	relay *relay
	term  *terminal // nil: none was asked for
	copy  func()    // starts the copies
	saved [3]int    // duplicates of the caller's standard descriptors, -1 for a closed one
	ends  [3]int    // what the process gets: one of saved, or a pipe of ours
	sigs  *sigpipe.Pipe
	early []unix.Signal // signals for the process that came before it was there
}

// newForeground prepares for a process of a container.
func (r *Runtime) newForeground(withTerminal bool, spec *specs.Spec) (*foreground, error) {
	relay, err := newRelay()
	if err != nil {
		return nil, err
	}
	if l := spec.Linux; l != nil && l.MountLabel != "" && lsm.Host().SELinux {
		relay.label, relay.pipes = l.MountLabel, func() (int, int, error) { return r.labelled(l.MountLabel) }
	}
	f := &foreground{relay: relay, copy: func() {}, saved: [3]int{-1, -1, -1}}
	if withTerminal {
		f.term = newTerminal()
	} else if err := f.prepare(); err != nil {
		f.close()
		return nil, err
	}
	if f.sigs, err = sigpipe.Catch(sigpipe.All()...); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// labelled makes a pipe that a container with SELinux labels may use. Where that cannot be, and the label is not to blame, it is one of pipe(2), which some
// policies let it use.
func (r *Runtime) labelled(label string) (read, write int, err error) {
	dir, err := labelpipe.Room()
	if errdef.Is(err, errdef.Denied) { // a user's runtime: below /run there are labels, too
		var store *state.Store
		if store, err = state.Open(r.Root, true); err == nil {
			store.Close()
			dir, err = unix.Open(r.Root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}
	}
	if err == nil {
		defer unix.Close(dir)
		if read, write, err = labelpipe.New(dir, label); err == nil || errdef.Is(err, errdef.Invalid) {
			return read, write, err
		}
	}
	r.warn(errdef.Errorf(errdef.Unsupported, "standard streams: without a label of the container's SELinux may close them to it: %w", err))
	return labelpipe.New(-1, "")
}

// interrupted looks at the signals that come while the container is being made: those that ask a program to end do so, the others wait
// for the container's process.
func (f *foreground) interrupted() error {
	for _, sig := range f.sigs.Read() {
		switch sig {
		case unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM:
			return errdef.Errorf(errdef.Conflict, "ended by signal %s before the container ran", unix.SignalName(sig))
		case unix.SIGCHLD:
		default:
			f.early = append(f.early, sig)
		}
	}
	return nil
}

// watch cancels the context when a signal asks this program to end, until stop is called. It is for what does not poll by itself.
func (f *foreground) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(f.sigs.FD()), Events: unix.POLLIN}}, 100)
			select {
			case <-done:
				return
			default:
			}
			if f.interrupted() != nil {
				cancel()
				return
			}
		}
	}()
	return watched, func() { close(done); <-ended }
}

// prepare makes pipes for those of the caller's descriptors that a container may not have. Copies use duplicates, so that they need not
// know when 0, 1 and 2 are the caller's.
func (f *foreground) prepare() error {
	for fd := range f.saved {
		saved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err == unix.EBADF {
			continue
		}
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "duplicate descriptor %d: %w", fd, err)
		}
		f.saved[fd] = saved
	}
	var err error
	f.ends, f.copy, err = f.relay.stdio(f.saved)
	return err
}

// lend puts the process's descriptors in the place of 0, 1 and 2 while it is started: it inherits them. Nothing may be printed
// meanwhile.
func (f *foreground) lend() error {
	if f.term != nil {
		return nil
	}
	for fd, end := range f.ends {
		if end == f.saved[fd] {
			continue
		}
		if err := unix.Dup3(end, fd, 0); err != nil {
			f.takeBack()
			return errdef.Errorf(errdef.Unavailable, "duplicate to descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// takeBack gives 0, 1 and 2 back to the caller.
func (f *foreground) takeBack() {
	if f.term != nil {
		return
	}
	for fd, saved := range f.saved {
		switch {
		case saved < 0:
			unix.Close(fd)
		case saved != f.ends[fd]:
			_ = unix.Dup3(saved, fd, 0)
		}
	}
}

// console takes the terminal's master.
func (f *foreground) console(master int) error {
	f.copy = func() {
		f.relay.ins.Go(func() { f.relay.in(0, master, false) })
		f.relay.out(master, 1)
	}
	return f.term.attach(master)
}

// started is called when the process has its descriptors: copying begins.
func (f *foreground) started() error {
	f.relay.started()
	if f.term != nil {
		if err := f.term.raw(); err != nil {
			return err
		}
	}
	f.copy()
	return nil
}

// wait passes signals on until the process ends, and returns its exit status: 128 and the signal's number if one ended it. With
// reap, this program is what orphans of the container are given to, and reaps them.
func (f *foreground) wait(child *launch.Child, reap bool) (int, error) {
	for _, sig := range f.early {
		f.signal(child, sig)
	}
	fds := []unix.PollFd{{Fd: int32(child.PIDFD), Events: unix.POLLIN}, {Fd: int32(f.sigs.FD()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return -1, errdef.Errorf(errdef.Internal, "wait for process %d: %w", child.PID, err)
		}
		for _, sig := range f.sigs.Read() {
			f.signal(child, sig)
		}
		if reap {
			reapOrphans(child.PID)
		}
		if fds[0].Revents == 0 {
			continue
		}
		status, err := child.Wait()
		if err != nil {
			return -1, err
		}
		f.relay.drain()
		return exitStatus(status), nil
	}
}

// signal passes a signal on. Not passed is SIGCHLD, which is about this program; SIGPIPE, which the container gets of its own when its pipe is
// closed, and SIGURG, with which the Go runtime wakes its threads, are not caught.
func (f *foreground) signal(child *launch.Child, sig unix.Signal) {
	switch sig {
	case unix.SIGCHLD:
	case unix.SIGWINCH:
		if f.term != nil {
			f.term.resize() // the pty tells its foreground processes
			return
		}
		fallthrough
	default:
		_ = unix.PidfdSendSignal(child.PIDFD, sig, nil, 0)
	}
}

// reapOrphans reaps every ended child but one, which is left for its own Wait.
func reapOrphans(keep int) {
	for {
		pid := pidfd.EndedChild()
		if pid == 0 || pid == keep {
			return
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil {
			return
		}
	}
}

func exitStatus(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// close gives everything back.
func (f *foreground) close() {
	f.relay.close()
	if f.term != nil {
		f.term.close()
	}
	for fd, saved := range f.saved {
		if saved >= 0 {
			unix.Close(saved)
			f.saved[fd] = -1
		}
	}
}
