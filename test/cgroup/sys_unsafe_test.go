package cgroup

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// swap is swapon(2) or swapoff(2).
func swap(call uintptr, path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(call, uintptr(unsafe.Pointer(p)), 0, 0); errno != 0 {
		return errno
	}
	return nil
}
