package spec

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// struct seccomp_notif and seccomp_notif_resp of seccomp_unotify(2).
type notification struct {
	id         uint64
	pid, flags uint32
	nr, arch   uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// An answer is what an agent says to a call: a value, an errno, or that it may go on.
type answer struct {
	value int64
	errno unix.Errno
	goOn  bool
}

const (
	ioctlRecv = 0xc0502100 // SECCOMP_IOCTL_NOTIF_RECV
	ioctlSend = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
)

// give waits for a call, which must be the one with number nr, and answers it.
func (a answer) give(listener *os.File, nr uint32) error {
	fd := listener.Fd()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	count, err := unix.Poll(poll, int(patience.Milliseconds()))
	for err == unix.EINTR { // the Go runtime's own signals
		count, err = unix.Poll(poll, int(patience.Milliseconds()))
	}
	if err != nil || count != 1 || poll[0].Revents&unix.POLLIN == 0 {
		return fmt.Errorf("no notification: %d, %w", count, err)
	}
	var n notification
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, ioctlRecv, uintptr(unsafe.Pointer(&n))); errno != 0 {
		return fmt.Errorf("receive: %w", errno)
	}
	r := response{id: n.id, value: a.value, errno: -int32(a.errno)}
	if a.goOn {
		r.flags = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, ioctlSend, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("answer: %w", errno)
	}
	if n.nr != nr {
		return fmt.Errorf("a notification of call %d, want %d", n.nr, nr)
	}
	return nil
}
