package forkexec

import (
	"encoding/binary"
	"os"
	"strconv"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

// A Process is a child on its way through its list.
type Process struct {
	PID    int // as the caller's pid namespace sees it
	PIDFD  int
	sync   int
	ops    []op.Op
	before int      // steps of ours before the first op
	memory [][]byte // what the child reads of ours until its first message
	mid    int      // the first process, when it has made another: to be reaped
}

// An Event is what the child did next.
type Event struct {
	Kind   int    // op.MsgBarrier, op.MsgFD, op.MsgFetch, or Executed
	Number uint64 // which barrier, or which descriptor
	FD     int    // with op.MsgFD: the caller's now
}

// Executed is the kind of the event that the list has ended: execve succeeded, or the child died without a word.
const Executed = 0

// A StepError says which op of the list failed and why.
type StepError struct {
	Step  int // from 1, as `explain` numbers them
	Op    op.Op
	Errno syscall.Errno
}

func (e *StepError) Error() string {
	what := e.Op.Why
	if what == "" {
		what = e.Op.Call
	}
	return what + ": step " + strconv.Itoa(e.Step) + " " + e.Op.CallText() + ": " + e.Errno.Error()
}

// Unwrap gives the errno.
func (e *StepError) Unwrap() error { return e.Errno }

// FD is the parent's end of the socket, to be polled: Next will not block when it is readable. It stays the Process's own.
func (p *Process) FD() int { return p.sync }

// Before returns how many steps of this package's own come before the first op: a failure that the child reports elsewhere counts them.
func (p *Process) Before() int { return p.before }

// Next waits for the next event. A failed op is a *StepError.
func (p *Process) Next() (Event, error) {
	for {
		ev, again, err := p.receive()
		if !again {
			return ev, err
		}
	}
}

// receive takes one message. again means that it was no event.
func (p *Process) receive() (ev Event, again bool, err error) {
	var buf [op.MsgSize]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(p.sync, buf[:], oob, unix.MSG_CMSG_CLOEXEC)
	if err == unix.EINTR {
		return ev, true, nil
	}
	p.memory = nil // the child has left our memory, or is dead
	if err == unix.ECONNRESET || err == nil && n == 0 {
		return Event{Kind: Executed, FD: -1}, false, nil
	}
	if err != nil {
		return ev, false, errdef.Errorf(errdef.Internal, "receive from the container's first process: %w", err)
	}
	return p.message(buf[:n], oob[:oobn])
}

func (p *Process) message(b, oob []byte) (ev Event, again bool, err error) {
	ev.FD = rights(oob)
	if len(b) != op.MsgSize {
		return ev, false, errdef.Errorf(errdef.Internal, "the container's first process sent %d bytes", len(b))
	}
	kind, a, errno := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	switch kind {
	case op.MsgFailed:
		i := int(a) - p.before
		if i < 0 {
			return ev, false, errdef.Errorf(errdef.Unavailable, "receive descriptors in the container's first process: step %d: %w", a+1, syscall.Errno(errno))
		}
		e := &StepError{Step: i + 1, Errno: syscall.Errno(errno)}
		if i < len(p.ops) {
			e.Op = p.ops[i]
		}
		return ev, false, errdef.WithHint(e, e.Op.Hint)
	case op.MsgNotBorn:
		err := errdef.Errorf(errdef.Internal, "start the container's first program: step %d: %w", a+1, syscall.Errno(errno))
		if syscall.Errno(errno) == unix.EBADF { // dup3(2) to a number that is not below the limit
			err = errdef.WithHint(err, "raise the hard limit of open files (ulimit -Hn), to 256 or more")
		}
		return ev, false, err
	case op.MsgForked:
		if err := p.forked(int(a)); err != nil {
			return ev, false, err
		}
		return ev, true, p.Continue()
	case op.MsgFetch:
		ev.Kind, ev.Number, ev.FD = int(kind), a, int(errno)
		return ev, false, nil
	case op.MsgBarrier, op.MsgFD:
		ev.Kind, ev.Number = int(kind), a
		return ev, false, nil
	}
	return ev, false, errdef.Errorf(errdef.Internal, "the container's first process sent a message of kind %d", kind)
}

// forked takes the container's process, which the first one made as its sibling, so that it is our child: its pid is good until we wait for it.
// That it is one is checked, for whoever can trace a process on its way into a hostile container speaks on its socket.
func (p *Process) forked(pid int) error {
	if p.mid != 0 {
		return errdef.Errorf(errdef.Denied, "the container's first process announced a process that nobody asked for")
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "pidfd_open of the container's process: %w", err)
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil {
		unix.Close(fd)
		return errdef.Errorf(errdef.Denied, "the container's first process announced process %d, which is not a child of the runtime: %w", pid, err)
	}
	unix.Close(p.PIDFD)
	p.mid, p.PID, p.PIDFD = p.PID, pid, fd
	return nil
}

func rights(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return -1
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) == 0 {
		return -1
	}
	for _, more := range fds[1:] { // padding of the buffer has room for a second one, which nobody asked for
		unix.Close(more)
	}
	return fds[0]
}

// Continue lets a child go on that waits at a barrier.
func (p *Process) Continue() error {
	for {
		_, err := unix.Write(p.sync, []byte{1})
		if err != unix.EINTR {
			return os.NewSyscallError("write to the container's first process", err)
		}
	}
}

// SendFDs hands descriptors to a child that waits in recvmsg for them, and lets it go on.
func (p *Process) SendFDs(fds ...int) error {
	return os.NewSyscallError("sendmsg to the container's first process", unix.Sendmsg(p.sync, []byte{1}, unix.UnixRights(fds...), nil, 0))
}

// Detach closes the socket. A child that still waits at a barrier ends by itself.
func (p *Process) Detach() {
	if p.sync >= 0 {
		unix.Close(p.sync)
		p.sync = -1
	}
	if p.mid > 0 {
		wait4(p.mid)
		p.mid = 0
	}
}

// Kill ends the child and reaps it, and closes everything.
func (p *Process) Kill() {
	_ = unix.PidfdSendSignal(p.PIDFD, unix.SIGKILL, nil, 0)
	if p.mid > 0 {
		_ = unix.Kill(p.mid, unix.SIGKILL)
	}
	p.Detach()
	wait4(p.PID)
	p.Close()
}

// Wait waits for the child's end and reaps it.
func (p *Process) Wait() (unix.WaitStatus, error) { return wait4(p.PID) }

// Close closes the descriptors. It neither ends nor reaps the child.
func (p *Process) Close() {
	p.Detach()
	if p.PIDFD >= 0 {
		unix.Close(p.PIDFD)
		p.PIDFD = -1
	}
}

func wait4(pid int) (unix.WaitStatus, error) {
	var ws unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &ws, 0, nil)
		if err != unix.EINTR {
			return ws, os.NewSyscallError("wait4", err)
		}
	}
}
