package feature

import (
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

func openat2() error {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &how)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func openTree() error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// detached makes a tmpfs that is mounted nowhere; it goes with its descriptor.
func detached() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
}

// fsopen makes a mount, if it may. Without CAP_SYS_ADMIN the call exists if it says EPERM: the child of a rootless container has the
// capability in its own user namespace.
func fsopen() error {
	fd, err := detached()
	if err == unix.EPERM {
		return nil
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// setattr tries an attribute on a detached mount; without CAP_SYS_ADMIN it can only see whether the call is there.
func setattr(attr *unix.MountAttr) error {
	fd, err := detached()
	if err == unix.EPERM {
		if err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, attr); err == unix.ENOSYS || err == unix.EINVAL {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr)
}

func mountSetattr() error { return setattr(&unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}) }

func noSymfollow() error { return setattr(&unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSYMFOLLOW}) }

func idmapTmpfs() error {
	fd, err := detached()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return idmapped(fd)
}

// IDMapOn returns nil if the file system at path can be shown through an idmapped mount: ext4 and xfs since kernel 5.12, btrfs 5.15,
// overlayfs 5.19, tmpfs 6.3. It is not cached. Errors carry the errno: EINVAL the file system cannot, EPERM this process may not.
func IDMapOn(path string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return idmapped(fd)
}

// idmapped maps the detached mount behind fd.
func idmapped(fd int) error {
	r := []idmap.Range{{Inside: 0, Outside: 65536, Count: 1}}
	ns, err := idmap.UserNS(idmap.Mapping{UIDs: r, GIDs: r})
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)})
}

func statmount() error {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	id, unique, err := sys.MountID(fd)
	if err != nil {
		return err
	}
	if !unique {
		return unix.ENOSYS
	}
	_, err = sys.StatMount(id, sys.StatmountMntBasic)
	return err
}
