package extract

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/tarstream"
	"golang.org/x/sys/unix"
)

// setOwner gives an entry that was just made to whom it belongs, which needs no call for root.
func (t *Tree) setOwner(h *tarstream.Header, chown func(uid, gid int) error) error {
	if h.UID == 0 && h.GID == 0 && !t.setgid {
		return nil
	}
	return t.chown(int(h.UID), int(h.GID), chown)
}

func (t *Tree) chown(uid, gid int, chown func(uid, gid int) error) error {
	err := chown(uid, gid)
	if err == nil {
		return nil
	}
	// EINVAL is an id that the user namespace does not map; EPERM what a map of one id makes of it.
	if err != unix.EINVAL && err != unix.EPERM {
		return failed("set the owner", err)
	}
	if t.Squash {
		t.result.Skipped.Owners++
		return nil
	}
	return errdef.WithHint(errdef.Errorf(errdef.Invalid, "it belongs to %d:%d, which is not among the ids that may be used here: %w", uid, gid, err),
		"give the user more ids in /etc/subuid and /etc/subgid, or unpack as root")
}

// setTime sets the time of an open file, with name "", or of a name in a directory.
func setTime(fd int, name string, h *tarstream.Header) error {
	mtime := timespec(h)
	var err error
	if name == "" {
		err = futimens(fd, mtime)
	} else {
		err = unix.UtimesNanoAt(fd, name, []unix.Timespec{mtime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return failed("set the time", err)
	}
	return nil
}

// Attributes that an image may bring.
const (
	userPrefix    = "user."
	overlayPrefix = "user.overlay." // overlayfs' own, where it is mounted with userxattr
	fileCaps      = "security.capability"
	aclAccess     = "system.posix_acl_access"
	aclDefault    = "system.posix_acl_default"
)

// allowed reports whether an attribute means the same to every host and gives nothing but what the image may give: file capabilities are
// those of a container's root at most; labels of security modules, IMA's signatures and everything trusted are the host's.
func allowed(name string, isFile bool) bool {
	switch name {
	case fileCaps:
		return isFile
	case aclAccess:
		return true
	case aclDefault:
		return !isFile
	}
	return strings.HasPrefix(name, userPrefix) && !strings.HasPrefix(name, overlayPrefix)
}

func (t *Tree) setXattrs(fd int, h *tarstream.Header, isFile bool) error {
	for _, x := range h.Xattrs {
		if strings.IndexByte(x.Name, 0) >= 0 {
			return errdef.Errorf(errdef.Invalid, "an extended attribute with a NUL byte in its name")
		}
		if !allowed(x.Name, isFile) {
			t.result.Skipped.Xattrs++
			continue
		}
		err := unix.Fsetxattr(fd, x.Name, []byte(x.Value), 0)
		switch err {
		case nil:
		case unix.ENOTSUP:
			t.result.Skipped.Xattrs++ // the file system has none
		case unix.ENOSPC, unix.E2BIG, unix.ERANGE:
			return errdef.Errorf(errdef.Invalid, "set the extended attribute %s of %d bytes: more than the file system takes, or the disk is full: %w",
				quote(x.Name), len(x.Value), err)
		default:
			return failed("set the extended attribute "+quote(x.Name), err)
		}
	}
	return nil
}
