package op

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A bit is a flag with its name in the manual.
type bit struct {
	value uint64
	name  string
}

// Symbols returns value as names joined by |, the rest in hexadecimal, "0" for none.
func symbols(value uint64, bits []bit) string {
	var names []string
	for _, b := range bits {
		if b.value != 0 && value&b.value == b.value {
			names = append(names, b.name)
			value &^= b.value
		}
	}
	if value != 0 || len(names) == 0 {
		if value < 10 {
			names = append(names, strconv.FormatUint(value, 10))
		} else {
			names = append(names, "0x"+strconv.FormatUint(value, 16))
		}
	}
	return strings.Join(names, "|")
}

var cloneBits = []bit{
	{unix.CLONE_NEWUSER, "CLONE_NEWUSER"}, {unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"}, {unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"}, {unix.CLONE_NEWTIME, "CLONE_NEWTIME"}, {unix.CLONE_PARENT, "CLONE_PARENT"},
	{unix.CLONE_FILES, "CLONE_FILES"}, {unix.CLONE_VM, "CLONE_VM"}, {unix.CLONE_VFORK, "CLONE_VFORK"},
}

var openBits = []bit{
	{unix.O_PATH, "O_PATH"}, {unix.O_DIRECTORY, "O_DIRECTORY"}, {unix.O_NOFOLLOW, "O_NOFOLLOW"}, {unix.O_CLOEXEC, "O_CLOEXEC"},
	{unix.O_CREAT, "O_CREAT"}, {unix.O_EXCL, "O_EXCL"}, {unix.O_TRUNC, "O_TRUNC"}, {unix.O_NONBLOCK, "O_NONBLOCK"},
	{unix.O_NOCTTY, "O_NOCTTY"}, {unix.O_RDWR, "O_RDWR"}, {unix.O_WRONLY, "O_WRONLY"},
}

var resolveBits = []bit{
	{unix.RESOLVE_IN_ROOT, "RESOLVE_IN_ROOT"}, {unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_MAGICLINKS"},
	{unix.RESOLVE_NO_SYMLINKS, "RESOLVE_NO_SYMLINKS"}, {unix.RESOLVE_NO_XDEV, "RESOLVE_NO_XDEV"}, {unix.RESOLVE_BENEATH, "RESOLVE_BENEATH"},
}

var treeBits = []bit{
	{unix.OPEN_TREE_CLONE, "OPEN_TREE_CLONE"}, {unix.OPEN_TREE_CLOEXEC, "OPEN_TREE_CLOEXEC"}, {unix.AT_RECURSIVE, "AT_RECURSIVE"},
	{unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"}, {unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"}, {unix.AT_NO_AUTOMOUNT, "AT_NO_AUTOMOUNT"},
}

// Of the access-time values only relatime is 0; it is printed as nothing.
var mountAttrBits = []bit{
	{unix.MOUNT_ATTR_RDONLY, "RDONLY"}, {unix.MOUNT_ATTR_NOSUID, "NOSUID"}, {unix.MOUNT_ATTR_NODEV, "NODEV"}, {unix.MOUNT_ATTR_NOEXEC, "NOEXEC"},
	{unix.MOUNT_ATTR__ATIME, "_ATIME"}, {unix.MOUNT_ATTR_NOATIME, "NOATIME"}, {unix.MOUNT_ATTR_STRICTATIME, "STRICTATIME"},
	{unix.MOUNT_ATTR_NODIRATIME, "NODIRATIME"}, {unix.MOUNT_ATTR_IDMAP, "IDMAP"}, {unix.MOUNT_ATTR_NOSYMFOLLOW, "NOSYMFOLLOW"},
}

var msBits = []bit{
	{unix.MS_RDONLY, "MS_RDONLY"}, {unix.MS_NOSUID, "MS_NOSUID"}, {unix.MS_NODEV, "MS_NODEV"}, {unix.MS_NOEXEC, "MS_NOEXEC"},
	{unix.MS_SYNCHRONOUS, "MS_SYNCHRONOUS"}, {unix.MS_REMOUNT, "MS_REMOUNT"}, {unix.MS_BIND, "MS_BIND"}, {unix.MS_REC, "MS_REC"},
	{unix.MS_PRIVATE, "MS_PRIVATE"}, {unix.MS_SLAVE, "MS_SLAVE"}, {unix.MS_SHARED, "MS_SHARED"}, {unix.MS_UNBINDABLE, "MS_UNBINDABLE"},
	{unix.MS_NOATIME, "MS_NOATIME"}, {unix.MS_NODIRATIME, "MS_NODIRATIME"}, {unix.MS_RELATIME, "MS_RELATIME"}, {unix.MS_STRICTATIME, "MS_STRICTATIME"},
}

func flagsArg(value uint64, bits []bit) Arg {
	return Arg{Kind: Imm, Num: value, Text: symbols(value, bits)}
}

// CloneText returns CLONE_* flags by name.
func CloneText(flags uint64) string { return symbols(flags, cloneBits) }

// AttrText returns MOUNT_ATTR_* flags by name, without the prefix.
func AttrText(attrs uint64) string { return symbols(attrs, mountAttrBits) }
