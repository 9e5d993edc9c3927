package runtime

import (
	"os"
	"os/signal"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"golang.org/x/sys/unix"
)

// A foreground is what stands between the caller and a process that it waits for: standard streams, terminal, signals.
type foreground struct {
	relay *relay
	term  *terminal // nil: none was asked for
	copy  func()    // starts the copies
	saved [3]int    // duplicates of the caller's standard descriptors, -1 for a closed one
	ends  [3]int    // what the process gets: one of saved, or a pipe of ours
	sigs  chan os.Signal
}

// signalBuffer is how many signals may come before the process is there to get them.
const signalBuffer = 128

// newForeground prepares for a process.
func newForeground(withTerminal bool) (*foreground, error) {
	r, err := newRelay()
	if err != nil {
		return nil, err
	}
	f := &foreground{relay: r, copy: func() {}, sigs: make(chan os.Signal, signalBuffer), saved: [3]int{-1, -1, -1}}
	if withTerminal {
		f.term = newTerminal()
	} else if err := f.prepare(); err != nil {
		f.close()
		return nil, err
	}
	signal.Notify(f.sigs, usual...)
	return f, nil
}

// usual are the signals that are caught from the start: what terminals, shells and service managers send. The others follow when the
// container has run for a while: catching one costs the Go runtime two switches between threads, and all sixty cost as much as half a
// container. Until then they have their default effect on this program.
var usual = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGTSTP, unix.SIGWINCH, unix.SIGPIPE,
}

// aWhile is when the other signals are caught too.
const aWhile = 50 * time.Millisecond

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
	type result struct {
		status unix.WaitStatus
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		status, err := waitFor(child.PID, reap)
		ended <- result{status, err}
	}()
	all := time.NewTimer(aWhile)
	defer all.Stop()
	for {
		select {
		case <-all.C:
			signal.Notify(f.sigs) // all that can be caught
		case sig := <-f.sigs:
			f.signal(child, sig)
		case res := <-ended:
			f.relay.drain()
			if res.err != nil {
				return -1, res.err
			}
			return exitStatus(res.status), nil
		}
	}
}

// signal passes a signal on. Not passed are those that are about this program: SIGCHLD, SIGPIPE (the container gets its own when its
// pipe is closed), and SIGURG, with which the Go runtime wakes its threads.
func (f *foreground) signal(child *launch.Child, sig os.Signal) {
	s, ok := sig.(unix.Signal)
	if !ok {
		return
	}
	switch s {
	case unix.SIGCHLD, unix.SIGPIPE, unix.SIGURG:
	case unix.SIGWINCH:
		if f.term != nil {
			f.term.resize() // the pty tells its foreground processes
			return
		}
		fallthrough
	default:
		_ = unix.PidfdSendSignal(child.PIDFD, s, nil, 0)
	}
}

// waitFor reaps until the process has ended.
func waitFor(pid int, reap bool) (unix.WaitStatus, error) {
	target := pid
	if reap {
		target = -1
	}
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(target, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, errdef.Errorf(errdef.Internal, "wait for process %d: %w", pid, err)
		case got == pid:
			return status, nil
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
	signal.Stop(f.sigs)
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
