package pidfd

import (
	"errors"
	"unsafe"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

var errRunning = errors.New("child runs")

// childInfo is the part of siginfo_t that SIGCHLD fills on 64-bit machines (sigaction(2); include/uapi/asm-generic/siginfo.h).
type childInfo struct {
	signo, errno, code, _ int32
	pid                   int32
	uid                   uint32
	status                int32
}

// wait is waitid(2) with P_PIDFD (kernel 5.4). __WALL makes it see children that were cloned without SIGCHLD.
func wait(fd, options int) (unix.WaitStatus, error) {
	var info unix.Siginfo
	err := sys.Retry(func() error { return unix.Waitid(unix.P_PIDFD, fd, &info, unix.WEXITED|unix.WALL|options, nil) })
	if err != nil {
		return 0, errdef.Errorf(kindOf(err), "wait for child: %w", err)
	}
	c := (*childInfo)(unsafe.Pointer(&info))
	if c.pid == 0 {
		return 0, errRunning
	}
	const exited, killed, dumped = 1, 2, 3 // CLD_EXITED, CLD_KILLED, CLD_DUMPED
	switch c.code {
	case exited:
		return unix.WaitStatus(c.status&0xff) << 8, nil
	case dumped:
		return unix.WaitStatus(c.status&0x7f) | 0x80, nil
	case killed:
		return unix.WaitStatus(c.status & 0x7f), nil
	}
	return 0, errdef.Errorf(errdef.Internal, "wait for child: code %d", c.code)
}

// EndedChild returns the pid of a child that has ended and was not reaped yet, 0 if there is none. It reaps nothing: waitid(2) with P_ALL
// and WNOWAIT.
func EndedChild() int {
	var info unix.Siginfo
	err := sys.Retry(func() error { return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) })
	if err != nil {
		return 0
	}
	return int((*childInfo)(unsafe.Pointer(&info)).pid)
}
