package op

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// call makes an Op.
func call(name string, nr uint32, args ...Arg) Op { return Op{Call: name, NR: nr, Args: args} }

// Openat2 is openat2(2) with a constant struct open_how; dir is the directory that path is resolved under.
func Openat2(dir Arg, path string, flags, mode, resolve uint64) Op {
	return openat2(dir, path, how(flags, mode, resolve))
}

func openat2(dir Arg, path, how string) Op {
	return call("openat2", unix.SYS_OPENAT2, dir, Str(path), Arg{Kind: Bytes, Str: how, Show: OpenHow}, Num(24))
}

// how is struct open_how of openat2(2).
func how(flags, mode, resolve uint64) string {
	b := make([]byte, 0, 24)
	b = binary.LittleEndian.AppendUint64(b, flags)
	b = binary.LittleEndian.AppendUint64(b, mode)
	return string(binary.LittleEndian.AppendUint64(b, resolve))
}

const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// The two structures that nearly every call has.
var (
	howPath = how(unix.O_PATH|unix.O_CLOEXEC, 0, inRoot)
	howDir  = how(unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0, inRoot)
)

// InRoot resolves path inside the directory root as if that were the root directory, never through a magic link, to an O_PATH
// descriptor; extra adds open(2) flags. Symbolic links, "..", and absolute targets stay inside (openat2(2), kernel 5.6).
func InRoot(root Slot, path string, extra uint64) Op {
	switch extra {
	case 0:
		return openat2(At(root), path, howPath)
	case unix.O_DIRECTORY:
		return openat2(At(root), path, howDir)
	}
	return Openat2(At(root), path, unix.O_PATH|unix.O_CLOEXEC|extra, 0, inRoot)
}

// OpenTree is open_tree(2) (kernel 5.2).
func OpenTree(dir Arg, path string, flags uint64) Op {
	return call("open_tree", unix.SYS_OPEN_TREE, dir, Str(path), shown(flags, TreeSet))
}

// MoveMount is move_mount(2) with empty paths: the mount behind one descriptor onto the place behind another.
func MoveMount(from, to Arg) Op {
	return call("move_mount", unix.SYS_MOVE_MOUNT, from, Str(""), to, Str(""),
		Flag(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, "F_EMPTY_PATH|T_EMPTY_PATH"))
}

// MoveMountTo is move_mount(2) of the mount behind a descriptor onto a path.
func MoveMountTo(from, dir Arg, path string) Op {
	return call("move_mount", unix.SYS_MOVE_MOUNT, from, Str(""), dir, Str(path), Flag(unix.MOVE_MOUNT_F_EMPTY_PATH, "F_EMPTY_PATH"))
}

// Fsopen is fsopen(2): a new file system context of type fstype.
func Fsopen(fstype string) Op {
	return call("fsopen", unix.SYS_FSOPEN, Str(fstype), Flag(unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC"))
}

// FsString sets a parameter with a value: fsconfig(2), FSCONFIG_SET_STRING.
func FsString(fs Slot, key, value string) Op {
	return call("fsconfig", unix.SYS_FSCONFIG, At(fs), Flag(unix.FSCONFIG_SET_STRING, "SET_STRING"), Str(key), Str(value), Num(0))
}

// FsFlag sets a parameter without a value: fsconfig(2), FSCONFIG_SET_FLAG.
func FsFlag(fs Slot, key string) Op {
	return call("fsconfig", unix.SYS_FSCONFIG, At(fs), Flag(unix.FSCONFIG_SET_FLAG, "SET_FLAG"), Str(key), Num(0), Num(0))
}

// FsCreate makes the superblock: fsconfig(2), FSCONFIG_CMD_CREATE.
func FsCreate(fs Slot) Op {
	return call("fsconfig", unix.SYS_FSCONFIG, At(fs), Flag(unix.FSCONFIG_CMD_CREATE, "CMD_CREATE"), Num(0), Num(0), Num(0))
}

// FsReconfigure changes the superblock: fsconfig(2), FSCONFIG_CMD_RECONFIGURE.
func FsReconfigure(fs Slot) Op {
	return call("fsconfig", unix.SYS_FSCONFIG, At(fs), Flag(unix.FSCONFIG_CMD_RECONFIGURE, "CMD_RECONFIGURE"), Num(0), Num(0), Num(0))
}

// Fspick is fspick(2) with an empty path: the file system behind a mount's descriptor.
func Fspick(mount Slot) Op {
	const cloexec, emptyPath = 1, 8 // FSPICK_CLOEXEC, FSPICK_EMPTY_PATH in linux/mount.h
	return call("fspick", unix.SYS_FSPICK, At(mount), Str(""), Flag(cloexec|emptyPath, "CLOEXEC|EMPTY_PATH"))
}

// Fsmount is fsmount(2): a detached mount of the context with MOUNT_ATTR_* attrs.
func Fsmount(fs Slot, attrs uint64) Op {
	return call("fsmount", unix.SYS_FSMOUNT, At(fs), Flag(unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), shown(attrs, AttrSet))
}

// MountSetattr is mount_setattr(2) (kernel 5.12) on the mount behind a descriptor. propagation is MS_PRIVATE and the like, or 0.
func MountSetattr(mount Arg, recursive bool, set, clr, propagation uint64) Op {
	attr := make([]byte, 0, 32)
	for _, v := range []uint64{set, clr, propagation, 0} {
		attr = binary.LittleEndian.AppendUint64(attr, v)
	}
	return mountSetattr(mount, recursive, Arg{Kind: Bytes, Str: string(attr), Show: MountAttr})
}

func mountSetattr(mount Arg, recursive bool, attr Arg) Op {
	flags := uint64(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return call("mount_setattr", unix.SYS_MOUNT_SETATTR, mount, Str(""), shown(flags, TreeSet), attr, Num(32))
}

// Propagation changes the propagation of the mount at path: mount(2) with MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE.
func Propagation(path string, flags uint64) Op {
	return call("mount", unix.SYS_MOUNT, Str("none"), Str(path), Num(0), shown(flags, MountSet), Num(0))
}

// RemountFD is not offered: mount(2) takes paths. Mount is mount(2) on a path relative to the working directory; the plan uses it
// only with "." after an fchdir to a resolved descriptor.
func Mount(source, target, fstype string, flags uint64, data string) Op {
	d := Num(0)
	if data != "" {
		d = Str(data)
	}
	return call("mount", unix.SYS_MOUNT, Str(source), Str(target), Str(fstype), shown(flags, MountSet), d)
}

// PivotRoot is pivot_root(2).
func PivotRoot(newRoot, putOld string) Op {
	return call("pivot_root", unix.SYS_PIVOT_ROOT, Str(newRoot), Str(putOld))
}

// Umount2 is umount2(2) with MNT_DETACH.
func Umount2(path string) Op {
	return call("umount2", unix.SYS_UMOUNT2, Str(path), Flag(unix.MNT_DETACH, "MNT_DETACH"))
}

// Fchdir is fchdir(2).
func Fchdir(fd Arg) Op { return call("fchdir", unix.SYS_FCHDIR, fd) }

// Chdir is chdir(2).
func Chdir(path string) Op { return call("chdir", unix.SYS_CHDIR, Str(path)) }

// Chroot is chroot(2).
func Chroot(path string) Op { return call("chroot", unix.SYS_CHROOT, Str(path)) }
