package forkexec

import (
	"runtime"
	"strconv"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

const (
	cloneIntoCgroup   = 0x200000000 // CLONE_INTO_CGROUP, kernel 5.7; x/sys has it untyped and signed
	cloneClearSighand = 0x100000000 // CLONE_CLEAR_SIGHAND, kernel 5.5
	mfdExec           = 0x10        // MFD_EXEC, kernel 6.3
	sealExec          = 0x20        // F_SEAL_EXEC, kernel 6.3
)

// A Command is what Start needs.
type Command struct {
	Ops        []op.Op
	Mems       []op.Mem
	Files      map[string]int // descriptors of the caller that the ops name; they stay the caller's
	CloneFlags uint64         // CLONE_NEW* of the first process
	Cgroup     int            // directory of a cgroup v2 to be born in, -1 for the caller's
	MinFD      int            // lowest number for descriptors of ours: 3 plus the number of descriptors to preserve
}

// Start links the list and starts it. The result's Close must be called. On an error nothing is left.
func Start(c *Command) (*Process, error) {
	sync, child, err := socketpair(c.MinFD)
	if err != nil {
		return nil, err
	}
	defer unix.Close(child)
	files := make(map[string]int, len(c.Files)+1)
	for name, fd := range c.Files {
		files[name] = fd
	}
	files[op.SyncFile] = child
	main, err := link(c.Ops, c.Mems, files)
	if err != nil {
		unix.Close(sync)
		return nil, err
	}
	exe, err := seal(image(main, machineCode()), c.MinFD)
	if err != nil {
		unix.Close(sync)
		return nil, err
	}
	defer unix.Close(exe)
	pid, pidfd, err := born(c, files, exe)
	if err != nil {
		unix.Close(sync)
		return nil, err
	}
	return &Process{PID: pid, PIDFD: pidfd, sync: sync, ops: c.Ops}, nil
}

// born clones the child and lets it run the few instructions that lead into the sealed program.
func born(c *Command, files map[string]int, exe int) (pid, pidfd int, err error) {
	ops := []op.Op{op.CloseRange(c.MinFD)}
	for name, fd := range files {
		if fd >= c.MinFD {
			ops = append(ops, op.Raw("fcntl", unix.SYS_FCNTL, op.Fd(name), op.Num(unix.F_SETFD), op.Num(0)))
		}
	}
	ops = append(ops, op.Raw("execveat", unix.SYS_EXECVEAT, op.Num(exe), op.Str(""), op.Strs([]string{"bulkhead-init"}), op.Strs(nil), op.Num(unix.AT_EMPTY_PATH)))
	prelude, err := link(ops, nil, files)
	if err != nil {
		return 0, -1, err
	}
	prelude.data[8] = op.MsgNotBorn
	block := prelude.data
	prelude.locate(uint64(addressOf(block)))
	stack := make([]byte, 256) // the machine uses none; clone3 wants one with CLONE_VM to be safe
	const flags = unix.CLONE_VM | cloneClearSighand | unix.CLONE_PIDFD
	pid, pidfd, errno := clone(flags|c.CloneFlags, c.Cgroup, addressOf(block), stack)
	runtime.KeepAlive(block)
	if errno != 0 {
		return 0, -1, cloneError(c, syscall.Errno(errno))
	}
	keepUntilExec(block, stack)
	return pid, pidfd, nil
}

// keepUntilExec holds what the child reads until it has left the caller's memory. The process is short and starts few children, so
// holding it for good is the simplest that is right.
func keepUntilExec(blocks ...[]byte) { kept = append(kept, blocks...) }

var kept [][]byte

func cloneError(c *Command, errno syscall.Errno) error {
	err := errdef.Errorf(errdef.Unsupported, "clone3 with %s: %w", op.CloneText(c.CloneFlags), errno)
	switch errno {
	case unix.ENOSPC:
		return errdef.WithHint(err, "a limit in /proc/sys/user/max_*_namespaces is reached")
	case unix.EPERM:
		return errdef.WithHint(err, "run as root, or give the container a user namespace")
	case unix.EAGAIN, unix.ENOMEM:
		return errdef.WithHint(errdef.WithKind(errdef.Unavailable, err), "the limit of processes or memory of this user or cgroup is reached")
	}
	return err
}

// seal writes the program into a memfd that nobody can change any more: memfd_create(2), F_ADD_SEALS of fcntl(2).
func seal(program []byte, minFD int) (int, error) {
	fd, err := unix.MemfdCreate("bulkhead-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|mfdExec)
	if err == unix.EINVAL { // before kernel 6.3 every memfd may be executed
		fd, err = unix.MemfdCreate("bulkhead-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		err = errdef.Errorf(errdef.Unsupported, "memfd_create for the container's first program: %w", err)
		return -1, errdef.WithHint(err, "executable memfds may be forbidden: see /proc/sys/vm/memfd_noexec, which must be below 2")
	}
	if fd, err = raise(fd, minFD); err != nil {
		return -1, err
	}
	for len(program) > 0 {
		n, err := unix.Write(fd, program)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			unix.Close(fd)
			return -1, errdef.Errorf(errdef.Unavailable, "write the container's first program: %w", err)
		}
		program = program[n:]
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|sealExec)
	if err == unix.EINVAL {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		unix.Close(fd)
		return -1, errdef.Errorf(errdef.Unsupported, "seal the container's first program: %w", err)
	}
	return fd, nil
}

// raise moves a descriptor to a number of at least min, close-on-exec.
func raise(fd, min int) (int, error) {
	if fd >= min {
		return fd, nil
	}
	up, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, min)
	unix.Close(fd)
	if err != nil {
		return -1, errdef.WithHint(errdef.Errorf(errdef.Unavailable, "duplicate a descriptor to %s or above: %w", strconv.Itoa(min), err), "raise the limit of open files (ulimit -n)")
	}
	return up, nil
}

func socketpair(minFD int) (parent, child int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, errdef.Errorf(errdef.Unavailable, "socketpair: %w", err)
	}
	if p[0], err = raise(p[0], minFD); err != nil {
		unix.Close(p[1])
		return -1, -1, err
	}
	if p[1], err = raise(p[1], minFD); err != nil {
		unix.Close(p[0])
		return -1, -1, err
	}
	return p[0], p[1], nil
}
