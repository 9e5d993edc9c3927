package forkexec

import (
	"encoding/binary"
	"runtime"
	"slices"
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

// A Command is what Run needs.
type Command struct {
	Ops   []op.Op
	Mems  []op.Mem
	Files map[string]int      // descriptors of the caller that the ops name; they stay the caller's
	Born  func(pid int) error // called when the child exists and does nothing yet; nil for nothing
}

// A Birth is a child that is being made: clone3 runs on a thread of its own, because new namespaces take the kernel longer than the
// caller needs to compile what happens in them.
type Birth struct {
	flags      uint64
	sync       int // the parent's end
	child      int // the child's end; closed by the parent when the child has it
	exe        int // the memfd, empty until Run
	minFD      int
	highFD     int
	done       chan struct{}
	pid, pidfd int
	errno      syscall.Errno
	memory     [][]byte // what the child reads until it executes the memfd
}

// Begin starts to make a child in new namespaces (CLONE_NEW* in flags) and, if cgroup is not -1, in the cgroup v2 whose directory it is.
// Begin takes that descriptor over. minFD is the lowest number for descriptors of ours, 3 plus the number of descriptors to preserve, and
// highFD that for the child's end of the socket, so that the list can close what is below. Either Run or Abort must follow.
func Begin(flags uint64, cgroup, minFD, highFD int) (*Birth, error) {
	sync, child, err := socketpair(minFD)
	if err != nil {
		closeFD(cgroup)
		return nil, err
	}
	highFD = max(highFD, minFD, child+1) // dup3(2) refuses to copy a descriptor to its own number
	exe, err := memfd(minFD)
	if err == nil && exe == highFD { // and would close the program here
		exe, err = raise(exe, highFD+1)
	}
	if err != nil {
		closeFD(cgroup)
		unix.Close(sync)
		unix.Close(child)
		return nil, err
	}
	b := &Birth{flags: flags, sync: sync, child: child, exe: exe, minFD: minFD, highFD: highFD, done: make(chan struct{}), pidfd: -1}
	prelude, err := link(b.prelude(), nil, child, nil)
	if err != nil {
		closeFD(cgroup)
		unix.Close(sync)
		b.closeChild()
		return nil, err
	}
	prelude.data[8] = op.MsgNotBorn
	stack := make([]byte, 256) // the machine uses none; clone3 wants one with CLONE_VM to be safe
	b.memory = [][]byte{prelude.data, stack}
	prelude.locate(uint64(addressOf(prelude.data)))
	go func() {
		defer close(b.done)
		b.pid, b.pidfd, b.errno = clone(unix.CLONE_VM|cloneClearSighand|unix.CLONE_PIDFD|flags, cgroup, addressOf(prelude.data), stack)
		closeFD(cgroup)
	}()
	return b, nil
}

func closeFD(fd int) {
	if fd >= 0 {
		unix.Close(fd)
	}
}

// prelude is what the child does in the parent's memory: let go of the parent's end of the socket, so that a read gives end of file when
// the parent dies, and of whatever else the parent had open at this moment: the ends of other children's sockets were among that, and two children that were
// made at once kept each other from seeing the parent's end, for ever; wait until the program is sealed; put its own end where the list expects it, and execute the program. The number is high,
// and raised here rather than in the parent, whose threads share a descriptor table: to grow that one takes the kernel an RCU grace period.
func (b *Birth) prelude() []op.Op {
	ops := b.letGo()
	return append(ops,
		op.Read(op.Fd(op.SyncFile), "go", 1).To("got"),
		op.Check("got", 0, ^uint64(0), 1, unix.ECONNRESET),
		op.CloseRange(b.minFD),
		op.Dup3(op.Fd(op.SyncFile), b.highFD, false),
		op.Raw("execveat", unix.SYS_EXECVEAT, op.Num(b.exe), op.Str(""), op.Strs([]string{"bulkhead-init"}), op.Strs(nil), op.Num(unix.AT_EMPTY_PATH)),
	)
}

// letGo closes every descriptor from the first that is ours on, but for the child's end of the socket and the program.
func (b *Birth) letGo() []op.Op {
	var ops []op.Op
	first := b.minFD
	for _, keep := range []int{min(b.child, b.exe), max(b.child, b.exe)} {
		if first < keep {
			ops = append(ops, op.Raw("close_range", unix.SYS_CLOSE_RANGE, op.Num(first), op.Num(keep-1), op.Num(0)))
		}
		first = keep + 1
	}
	const last = 1<<32 - 1 // unsigned int: all there are
	return append(ops, op.Raw("close_range", unix.SYS_CLOSE_RANGE, op.Num(first), op.Num(last), op.Num(0)))
}

// Run links the list, seals it and lets the child execute it. On an error nothing is left. The result's Close must be called.
func (b *Birth) Run(c *Command) (*Process, error) {
	names := make([]string, 0, len(c.Files))
	have := make(map[string]bool, len(c.Files))
	for name := range c.Files {
		names = append(names, name)
		have[name] = true
	}
	slices.Sort(names) // mount trees come last, and with them the numbers that closing up to a fixed one may leave out
	first, mems := receive(names)
	ops := append(first, c.Ops...)
	main, err := link(ops, append(mems, c.Mems...), b.highFD, have)
	if err == nil {
		head, data := image(main, machineCode())
		err = seal(b.exe, head, data)
	}
	if err != nil {
		b.Abort()
		return nil, err
	}
	<-b.done
	if b.errno != 0 {
		err := cloneError(b.flags, b.errno)
		b.Abort()
		return nil, err
	}
	if c.Born != nil {
		if err := c.Born(b.pid); err != nil {
			b.Abort()
			return nil, err
		}
	}
	b.closeChild()
	p := &Process{PID: b.pid, PIDFD: b.pidfd, sync: b.sync, ops: c.Ops, before: len(first), memory: b.memory}
	err = p.Continue()
	for part := range slices.Chunk(names, maxRights) {
		fds := make([]int, len(part))
		for i, name := range part {
			fds[i] = c.Files[name]
		}
		if err == nil {
			err = p.SendFDs(fds...)
		}
	}
	if err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// PID waits until the child exists and returns its pid, 0 if it could not be made: Run says why.
func (b *Birth) PID() int {
	<-b.done
	return b.pid
}

// Abort ends a child that was begun.
func (b *Birth) Abort() {
	<-b.done
	b.closeChild()
	unix.Close(b.sync)
	if b.errno == 0 {
		_ = unix.PidfdSendSignal(b.pidfd, unix.SIGKILL, nil, 0)
		_, _ = wait4(b.pid)
		unix.Close(b.pidfd)
	}
	runtime.KeepAlive(b.memory)
}

func (b *Birth) closeChild() {
	unix.Close(b.child)
	unix.Close(b.exe)
}

// fileCell is the prefix of the cells in which the numbers of received descriptors stand.
const fileCell = "file."

// maxRights is how many descriptors one message carries: SCM_MAX_FD of net/scm.h is 253.
const maxRights = 250

// receive makes the ops that take the descriptors of the list from the parent: recvmsg(2) with SCM_RIGHTS, and then each number from the
// control message, where they stand as 32-bit words behind a header of 16 bytes, into its cell.
func receive(names []string) (ops []op.Op, mems []op.Mem) {
	for part := range slices.Chunk(names, maxRights) {
		id := strconv.Itoa(len(mems))
		rights, byte1, iovec, message := "rights"+id, "byte"+id, "iovec"+id, "message"+id
		size := unix.CmsgSpace(4 * len(part))
		header := make([]byte, 56) // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
		header[24] = 1
		binary.LittleEndian.PutUint64(header[40:], uint64(size))
		mems = append(mems,
			op.Mem{Name: rights, Size: size},
			op.Mem{Name: byte1, Size: 8},
			op.Mem{Name: iovec, Size: 16, Init: []byte{0, 0, 0, 0, 0, 0, 0, 0, 1}, Relocs: []op.Reloc{{Off: 0, Arg: op.Addr(byte1, 0)}}},
			op.Mem{Name: message, Size: 56, Init: header, Relocs: []op.Reloc{{Off: 16, Arg: op.Addr(iovec, 0)}, {Off: 32, Arg: op.Addr(rights, 0)}}},
		)
		ops = append(ops,
			op.Raw("recvmsg", unix.SYS_RECVMSG, op.Fd(op.SyncFile), op.Addr(message, 0), op.Num(0)).To("got"),
			op.Check("got", 0, ^uint64(0), 1, unix.ECONNRESET),
			op.Check(rights, 0, ^uint64(0), uint64(16+4*len(part)), unix.EMFILE), // fewer came: no room in the table
		)
		for i, name := range part {
			ops = append(ops, op.Copy32Mem(rights, 16+4*i, fileCell+name, 0))
		}
	}
	return ops, mems
}

// Start is Begin and Run in one.
func Start(flags uint64, cgroup, minFD int, c *Command) (*Process, error) {
	b, err := Begin(flags, cgroup, minFD, minFD+32)
	if err != nil {
		return nil, err
	}
	return b.Run(c)
}

func cloneError(flags uint64, errno syscall.Errno) error {
	err := errdef.Errorf(errdef.Unsupported, "clone3 with %s: %w", op.CloneText(flags), errno)
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

// memfd makes the file that the child will execute: memfd_create(2).
func memfd(minFD int) (int, error) {
	fd, err := unix.MemfdCreate("bulkhead-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|mfdExec)
	if err == unix.EINVAL { // before kernel 6.3 every memfd may be executed
		fd, err = unix.MemfdCreate("bulkhead-init", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		err = errdef.Errorf(errdef.Unsupported, "memfd_create for the container's first program: %w", err)
		return -1, errdef.WithHint(err, "executable memfds may be forbidden: see /proc/sys/vm/memfd_noexec, which must be below 2")
	}
	return raise(fd, minFD)
}

// seal writes the program, and from then on nobody can change it: F_ADD_SEALS of fcntl(2).
func seal(fd int, parts ...[]byte) error {
	for _, part := range parts {
		for len(part) > 0 {
			n, err := unix.Write(fd, part)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return errdef.Errorf(errdef.Unavailable, "write the container's first program: %w", err)
			}
			part = part[n:]
		}
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals|sealExec)
	if err == unix.EINVAL {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		return errdef.Errorf(errdef.Unsupported, "seal the container's first program: %w", err)
	}
	return nil
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
