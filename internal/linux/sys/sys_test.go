package sys

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSymbols(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{MountAttrString(0), "0"},
		{MountAttrString(unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_IDMAP), "MOUNT_ATTR_RDONLY|MOUNT_ATTR_IDMAP"},
		{MountAttrString(unix.MOUNT_ATTR__ATIME), "MOUNT_ATTR__ATIME"},
		{MountAttrString(unix.MOUNT_ATTR_NOATIME), "MOUNT_ATTR_NOATIME"},
		{MountAttrString(1 << 40), "0x10000000000"},
		{MountFlagString(unix.MS_BIND | unix.MS_REC), "MS_BIND|MS_REC"},
		{CloneFlagString(unix.CLONE_NEWUSER | unix.CLONE_NEWTIME), "CLONE_NEWTIME|CLONE_NEWUSER"},
		{CloneFlagString(unix.CLONE_INTO_CGROUP), "CLONE_INTO_CGROUP"},
		{OpenFlagString(0), "O_RDONLY"},
		{OpenFlagString(unix.O_CLOEXEC), "O_CLOEXEC"},
		{OpenFlagString(unix.O_RDWR | unix.O_CREAT), "O_RDWR|O_CREAT"},
		{OpenFlagString(unix.O_WRONLY | unix.O_TMPFILE), "O_WRONLY|O_TMPFILE"},
		{OpenFlagString(unix.O_DIRECTORY | unix.O_PATH), "O_PATH|O_DIRECTORY"},
		{OpenFlagString(unix.O_SYNC), "O_SYNC"},
		{ResolveString(unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS), "RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT"},
		{AtFlagString(unix.AT_RECURSIVE | unix.OPEN_TREE_CLONE), "OPEN_TREE_CLONE|AT_RECURSIVE"},
		{UmountFlagString(unix.MNT_DETACH), "MNT_DETACH"},
		{ErrnoName(unix.EPERM), "EPERM"},
		{ErrnoName(syscall.Errno(4095)), "errno 4095"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for release, want := range map[string]Version{
		"6.18.44-fc": {6, 18}, "5.4": {5, 4}, "5.10-rc1+": {5, 10}, "6": {}, "": {}, "x.1": {}, "6.x": {},
	} {
		if got := parseVersion(release); got != want {
			t.Errorf("%q: got %v, want %v", release, got, want)
		}
	}
	if v := KernelVersion(); !v.AtLeast(Version{4, 0}) || v.AtLeast(Version{v.Major, v.Minor + 1}) || v.AtLeast(Version{v.Major + 1, 0}) {
		t.Errorf("version %v compares wrongly", v)
	}
}

func TestLastCapability(t *testing.T) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		t.Skip(err)
	}
	if want, _ := strconv.Atoi(strings.TrimSpace(string(b))); LastCapability() != want {
		t.Errorf("got %d, procfs says %d", LastCapability(), want)
	}
}

func TestMounts(t *testing.T) {
	open := func(path string) int {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatalf("open %s: %v", path, err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	proc, self := open("/proc"), open("/proc/self")
	a, _, err := MountID(proc)
	b, unique, err2 := MountID(self)
	if err != nil || err2 != nil || a != b || a == 0 {
		t.Errorf("mount ids of /proc and /proc/self: %d %v, %d %v", a, err, b, err2)
	}
	if KernelVersion().AtLeast(Version{6, 8}) && !unique {
		t.Error("kernel 6.8 or newer gave no unique mount id")
	}
	for fd, want := range map[int]bool{proc: true, self: false} {
		if got, err := IsMountRoot(fd); err != nil || got != want {
			t.Errorf("mount root: got %v, %v; want %v", got, err, want)
		}
	}
	if m, err := FSType(proc); err != nil || m != unix.PROC_SUPER_MAGIC {
		t.Errorf("type of /proc: %#x, %v", m, err)
	}
}

func TestReadWriteAt(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 5000)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("f", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if b, err := ReadFileAt(fd, "f", 5000); err != nil || string(b) != long {
		t.Errorf("read: %d bytes, %v", len(b), err)
	}
	if _, err := ReadFileAt(fd, "f", 4999); err != unix.EFBIG {
		t.Errorf("read over the limit: %v", err)
	}
	if _, err := ReadFileAt(fd, "link", 5000); err != unix.ELOOP {
		t.Errorf("read through a link: %v", err)
	}
	if err := WriteFileAt(fd, "link", nil); err != unix.ELOOP {
		t.Errorf("write through a link: %v", err)
	}
	if err := WriteFileAt(fd, "new", nil); err != unix.ENOENT {
		t.Errorf("write to a missing file: %v", err)
	}
	if err := WriteFileAt(fd, "f", []byte("yy")); err != nil {
		t.Error(err)
	}
}

func TestSeccompProbes(t *testing.T) {
	if err := SeccompActionAvailable(unix.SECCOMP_RET_KILL_PROCESS); err != nil {
		t.Errorf("kill process: %v", err)
	}
	if err := SeccompActionAvailable(0x12340000); err != unix.EOPNOTSUPP {
		t.Errorf("an action that no kernel has: %v", err)
	}
	if s, err := SeccompSizes(); err != nil || s.Notif < 80 || s.Data < 64 {
		t.Errorf("sizes %+v, %v", s, err)
	}
	if err := SeccompFlagError(unix.SECCOMP_FILTER_FLAG_LOG); err != unix.EFAULT {
		t.Errorf("flag log: %v", err)
	}
	if err := SeccompFlagError(1 << 30); err != unix.EINVAL {
		t.Errorf("a flag that no kernel has: %v", err)
	}
	if err := Clone3Error(); err != unix.EINVAL {
		t.Errorf("clone3: %v", err)
	}
	if err := CloneIntoCgroupError(); err != unix.EBADF && KernelVersion().AtLeast(Version{5, 7}) {
		t.Errorf("clone3 into a cgroup: %v", err)
	}
}
