package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpfMap makes an array map of one element, bpf(2). The attributes are the head of union bpf_attr.
func bpfMap() error {
	attr := [16]uint32{2, 4, 4, 1} // BPF_MAP_TYPE_ARRAY, key size, value size, entries
	fd, _, errno := unix.Syscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(&attr)
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}
