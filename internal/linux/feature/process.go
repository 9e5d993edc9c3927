package feature

import (
	"errors"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// present turns the errno that shows a call to be there into success.
func present(err error, there ...error) error {
	for _, e := range there {
		if err == e {
			return nil
		}
	}
	return err
}

func clone3() error { return present(sys.Clone3Error(), unix.EINVAL) }

func cloneIntoCgroup() error { return present(sys.CloneIntoCgroupError(), unix.EBADF) }

func pidfdOpen() error {
	fd, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func pidfdGetfd() error {
	fd, err := unix.PidfdOpen(unix.Getpid(), 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	twin, err := unix.PidfdGetfd(fd, fd, 0)
	if err != nil {
		return err
	}
	return unix.Close(twin)
}

// closeRange marks a descriptor that cannot exist.
func closeRange() error {
	const none = 1<<31 - 1
	return unix.CloseRange(none, none, unix.CLOSE_RANGE_CLOEXEC)
}

// memfdExec asks for MFD_EXEC, which sysctl vm.memfd_noexec=2 forbids (EACCES); kernels before 6.3 do not know the flag (EINVAL) and
// make every such file executable.
func memfdExec() error {
	const mfdExec = 0x10
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|mfdExec)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	return err
}

func userNamespace() error { return idmap.Allowed() }

func timeNamespace() error { return namespace("time") }

func cgroupNamespace() error { return namespace("cgroup") }

// namespace looks for the link in /proc/self/ns, which is there if and only if the kernel was built with the type.
func namespace(name string) error {
	proc, err := procfs.Host()
	if err != nil {
		return err
	}
	_, err = proc.Namespace(0, name)
	return err
}

// killVersion brought cgroup.kill.
var killVersion = sys.Version{Major: 5, Minor: 14}

var errOnlyRoot = errors.New("no cgroup but the root to look into")

var errNoCgroup2 = errors.New("no version 2 hierarchy is mounted")

// cgroup2Dir returns where the hierarchy is mounted: alone, or beside version 1.
func cgroup2Dir() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", errNoCgroup2
}

func cgroup2() error {
	_, err := cgroup2Dir()
	return err
}

// cgroupKill looks for the file in this process's cgroup, and if that is the root, which never has it, in any one below.
func cgroupKill() error {
	dir, err := cgroup2Dir()
	if err != nil {
		return err
	}
	proc, err := procfs.Host()
	if err != nil {
		return err
	}
	groups, err := proc.Cgroups(0)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if g.Hierarchy == 0 && g.Path != "/" && !strings.Contains(g.Path, "..") {
			return unix.Access(dir+g.Path+"/cgroup.kill", unix.F_OK)
		}
	}
	child, err := anyChild(dir)
	if err == errOnlyRoot && sys.KernelVersion().AtLeast(killVersion) {
		return nil // there is no group to look into, and making one would change the host
	}
	if err != nil {
		return err
	}
	return unix.Access(dir+"/"+child+"/cgroup.kill", unix.F_OK)
}

// anyChild returns the name of a directory in dir.
func anyChild(dir string) (string, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 8192)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			if err == nil {
				err = errOnlyRoot
			}
			return "", err
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
				return name, nil
			}
		}
	}
}

func landlock() error {
	if sys.LandlockABI() > 0 {
		return nil
	}
	return errors.New("not built in, or not in the list of the boot parameter lsm=")
}

func seccompFilter() error { return sys.SeccompActionAvailable(unix.SECCOMP_RET_KILL_PROCESS) }

func seccompNotify() error {
	if err := sys.SeccompActionAvailable(unix.SECCOMP_RET_USER_NOTIF); err != nil {
		return err
	}
	_, err := sys.SeccompSizes()
	return err
}

func seccompFlag(flag uintptr) error { return present(sys.SeccompFlagError(flag), unix.EFAULT) }

func seccompLog() error { return seccompFlag(unix.SECCOMP_FILTER_FLAG_LOG) }

func seccompSpecAllow() error { return seccompFlag(unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW) }

func seccompTsyncEsrch() error {
	return seccompFlag(unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
}

// seccompWaitKill: the flag is only taken together with a listener (seccomp(2)).
func seccompWaitKill() error {
	return seccompFlag(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
}

func mqueue() error { return filesystem("mqueue") }

func resctrl() error { return filesystem("resctrl") }

func overlay() error { return filesystem("overlay") }

// filesystem returns nil if /proc/filesystems has the type. A type whose module is not loaded yet is not listed; fsopen(2) loads it.
func filesystem(name string) error {
	proc, err := procfs.Host()
	if err != nil {
		return err
	}
	b, err := proc.Read("filesystems")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 0 && f[len(f)-1] == name {
			return nil
		}
	}
	fd, err := unix.Fsopen(name, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// mempolicy reads nothing: get_mempolicy(2) with no place to put an answer.
func mempolicy() error {
	_, _, e := unix.Syscall6(unix.SYS_GET_MEMPOLICY, 0, 0, 0, 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// ioUring sets up a ring of no entries, which is EINVAL or EFAULT, or EPERM where sysctl kernel.io_uring_disabled forbids it.
func ioUring() error {
	_, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 0, 0, 0)
	return present(e, unix.EINVAL, unix.EFAULT)
}

// mdwe reads the attribute (prctl(2), PR_GET_MDWE).
func mdwe() error {
	_, err := unix.PrctlRetInt(unix.PR_GET_MDWE, 0, 0, 0, 0)
	return err
}

// faccessat2 asks for no path, which is EFAULT. The wrapper of x/sys would fall back to the old call.
func faccessat2() error {
	_, _, e := unix.Syscall6(unix.SYS_FACCESSAT2, 0, 0, unix.F_OK, 0, 0, 0)
	return present(e, unix.EFAULT)
}
