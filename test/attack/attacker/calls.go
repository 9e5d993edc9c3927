package main

import "golang.org/x/sys/unix"

// deniedCalls makes, by every entry into the kernel that this processor has, calls that Docker's profile refuses to a process
// with Docker's capabilities. Arguments are invalid on purpose: nothing happens, but the answer of the kernel proper is not the
// filter's.
func deniedCalls([]string) {
	native := map[string]uintptr{
		"unshare": unix.SYS_UNSHARE, "mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2, "keyctl": unix.SYS_KEYCTL,
		"add_key": unix.SYS_ADD_KEY, "bpf": unix.SYS_BPF, "perf_event_open": unix.SYS_PERF_EVENT_OPEN, "setns": unix.SYS_SETNS,
		"userfaultfd": unix.SYS_USERFAULTFD, "kexec_load": unix.SYS_KEXEC_LOAD, "init_module": unix.SYS_INIT_MODULE,
		"finit_module": unix.SYS_FINIT_MODULE, "delete_module": unix.SYS_DELETE_MODULE, "quotactl": unix.SYS_QUOTACTL,
		"open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "pivot_root": unix.SYS_PIVOT_ROOT, "fsopen": unix.SYS_FSOPEN,
		"move_mount": unix.SYS_MOVE_MOUNT, "open_tree": unix.SYS_OPEN_TREE, "fsconfig": unix.SYS_FSCONFIG,
		"mount_setattr": unix.SYS_MOUNT_SETATTR, "io_uring_setup": unix.SYS_IO_URING_SETUP, "acct": unix.SYS_ACCT,
		"swapon": unix.SYS_SWAPON, "settimeofday": unix.SYS_SETTIMEOFDAY,
	}
	for name, nr := range native {
		const bogus = ^uintptr(0)
		if _, _, err := unix.RawSyscall6(nr, bogus, bogus, bogus, bogus, bogus, 0); !refused(err) {
			hit("%s: %v", name, err)
		}
	}
	if err := clone3(unix.CLONE_NEWUSER); !refused(err) {
		hit("clone3 with CLONE_NEWUSER: %v", err)
	} else {
		say("clone3: %v", err)
	}
	if err := clone3(0); err != unix.ENOSYS {
		hit("clone3 without flags says %v, and not ENOSYS: programs do not fall back to clone", err)
	}
	for name, family := range map[string]int{"AF_VSOCK": unix.AF_VSOCK, "AF_ALG": unix.AF_ALG} {
		if fd, err := unix.Socket(family, unix.SOCK_STREAM, 0); err == nil || !refused(err) {
			say("socket %s: %v", name, err) // Docker's list of families changes; the level below decides
			_ = unix.Close(fd)
		}
	}
	foreignEntries()
}
