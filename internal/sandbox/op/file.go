package op

import (
	"golang.org/x/sys/unix"
)

// Mkdirat is mkdirat(2).
func Mkdirat(dir Arg, path string, mode uint32) Op {
	return call("mkdirat", unix.SYS_MKDIRAT, dir, Str(path), shown(mode, Octal))
}

// Mknodat is mknodat(2); dev is as unix.Mkdev makes it.
func Mknodat(dir Arg, path string, mode uint32, dev uint64) Op {
	return call("mknodat", unix.SYS_MKNODAT, dir, Str(path), shown(mode, FileMode), shown(dev, Device))
}

// Fchmodat is fchmodat(2). It follows links, so dir must be a directory of ours that nobody else can write to.
func Fchmodat(dir Arg, path string, mode uint32) Op {
	return call("fchmodat", unix.SYS_FCHMODAT, dir, Str(path), shown(mode, Octal))
}

// Fchownat is fchownat(2) with AT_SYMLINK_NOFOLLOW.
func Fchownat(dir Arg, path string, uid, gid uint32) Op {
	return call("fchownat", unix.SYS_FCHOWNAT, dir, Str(path), Num(uid), Num(gid), Flag(unix.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"))
}

// FchownFD is fchownat(2) with AT_EMPTY_PATH: the file behind a descriptor.
func FchownFD(fd Arg, uid, gid uint32) Op {
	return call("fchownat", unix.SYS_FCHOWNAT, fd, Str(""), Num(uid), Num(gid), Flag(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"))
}

// Symlinkat is symlinkat(2).
func Symlinkat(target string, dir Arg, path string) Op {
	return call("symlinkat", unix.SYS_SYMLINKAT, Str(target), dir, Str(path))
}

// Openat is openat(2).
func Openat(dir Arg, path string, flags uint64, mode uint32) Op {
	return call("openat", unix.SYS_OPENAT, dir, Str(path), shown(flags, OpenSet), shown(mode, Octal))
}

// Faccessat2 is faccessat2(2) with AT_EACCESS (kernel 5.8): may the effective ids reach path with mode (X_OK and so on).
func Faccessat2(dir Arg, path string, mode uint32) Op {
	return call("faccessat2", unix.SYS_FACCESSAT2, dir, Str(path), Num(mode), Flag(unix.AT_EACCESS, "AT_EACCESS"))
}

// Fsetxattr is fsetxattr(2) of constant bytes; fd may not be O_PATH.
func Fsetxattr(fd Arg, name, value string) Op {
	return call("fsetxattr", unix.SYS_FSETXATTR, fd, Str(name), Data(value, quote(value)), Num(len(value)), Num(0))
}

// Write is write(2) of constant bytes.
func Write(fd Arg, data string) Op {
	return call("write", unix.SYS_WRITE, fd, Data(data, quote(data)), Num(len(data)))
}

// WriteMem is write(2) from a memory.
func WriteMem(fd Arg, mem string, n int) Op {
	return call("write", unix.SYS_WRITE, fd, Addr(mem, 0), Num(n))
}

// Read is read(2) of up to n bytes into a memory.
func Read(fd Arg, mem string, n int) Op {
	return call("read", unix.SYS_READ, fd, Addr(mem, 0), Num(n))
}

// Close is close(2).
func Close(fd Arg) Op { return call("close", unix.SYS_CLOSE, fd) }

// Dup3 is dup3(2); cloexec asks for O_CLOEXEC on the new descriptor.
func Dup3(from Arg, to int, cloexec bool) Op {
	flags := uint64(0)
	if cloexec {
		flags = unix.O_CLOEXEC
	}
	return call("dup3", unix.SYS_DUP3, from, Num(to), shown(flags, OpenSet))
}

// CloseRange marks every descriptor from first on close-on-exec: close_range(2) with CLOSE_RANGE_CLOEXEC (kernel 5.11).
func CloseRange(first int) Op {
	return call("close_range", unix.SYS_CLOSE_RANGE, Num(first), Flag(uint32(0xffffffff), "~0"), Flag(unix.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC"))
}

// Ioctl is ioctl(2); name is the request's.
func Ioctl(fd Arg, request uint64, name string, arg Arg) Op {
	return call("ioctl", unix.SYS_IOCTL, fd, Flag(request, name), arg)
}

// Fstatfs is fstatfs(2) into a memory of StatfsSize bytes. The first word of struct statfs is the file system's magic.
func Fstatfs(fd Arg, mem string) Op { return call("fstatfs", unix.SYS_FSTATFS, fd, Addr(mem, 0)) }

// StatfsSize is the size of struct statfs on 64-bit machines, in bytes.
const StatfsSize = 120

// StatxSize is the size of struct statx, in bytes (linux/stat.h).
const StatxSize = 256

// Offsets in struct statx (linux/stat.h).
const (
	StatxMode  = 28  // __u16
	StatxIno   = 32  // __u64
	StatxRdev  = 128 // __u32 major, __u32 minor
	StatxDev   = 136
	StatxMntID = 144
)

// StatxPath is Statx of a path, links followed.
func StatxPath(dir Arg, path, mem string) Op {
	const mode = 0x3 // STATX_TYPE | STATX_MODE
	return call("statx", unix.SYS_STATX, dir, Str(path), Num(0), Flag(uint32(mode), "STATX_TYPE|STATX_MODE"), Addr(mem, 0))
}

// Statx is statx(2) of the file behind a descriptor into a memory of StatxSize bytes.
func Statx(fd Arg, mem string) Op {
	const basic = 0x7ff // STATX_BASIC_STATS
	return call("statx", unix.SYS_STATX, fd, Str(""), Flag(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"), Flag(uint32(basic), "STATX_BASIC_STATS"), Addr(mem, 0))
}

// Umask is umask(2).
func Umask(mask uint32) Op { return call("umask", unix.SYS_UMASK, shown(mask, Octal)) }
