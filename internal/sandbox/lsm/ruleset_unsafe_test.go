package lsm

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func createRuleset(attr *unix.LandlockRulesetAttr, abi int) (int, error) {
	size := uintptr(8) // handled_access_fs alone, then net, then scoped
	if abi >= 4 {
		size = 16
	}
	if abi >= 6 {
		size = 24
	}
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(attr)), size, 0)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}
