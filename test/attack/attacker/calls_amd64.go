package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// int80 makes a system call through the 32-bit entry, where numbers mean other calls than in the 64-bit table.
func int80(nr, a, b, c uint32) int32

// foreignEntries uses the i386 and the x32 tables. Numbers are those of arch/x86/entry/syscalls/syscall_32.tbl.
func foreignEntries() {
	for name, nr := range map[string]uint32{
		"unshare": 310, "mount": 21, "keyctl": 288, "bpf": 357, "setns": 346, "perf_event_open": 336, "fsopen": 430,
		"open_by_handle_at": 342, "io_uring_setup": 425, "init_module": 128,
	} {
		const bogus = 0xfffffff0
		if err := unix.Errno(-int80(nr, bogus, bogus, bogus)); !refused(err) {
			hit("int 0x80 %s: %v", name, err)
		}
	}
	const x32 = 0x40000000 // __X32_SYSCALL_BIT
	for name, nr := range map[string]uintptr{"unshare": unix.SYS_UNSHARE, "mount": unix.SYS_MOUNT, "keyctl": unix.SYS_KEYCTL} {
		_, _, err := unix.RawSyscall(x32|nr, ^uintptr(0), 0, 0)
		if !refused(err) {
			hit("x32 %s: %v", name, err)
		}
	}
	if pid := int80(20, 0, 0, 0); pid <= 0 && !errors.Is(unix.Errno(-pid), unix.ENOSYS) {
		say("int 0x80 getpid: %v", unix.Errno(-pid))
	}
}
