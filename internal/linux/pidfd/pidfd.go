// Package pidfd names processes by descriptors (pidfd_open(2), kernel 5.3), which cannot be reused as a pid can.
//
// A pid that was read from a file may have become another process since. OpenVerified opens it and then compares the start time that was
// recorded beside it; after that, signals and waiting go through the descriptor and hit that process or none.
//
//	p, err := pidfd.OpenVerified(rec.PID, rec.StartTime)
//	if errdef.Is(err, errdef.NotFound) { /* it is gone */ }
//	defer p.Close()
//	err = p.Signal(unix.SIGTERM)
//
// Security: pid and start time together are unique until the machine restarts; a record must not outlive a restart (it lies under /run).
package pidfd

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// A Process is a descriptor of a process. It is closed on execve.
type Process struct{ fd int }

// Open opens a process by pid. A process that does not exist is of kind NotFound, a kernel without pidfds Unsupported.
func Open(pid int) (Process, error) {
	fd := -1
	err := sys.Retry(func() (err error) { fd, err = unix.PidfdOpen(pid, 0); return err })
	if err == unix.EINVAL && pid > 0 {
		err = unix.ESRCH // what kernels before 6.13 say of a number that is only a session's or a process group's still
	}
	if err != nil {
		return Process{-1}, errdef.Errorf(kindOf(err), "open pidfd of process %d: %w", pid, err)
	}
	return Process{fd}, nil
}

// FromFD takes over a descriptor that clone3(2) with CLONE_PIDFD gave.
func FromFD(fd int) Process { return Process{fd} }

// OpenVerified opens the process with this pid and start time (clock ticks since boot, field 22 of /proc/PID/stat). If the pid belongs
// to another process by now, or the process is a zombie, it is of kind NotFound.
func OpenVerified(pid int, startTime uint64) (Process, error) {
	p, err := Open(pid)
	if err != nil {
		return p, err
	}
	// The descriptor is held while the start time is read: the pid cannot be reused before the process is reaped, and if it was reaped
	// and reused in between, the start time differs.
	proc, err := procfs.Host()
	if err != nil {
		p.Close()
		return Process{-1}, err
	}
	st, err := proc.Stat(pid)
	switch {
	case err != nil:
	case st.StartTime != startTime:
		err = errdef.Errorf(errdef.NotFound, "process %d: started at tick %d, not %d: the pid was reused", pid, st.StartTime, startTime)
	case st.Dead():
		err = errdef.Errorf(errdef.NotFound, "process %d: has ended", pid)
	}
	if err != nil {
		p.Close()
		return Process{-1}, err
	}
	return p, nil
}

// FD returns the descriptor; it is p's.
func (p Process) FD() int { return p.fd }

// Close closes the descriptor.
func (p Process) Close() error { return unix.Close(p.fd) }

// Signal sends a signal (pidfd_send_signal(2)); signal 0 only checks. A process that has ended and was reaped is of kind NotFound.
func (p Process) Signal(sig unix.Signal) error {
	err := sys.Retry(func() error { return unix.PidfdSendSignal(p.fd, sig, nil, 0) })
	if err != nil {
		return errdef.Errorf(kindOf(err), "send signal %d: %w", int(sig), err)
	}
	return nil
}

// Alive reports whether the process has not ended yet. A zombie has ended: a pidfd becomes readable when the process ends.
func (p Process) Alive() bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n := 0
	err := sys.Retry(func() (err error) { n, err = unix.Poll(fds, 0); return err })
	return err == nil && n == 0
}

// Await blocks until the process ends or ctx is done; the process need not be a child. It returns nil, or an error of kind Timeout that
// wraps the context's, whose end is seen at once.
func (p Process) Await(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return errdef.Errorf(errdef.Timeout, "wait for process: %w", err)
	}
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	if ctx.Done() != nil { // an end of ctx writes an eventfd: nobody is woken to look
		stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "wait for process: eventfd: %w", err)
		}
		written := make(chan struct{})
		forget := context.AfterFunc(ctx, func() {
			defer close(written)
			one := [8]byte{1, 0, 0, 0, 0, 0, 0, 1} // not 0 in either order of bytes
			_, _ = unix.Write(stop, one[:])
		})
		defer func() {
			if !forget() {
				<-written
			}
			_ = unix.Close(stop)
		}()
		fds = append(fds, unix.PollFd{Fd: int32(stop), Events: unix.POLLIN})
	}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return errdef.Errorf(errdef.Internal, "wait for process: %w", err)
		}
		if fds[0].Revents != 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return errdef.Errorf(errdef.Timeout, "wait for process: %w", err)
		}
	}
}

// Wait reaps a child and returns its status as wait4(2) would. A process that is not our child, or was reaped, is of kind NotFound.
func (p Process) Wait() (unix.WaitStatus, error) { return wait(p.fd, 0) }

// TryWait is Wait without blocking; done is false while the child runs.
func (p Process) TryWait() (status unix.WaitStatus, done bool, err error) {
	status, err = wait(p.fd, unix.WNOHANG)
	if err == errRunning {
		return 0, false, nil
	}
	return status, err == nil, err
}

// Getfd duplicates a descriptor of the process (pidfd_getfd(2), kernel 5.6; needs the right to ptrace it). The copy is closed on execve.
func (p Process) Getfd(fd int) (int, error) {
	got, err := unix.PidfdGetfd(p.fd, fd, 0)
	if err != nil {
		return -1, errdef.Errorf(kindOf(err), "duplicate descriptor %d of process: %w", fd, err)
	}
	return got, nil
}

func kindOf(err error) errdef.Kind {
	switch err {
	case unix.ESRCH, unix.ECHILD, unix.EBADF:
		return errdef.NotFound
	case unix.EPERM, unix.EACCES:
		return errdef.Denied
	case unix.EINVAL:
		return errdef.Invalid
	case unix.ENOSYS:
		return errdef.Unsupported
	}
	return errdef.Internal
}
