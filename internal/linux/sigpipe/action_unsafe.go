package sigpipe

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pipeEnd is the descriptor that the handler writes to.
var pipeEnd uint32

func target(fd int) { pipeEnd = uint32(fd) }

// handler and restorer are in handler_*.s; the kernel calls them.
func handler()
func restorer()

func handlerAddr() uintptr
func restorerAddr() uintptr

// sigaction is the kernel's struct of rt_sigaction(2) on amd64 and arm64, not that of a C library.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const (
	saOnStack  = 0x08000000
	saRestorer = 0x04000000
	saRestart  = 0x10000000
	ignored    = 1 // SIG_IGN
)

// install makes handler the action of a signal, unless it is ignored.
func install(sig unix.Signal) syscall.Errno {
	act := sigaction{handler: handlerAddr(), flags: saOnStack | saRestorer | saRestart, restorer: restorerAddr(), mask: ^uint64(0)}
	var old sigaction
	errno := rtSigaction(sig, &act, &old)
	if errno == 0 && old.handler == ignored {
		errno = rtSigaction(sig, &old, nil)
	}
	return errno
}

func rtSigaction(sig unix.Signal, act, old *sigaction) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	return errno
}
