package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// landlockDomains counts the Landlock domains that this process is in, landlock(7): there can be sixteen, one inside the other, so those that a thread of
// ours can still enter are the others. The thread ends with it. An error is that of the calls; they need no_new_privs.
func landlockDomains() (int, error) {
	type answer struct {
		n   int
		err error
	}
	done := make(chan answer)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		n, err := enterDomains()
		done <- answer{n, err}
	}()
	a := <-done
	return a.n, a.err
}

func enterDomains() (int, error) {
	const most = 16
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	handled := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&handled)), unsafe.Sizeof(handled), 0)
	if errno != 0 {
		return 0, errno
	}
	defer unix.Close(int(fd))
	for n := range most {
		if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno == unix.E2BIG {
			return most - n, nil
		} else if errno != 0 {
			return 0, errno
		}
	}
	return 0, nil
}

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
