package extract

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// futimens sets the time of an open file: utimensat(2) without a path, which x/sys has no function for.
func futimens(fd int, mtime unix.Timespec) error {
	times := [2]unix.Timespec{mtime, mtime}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
