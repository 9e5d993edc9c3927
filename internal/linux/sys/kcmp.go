package sys

import "golang.org/x/sys/unix"

// SameDescription reports whether two descriptors of this process are one open file (kcmp(2)), as 1 and 2 are after >file 2>&1: they share an offset. Where the
// kernel does not say, it is false.
func SameDescription(a, b int) bool {
	const kcmpFile = 0
	pid := uintptr(unix.Getpid())
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, uintptr(a), uintptr(b), 0)
	return errno == 0 && r == 0
}
