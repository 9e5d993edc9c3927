package sys

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// bit is a flag, or a value of a field (mask), with its name in the manual.
type bit struct {
	value, mask uint64
	name        string
}

// symbols joins the names of the bits of v with |. What has no name is printed in hexadecimal, nothing as 0.
func symbols(v uint64, bits []bit) string {
	var b strings.Builder
	add := func(s string) {
		if b.Len() > 0 {
			b.WriteByte('|')
		}
		b.WriteString(s)
	}
	for i := range bits {
		mask := bits[i].mask
		if mask == 0 {
			mask = bits[i].value
		}
		if v&mask == bits[i].value {
			add(bits[i].name)
			v &^= mask
		}
	}
	if v != 0 {
		add("0x" + strconv.FormatUint(v, 16))
	}
	if b.Len() == 0 {
		return "0"
	}
	return b.String()
}

// The tables are arrays of constants, so that the linker lays them out and nothing runs at start. Compound flags stand first.

var mountAttrs = [...]bit{
	{value: unix.MOUNT_ATTR_RDONLY, name: "MOUNT_ATTR_RDONLY"},
	{value: unix.MOUNT_ATTR_NOSUID, name: "MOUNT_ATTR_NOSUID"},
	{value: unix.MOUNT_ATTR_NODEV, name: "MOUNT_ATTR_NODEV"},
	{value: unix.MOUNT_ATTR_NOEXEC, name: "MOUNT_ATTR_NOEXEC"},
	{value: unix.MOUNT_ATTR__ATIME, name: "MOUNT_ATTR__ATIME"}, // the whole field, in attr_clr
	{value: unix.MOUNT_ATTR_NOATIME, name: "MOUNT_ATTR_NOATIME"},
	{value: unix.MOUNT_ATTR_STRICTATIME, name: "MOUNT_ATTR_STRICTATIME"},
	{value: unix.MOUNT_ATTR_NODIRATIME, name: "MOUNT_ATTR_NODIRATIME"},
	{value: unix.MOUNT_ATTR_IDMAP, name: "MOUNT_ATTR_IDMAP"},
	{value: unix.MOUNT_ATTR_NOSYMFOLLOW, name: "MOUNT_ATTR_NOSYMFOLLOW"},
}

// MountAttrString returns MOUNT_ATTR_* flags by name: mount_setattr(2), fsmount(2). MOUNT_ATTR_RELATIME is 0 and has no text.
func MountAttrString(v uint64) string { return symbols(v, mountAttrs[:]) }

var mountFlags = [...]bit{
	{value: unix.MS_RDONLY, name: "MS_RDONLY"},
	{value: unix.MS_NOSUID, name: "MS_NOSUID"},
	{value: unix.MS_NODEV, name: "MS_NODEV"},
	{value: unix.MS_NOEXEC, name: "MS_NOEXEC"},
	{value: unix.MS_SYNCHRONOUS, name: "MS_SYNCHRONOUS"},
	{value: unix.MS_REMOUNT, name: "MS_REMOUNT"},
	{value: unix.MS_MANDLOCK, name: "MS_MANDLOCK"},
	{value: unix.MS_DIRSYNC, name: "MS_DIRSYNC"},
	{value: unix.MS_NOSYMFOLLOW, name: "MS_NOSYMFOLLOW"},
	{value: unix.MS_NOATIME, name: "MS_NOATIME"},
	{value: unix.MS_NODIRATIME, name: "MS_NODIRATIME"},
	{value: unix.MS_BIND, name: "MS_BIND"},
	{value: unix.MS_MOVE, name: "MS_MOVE"},
	{value: unix.MS_REC, name: "MS_REC"},
	{value: unix.MS_SILENT, name: "MS_SILENT"},
	{value: unix.MS_UNBINDABLE, name: "MS_UNBINDABLE"},
	{value: unix.MS_PRIVATE, name: "MS_PRIVATE"},
	{value: unix.MS_SLAVE, name: "MS_SLAVE"},
	{value: unix.MS_SHARED, name: "MS_SHARED"},
	{value: unix.MS_RELATIME, name: "MS_RELATIME"},
	{value: unix.MS_I_VERSION, name: "MS_I_VERSION"},
	{value: unix.MS_STRICTATIME, name: "MS_STRICTATIME"},
	{value: unix.MS_LAZYTIME, name: "MS_LAZYTIME"},
}

// MountFlagString returns MS_* flags by name: mount(2).
func MountFlagString(v uint64) string { return symbols(v, mountFlags[:]) }

var umountFlags = [...]bit{
	{value: unix.MNT_FORCE, name: "MNT_FORCE"},
	{value: unix.MNT_DETACH, name: "MNT_DETACH"},
	{value: unix.MNT_EXPIRE, name: "MNT_EXPIRE"},
	{value: unix.UMOUNT_NOFOLLOW, name: "UMOUNT_NOFOLLOW"},
}

// UmountFlagString returns the flags of umount2(2) by name.
func UmountFlagString(v uint64) string { return symbols(v, umountFlags[:]) }

var cloneFlags = [...]bit{
	{value: unix.CLONE_NEWTIME, name: "CLONE_NEWTIME"},
	{value: unix.CLONE_VM, name: "CLONE_VM"},
	{value: unix.CLONE_FS, name: "CLONE_FS"},
	{value: unix.CLONE_FILES, name: "CLONE_FILES"},
	{value: unix.CLONE_PIDFD, name: "CLONE_PIDFD"},
	{value: unix.CLONE_PTRACE, name: "CLONE_PTRACE"},
	{value: unix.CLONE_VFORK, name: "CLONE_VFORK"},
	{value: unix.CLONE_PARENT, name: "CLONE_PARENT"},
	{value: unix.CLONE_THREAD, name: "CLONE_THREAD"},
	{value: unix.CLONE_NEWNS, name: "CLONE_NEWNS"},
	{value: unix.CLONE_NEWCGROUP, name: "CLONE_NEWCGROUP"},
	{value: unix.CLONE_NEWUTS, name: "CLONE_NEWUTS"},
	{value: unix.CLONE_NEWIPC, name: "CLONE_NEWIPC"},
	{value: unix.CLONE_NEWUSER, name: "CLONE_NEWUSER"},
	{value: unix.CLONE_NEWPID, name: "CLONE_NEWPID"},
	{value: unix.CLONE_NEWNET, name: "CLONE_NEWNET"},
	{value: unix.CLONE_IO, name: "CLONE_IO"},
	{value: unix.CLONE_CLEAR_SIGHAND, name: "CLONE_CLEAR_SIGHAND"},
	{value: unix.CLONE_INTO_CGROUP, name: "CLONE_INTO_CGROUP"},
}

// CloneFlagString returns CLONE_* flags by name: clone3(2), unshare(2), setns(2). The low byte, the exit signal of clone(2), overlaps
// CLONE_NEWTIME and is not looked at.
func CloneFlagString(v uint64) string { return symbols(v, cloneFlags[:]) }

var openFlags = [...]bit{
	{value: unix.O_RDWR, mask: unix.O_ACCMODE, name: "O_RDWR"},
	{value: unix.O_WRONLY, mask: unix.O_ACCMODE, name: "O_WRONLY"},
	{value: unix.O_TMPFILE, name: "O_TMPFILE"},
	{value: unix.O_SYNC, name: "O_SYNC"},
	{value: unix.O_DSYNC, name: "O_DSYNC"},
	{value: unix.O_PATH, name: "O_PATH"},
	{value: unix.O_DIRECTORY, name: "O_DIRECTORY"},
	{value: unix.O_NOFOLLOW, name: "O_NOFOLLOW"},
	{value: unix.O_CREAT, name: "O_CREAT"},
	{value: unix.O_EXCL, name: "O_EXCL"},
	{value: unix.O_TRUNC, name: "O_TRUNC"},
	{value: unix.O_APPEND, name: "O_APPEND"},
	{value: unix.O_NONBLOCK, name: "O_NONBLOCK"},
	{value: unix.O_NOCTTY, name: "O_NOCTTY"},
	{value: unix.O_NOATIME, name: "O_NOATIME"},
	{value: unix.O_DIRECT, name: "O_DIRECT"},
	{value: unix.O_CLOEXEC, name: "O_CLOEXEC"},
}

// OpenFlagString returns O_* flags by name: open(2). O_RDONLY is 0 and printed only when nothing else is set.
func OpenFlagString(v uint64) string {
	if v == 0 {
		return "O_RDONLY"
	}
	return symbols(v, openFlags[:])
}

var resolveFlags = [...]bit{
	{value: unix.RESOLVE_NO_XDEV, name: "RESOLVE_NO_XDEV"},
	{value: unix.RESOLVE_NO_MAGICLINKS, name: "RESOLVE_NO_MAGICLINKS"},
	{value: unix.RESOLVE_NO_SYMLINKS, name: "RESOLVE_NO_SYMLINKS"},
	{value: unix.RESOLVE_BENEATH, name: "RESOLVE_BENEATH"},
	{value: unix.RESOLVE_IN_ROOT, name: "RESOLVE_IN_ROOT"},
	{value: 0x20, name: "RESOLVE_CACHED"}, // kernel 5.12
}

// ResolveString returns RESOLVE_* flags by name: openat2(2).
func ResolveString(v uint64) string { return symbols(v, resolveFlags[:]) }

var atFlags = [...]bit{
	{value: unix.OPEN_TREE_CLONE, name: "OPEN_TREE_CLONE"},
	{value: unix.AT_SYMLINK_NOFOLLOW, name: "AT_SYMLINK_NOFOLLOW"},
	{value: unix.AT_SYMLINK_FOLLOW, name: "AT_SYMLINK_FOLLOW"},
	{value: unix.AT_NO_AUTOMOUNT, name: "AT_NO_AUTOMOUNT"},
	{value: unix.AT_EMPTY_PATH, name: "AT_EMPTY_PATH"},
	{value: unix.AT_RECURSIVE, name: "AT_RECURSIVE"},
	{value: unix.OPEN_TREE_CLOEXEC, name: "OPEN_TREE_CLOEXEC"},
}

// AtFlagString returns AT_* and OPEN_TREE_* flags by name: open_tree(2), mount_setattr(2), statx(2).
func AtFlagString(v uint64) string { return symbols(v, atFlags[:]) }

// ErrnoName returns the name of an errno as in errno(3), "errno 4095" if it has none.
func ErrnoName(e syscall.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return "errno " + strconv.Itoa(int(e))
}
