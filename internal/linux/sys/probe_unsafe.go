package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// SeccompActionAvailable asks the kernel about a SECCOMP_RET_* action (seccomp(2), SECCOMP_GET_ACTION_AVAIL, kernel 4.14):
// nil if it knows it, EOPNOTSUPP if not, ENOSYS or EINVAL if there is no seccomp or no such question.
func SeccompActionAvailable(action uint32) error {
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	if e != 0 {
		return e
	}
	return nil
}

// SeccompNotifSizes are the sizes in bytes of the kernel's structures for user notification.
type SeccompNotifSizes struct{ Notif, Response, Data uint16 }

// SeccompSizes returns them (seccomp(2), SECCOMP_GET_NOTIF_SIZES, kernel 5.0).
func SeccompSizes() (SeccompNotifSizes, error) {
	var s SeccompNotifSizes
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&s)))
	if e != 0 {
		return s, e
	}
	return s, nil
}

// SeccompFlagError tries a SECCOMP_FILTER_FLAG_* with an address that no program can have. EFAULT means that the kernel knows the flag
// and would have gone on to read the filter; EINVAL that it does not (seccomp(2)). No filter is ever installed.
func SeccompFlagError(flag uintptr) error {
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flag, 0)
	return e
}

// Clone3Error tries clone3(2) with flags and a structure that is too small to be accepted on a kernel that has the call, so that no
// child is made: EINVAL if it is there, ENOSYS if it is missing or filtered.
func Clone3Error() error {
	var args CloneArgs
	_, _, e := unix.Syscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), 1, 0)
	return e
}

// CloneIntoCgroupError tries clone3(2) with CLONE_INTO_CGROUP and a descriptor that cannot be open, so that no child is made: EBADF if
// the kernel knows the flag (5.7), E2BIG or EINVAL if it does not, ENOSYS without clone3.
func CloneIntoCgroupError() error {
	args := CloneArgs{Flags: unix.CLONE_INTO_CGROUP, Cgroup: 1<<31 - 1}
	_, _, e := unix.Syscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	return e
}
