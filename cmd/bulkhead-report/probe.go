package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A probe makes one system call for real, with arguments that cannot do harm even where it is allowed.
type probe struct {
	name string
	call func() error
	// reached are the errnos that come from behind the door: the call was let through, and the kernel then refused the arguments.
	reached []syscall.Errno
}

// noFilesystem is a type that no kernel has: a mount of it is refused with ENODEV after the permission check, with EPERM before.
const noFilesystem = "bulkhead-no-such-filesystem"

func number(nr uintptr, args ...uintptr) func() error {
	var a [6]uintptr
	copy(a[:], args)
	return func() error {
		r, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return errno
		}
		if returnsFD[nr] {
			unix.Close(int(r))
		}
		return nil
	}
}

var returnsFD = map[uintptr]bool{unix.SYS_USERFAULTFD: true, unix.SYS_OPEN_TREE: true, unix.SYS_FSOPEN: true, unix.SYS_FANOTIFY_INIT: true}

// minus1 is a descriptor that is none.
const minus1 = ^uintptr(0)

// noPID is above the highest possible pid (4194304, proc_sys_kernel(5)).
const noPID = 4194305

func probes() []probe {
	return []probe{
		{"mount", func() error { return unix.Mount("none", "/", noFilesystem, 0, "") }, []syscall.Errno{unix.ENODEV}},
		{"fsopen", fsopen, []syscall.Errno{unix.ENODEV}},
		{"open_tree", openTree, nil},
		{"umount2", func() error { return unix.Unmount("/dev/null/none", 0) }, []syscall.Errno{unix.EINVAL, unix.ENOTDIR, unix.ENOENT}},
		{"pivot_root", number(unix.SYS_PIVOT_ROOT, 0, 0), []syscall.Errno{unix.EFAULT}},
		{"chroot", func() error { return unix.Chroot("/") }, nil},
		{"setns", number(unix.SYS_SETNS, minus1, 0), []syscall.Errno{unix.EBADF}},
		{"unshare user namespace", number(unix.SYS_UNSHARE, unix.CLONE_NEWUSER), []syscall.Errno{unix.EINVAL}},
		{"unshare mount namespace", unshareMounts, nil},
		{"clone user namespace", cloneUser, nil},
		{"clone3", number(unix.SYS_CLONE3, 0, 0), []syscall.Errno{unix.EINVAL}},
		{"keyctl", number(unix.SYS_KEYCTL, 0, ^uintptr(2), 0), []syscall.Errno{unix.ENOKEY}}, // KEYCTL_GET_KEYRING_ID of the session keyring (-3), not created
		{"add_key", number(unix.SYS_ADD_KEY, 0, 0, 0, 0, 0), []syscall.Errno{unix.EFAULT, unix.EINVAL}},
		{"bpf map create", bpfMap, nil},
		{"perf_event_open", perfEvent, nil},
		{"ptrace", number(unix.SYS_PTRACE, unix.PTRACE_SEIZE, noPID, 0, 0), []syscall.Errno{unix.ESRCH}},
		{"process_vm_readv", number(unix.SYS_PROCESS_VM_READV, uintptr(os.Getpid())), nil},
		{"pidfd_getfd", number(unix.SYS_PIDFD_GETFD, minus1, 0, 0), []syscall.Errno{unix.EBADF}},
		{"kcmp", number(unix.SYS_KCMP, noPID, noPID, 0, 0, 0), []syscall.Errno{unix.ESRCH}},
		{"userfaultfd", number(unix.SYS_USERFAULTFD, unix.O_CLOEXEC), nil},
		{"io_uring_setup", number(unix.SYS_IO_URING_SETUP, 1, 0), []syscall.Errno{unix.EFAULT}},
		{"fanotify_init", number(unix.SYS_FANOTIFY_INIT, 0, 0), nil},
		{"init_module", number(unix.SYS_INIT_MODULE, 0, 0, 0), []syscall.Errno{unix.ENOEXEC, unix.EFAULT}},
		{"finit_module", number(unix.SYS_FINIT_MODULE, minus1, 0, 0), []syscall.Errno{unix.EBADF, unix.EFAULT}},
		{"delete_module", number(unix.SYS_DELETE_MODULE, 0, 0), []syscall.Errno{unix.EFAULT}},
		{"kexec_load", number(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0x8000), []syscall.Errno{unix.EINVAL}}, // a flag that does not exist
		{"reboot", number(unix.SYS_REBOOT, 0, 0, 0, 0), []syscall.Errno{unix.EINVAL}},              // wrong magic numbers
		{"swapon", number(unix.SYS_SWAPON, 0, 0x7f000000), []syscall.Errno{unix.EINVAL, unix.EFAULT}},
		{"acct", number(unix.SYS_ACCT, 1), []syscall.Errno{unix.EFAULT}},
		{"quotactl", number(unix.SYS_QUOTACTL, 0x800001<<8, 0, 0, 0), []syscall.Errno{unix.ENODEV, unix.EFAULT, unix.EINVAL}},
		{"syslog", number(unix.SYS_SYSLOG, 9, 0, 0), nil}, // SYSLOG_ACTION_SIZE_UNREAD
		{"open_by_handle_at", number(unix.SYS_OPEN_BY_HANDLE_AT, minus1, 0, 0), []syscall.Errno{unix.EFAULT, unix.EBADF}},
		{"mknod of a device", mknodDevice, nil},
		{"ioctl TIOCSTI", number(unix.SYS_IOCTL, minus1, unix.TIOCSTI), []syscall.Errno{unix.EBADF}},
		{"ioctl TIOCLINUX", number(unix.SYS_IOCTL, minus1, 0x541C), []syscall.Errno{unix.EBADF}},
		{"ioctl TIOCSTI, high bits", number(unix.SYS_IOCTL, minus1, 1<<32|unix.TIOCSTI), []syscall.Errno{unix.EBADF}}, // CVE-2019-10063
		{"socket AF_ALG", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0), nil},
		{"socket AF_VSOCK", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0), nil},
		{"socket AF_PACKET", socket(unix.AF_PACKET, unix.SOCK_RAW, 0), nil},
		{"socket AF_CAN", socket(unix.AF_CAN, unix.SOCK_RAW, 1), nil},
		{"socket AF_BLUETOOTH", socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, 1), nil},
		{"socket AF_XDP", socket(unix.AF_XDP, unix.SOCK_RAW, 0), nil},
		{"socket AF_TIPC", socket(unix.AF_TIPC, unix.SOCK_STREAM, 0), nil},
		{"socket raw IPv4", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP), nil},
		{"netlink netfilter", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER), nil},
		{"netlink audit", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT), nil},
		{"foreign entry (x32)", foreignEntry, nil},
	}
}

func fsopen() error {
	fd, err := unix.Fsopen(noFilesystem, unix.FSOPEN_CLOEXEC)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// openTree copies the root mount into a detached tree, which goes away with its descriptor.
func openTree() error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// onThread runs f on a thread of its own, which ends with it and takes along whatever f changed of it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

func unshareMounts() error {
	return onThread(func() error { return unix.Unshare(unix.CLONE_NEWNS) })
}

// cloneUser starts this program, which then does nothing, in a user namespace of its own.
func cloneUser() error {
	p, err := os.StartProcess(self, []string{self, childArg}, &os.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

func perfEvent() error {
	attr := &unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY, Size: unix.PERF_ATTR_SIZE_VER0}
	fd, err := unix.PerfEventOpen(attr, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// mknodDevice makes a node for /dev/kmsg in the first directory that takes one, and removes it.
func mknodDevice() error {
	var err error
	for _, dir := range []string{"/dev/shm", "/tmp", "/run", "/"} {
		path := filepath.Join(dir, ".bulkhead-report-"+strconv.Itoa(os.Getpid()))
		err = unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 11)))
		if err == nil {
			return os.Remove(path)
		}
		if errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return err
}

func socket(family, kind, protocol int) func() error {
	return func() error {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
}

// foreignEntry asks for getpid through the x32 numbers of x86_64, which a filter that looks at numbers alone does not know.
func foreignEntry() error {
	if runtime.GOARCH != "amd64" {
		return unix.ENOSYS
	}
	return number(0x40000000 | unix.SYS_GETPID)()
}
