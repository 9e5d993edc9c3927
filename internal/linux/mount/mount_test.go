package mount

import (
	"os"
	"runtime"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Both ways to ask must agree.
func agree(t *testing.T, fd int) Info {
	t.Helper()
	got, err := Of(fd)
	if err != nil {
		t.Error(err)
		return got
	}
	old, err := oldID(fd)
	if err != nil {
		t.Error(err)
		return got
	}
	slow, err := fromMountinfo(old)
	if err != nil || slow.Attr != got.Attr || slow.Propagation != got.Propagation {
		t.Errorf("mountinfo says %+v, %v; statmount says %+v", slow, err, got)
	}
	return got
}

func TestOfProc(t *testing.T) {
	proc := agree(t, open(t, "/proc"))
	self := agree(t, open(t, "/proc/self/status"))
	if proc != self {
		t.Errorf("/proc %+v, a file of it %+v", proc, self)
	}
	parent, err := ParentOf(proc)
	if err != nil || parent.ID != proc.Parent {
		t.Errorf("parent %+v, %v", parent, err)
	}
}

// Propagation and attributes of mounts of every kind, in a mount namespace that ends with its thread.
func TestPropagation(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Error(err)
			return
		}
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
			return
		}
		for _, test := range []struct{ set, want uintptr }{
			{unix.MS_PRIVATE, unix.MS_PRIVATE}, {unix.MS_SHARED, unix.MS_SHARED}, {unix.MS_UNBINDABLE, unix.MS_UNBINDABLE},
		} {
			if err := unix.Mount("none", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NOATIME|unix.MS_RDONLY, ""); err != nil {
				t.Error(err)
				return
			}
			if err := unix.Mount("none", dir, "", test.set, ""); err != nil {
				t.Error(err)
			}
			fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			i := agree(t, fd)
			unix.Close(fd)
			want := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_RDONLY)
			if i.Propagation != uint64(test.want) || i.Attr != want || i.Shared() != (test.want == unix.MS_SHARED) {
				t.Errorf("%+v, want propagation %#x, attributes %#x", i, test.want, want)
			}
			if p, err := ParentOf(i); err != nil || p.Shared() {
				t.Errorf("parent %+v, %v", p, err)
			}
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}()
	<-done
}

func TestDetached(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, t.TempDir(), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if i, err := Of(fd); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a detached mount: %+v, %v", i, err)
	}
}

func TestAttrs(t *testing.T) {
	for options, want := range map[string]uint64{
		"rw": unix.MOUNT_ATTR_STRICTATIME, "rw,relatime": 0, "ro,nosuid,nodev,noexec,noatime,nodiratime": unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID |
			unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME | unix.MOUNT_ATTR_NODIRATIME,
		"rw,relatime,nosymfollow,idmapped": unix.MOUNT_ATTR_NOSYMFOLLOW | unix.MOUNT_ATTR_IDMAP,
	} {
		if got := attrs(options); got != want {
			t.Errorf("%s: got %#x, want %#x", options, got, want)
		}
	}
	m := procfs.Mount{Shared: 3, Master: 4}
	if i := infoOf(&m); !i.Shared() || !i.Slave() {
		t.Errorf("shared slave: %+v", i)
	}
}
