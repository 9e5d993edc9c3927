package op

import (
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
)

// ErrnoText returns the symbolic name of an errno (errno(3)), its number where it has none.
func ErrnoText(e syscall.Errno) string {
	if e == AnyErrno {
		return "any error"
	}
	return sys.ErrnoName(e)
}
