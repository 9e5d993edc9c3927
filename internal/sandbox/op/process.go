package op

import (
	"encoding/binary"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unshare is unshare(2).
func Unshare(flags uint64) Op { return call("unshare", unix.SYS_UNSHARE, shown(flags, CloneSet)) }

// Setns is setns(2): a namespace's descriptor with its CLONE_NEW* type, or a pidfd with several (kernel 5.8).
func Setns(fd Arg, flags uint64) Op {
	return call("setns", unix.SYS_SETNS, fd, shown(flags, CloneSet))
}

// Fork is clone(2) without a new stack: a copy of the child goes on after this op with 0 as the result, the caller with the pid.
// With CLONE_PARENT in flags the copy is the caller's sibling and announces its end by the caller's own signal.
func Fork(flags uint64) Op {
	if flags&unix.CLONE_PARENT == 0 {
		return call("clone", unix.SYS_CLONE, Flag(flags|uint64(unix.SIGCHLD), cloneText(flags)+"SIGCHLD"), Num(0), Num(0), Num(0), Num(0))
	}
	return call("clone", unix.SYS_CLONE, shown(flags, CloneSet), Num(0), Num(0), Num(0), Num(0))
}

func cloneText(flags uint64) string {
	if flags == 0 {
		return ""
	}
	return CloneText(flags) + "|"
}

// Exit is exit_group(2).
func Exit(status int) Op { return call("exit_group", unix.SYS_EXIT_GROUP, Num(status)) }

// Execve is execve(2) of a path with constant argument and environment lists.
func Execve(path string, argv, envp []string) Op {
	return call("execve", unix.SYS_EXECVE, Str(path), Strs(argv), Arg{Kind: List, List: &envp, Text: strconv.Itoa(len(envp)) + " variables"})
}

// Setsid is setsid(2).
func Setsid() Op { return call("setsid", unix.SYS_SETSID) }

// Setresuid is setresuid(2) with one id three times.
func Setresuid(uid uint32) Op {
	return call("setresuid", unix.SYS_SETRESUID, Num(uid), Num(uid), Num(uid))
}

// Setresgid is setresgid(2) with one id three times.
func Setresgid(gid uint32) Op {
	return call("setresgid", unix.SYS_SETRESGID, Num(gid), Num(gid), Num(gid))
}

// Setgroups is setgroups(2) with exactly these supplementary groups.
func Setgroups(gids []uint32) Op {
	var b []byte
	text := "["
	for i, g := range gids {
		b = binary.LittleEndian.AppendUint32(b, g)
		if i > 0 {
			text += " "
		}
		text += strconv.FormatUint(uint64(g), 10)
	}
	if len(b) == 0 {
		return call("setgroups", unix.SYS_SETGROUPS, Num(0), Num(0))
	}
	return call("setgroups", unix.SYS_SETGROUPS, Num(len(gids)), Data(string(b), text+"]"))
}

// Prctl is prctl(2); name is the option's, text the argument's.
func Prctl(option int, name string, arg2 Arg, more ...Arg) Op {
	args := append([]Arg{Flag(uint32(option), name), arg2}, more...)
	for len(args) < 5 {
		args = append(args, Num(0))
	}
	return call("prctl", unix.SYS_PRCTL, args...)
}

// Capset is capset(2) version 3 on the calling thread: effective, permitted and inheritable as bit masks.
func Capset(effective, permitted, inheritable uint64, text string) Op {
	header := make([]byte, 8)
	binary.LittleEndian.PutUint32(header, unix.LINUX_CAPABILITY_VERSION_3)
	var data []byte
	for shift := 0; shift < 64; shift += 32 {
		for _, set := range []uint64{effective, permitted, inheritable} {
			data = binary.LittleEndian.AppendUint32(data, uint32(set>>shift))
		}
	}
	return call("capset", unix.SYS_CAPSET, Data(string(header), "v3"), Data(string(data), text))
}

// Prlimit is prlimit64(2) on the calling process.
func Prlimit(resource int, name string, soft, hard uint64) Op {
	b := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, soft), hard)
	return call("prlimit64", unix.SYS_PRLIMIT64, Num(0), Flag(uint32(resource), name), Data(string(b), "{"+limit(soft)+", "+limit(hard)+"}"), Num(0))
}

func limit(n uint64) string {
	if n == ^uint64(0) {
		return "RLIM_INFINITY"
	}
	return strconv.FormatUint(n, 10)
}

// Seccomp installs a filter: seccomp(2), SECCOMP_SET_MODE_FILTER. The mem is a struct sock_fprog made by FilterMem.
func Seccomp(flags uint32, mem, text string) Op {
	prog := Addr(mem, 0)
	prog.Text = text
	return call("seccomp", unix.SYS_SECCOMP, Flag(unix.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), Flag(flags, seccompFlags(flags)), prog)
}

func seccompFlags(flags uint32) string {
	names := [...]string{"TSYNC", "LOG", "SPEC_ALLOW", "NEW_LISTENER", "TSYNC_ESRCH", "WAIT_KILLABLE_RECV"}
	text := ""
	for i, name := range names {
		if flags>>i&1 != 0 {
			text += "|" + name
		}
	}
	if text == "" {
		return "0"
	}
	return text[1:]
}

// FilterMem is the struct sock_fprog of a filter of 8-byte instructions.
func FilterMem(mem string, program []byte) Mem {
	b := make([]byte, 8)
	binary.LittleEndian.PutUint16(b, uint16(len(program)/8))
	return Mem{Name: mem, Size: 16, Init: b, Relocs: []Reloc{{8, Data(string(program), "")}}}
}

// Sigmask sets the signal mask: rt_sigprocmask(2), SIG_SETMASK. Bit n-1 stands for signal n.
func Sigmask(mask uint64, text string) Op {
	b := binary.LittleEndian.AppendUint64(nil, mask)
	return call("rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, Flag(2, "SIG_SETMASK"), Data(string(b), text), Num(0), Num(8))
}

// Raw is any other system call.
func Raw(name string, nr uint32, args ...Arg) Op { return call(name, nr, args...) }

// Check compares the 8 bytes at mem+off, under mask, with want; when they differ the op fails with errno, or branches if Else names it.
func Check(mem string, off int, mask, want uint64, errno syscall.Errno) Op {
	o := call("check", NRCheck, Addr(mem, off), shown(want, Hex), shown(uint64(errno), Errno))
	o.Mask = mask
	return o
}

// CheckAt is Check of the 8 bytes at the address that stands in a slot, with errno ETIMEDOUT.
func CheckAt(address Slot, want uint64) Op {
	o := call("check", NRCheck, At(address), shown(want, Hex), shown(uint64(syscall.ETIMEDOUT), Errno))
	o.Mask = ^uint64(0)
	return o
}

// Copy puts 8 bytes of a slot into a memory.
func Copy(from Slot, mem string, off int) Op {
	return call("copy", NRCopy, Addr(string(from), 0), Addr(mem, off))
}

// Copy32 puts 4 bytes of a slot into a memory.
func Copy32(from Slot, mem string, off int) Op {
	return call("copy32", NRCopy32, Addr(string(from), 0), Addr(mem, off))
}

// Copy32Mem puts 4 bytes of a memory into another.
func Copy32Mem(from string, fromOff int, to string, toOff int) Op {
	return call("copy32", NRCopy32, Addr(from, fromOff), Addr(to, toOff))
}
