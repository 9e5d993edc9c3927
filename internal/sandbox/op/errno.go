package op

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrnoText returns the symbolic name of an errno (errno(3)), its number where it has none.
func ErrnoText(e syscall.Errno) string {
	if e == AnyErrno {
		return "any error"
	}
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return "errno " + strconv.Itoa(int(e))
}
