package idmap

import (
	"runtime"
	"syscall"
	"unsafe"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// UserNS makes a user namespace with the mapping, which must be valid, and returns its descriptor (O_CLOEXEC). Nobody lives in the
// namespace: it serves MOUNT_ATTR_IDMAP (mount_setattr(2)), and it lasts as long as the descriptor or a mount that uses it.
//
// It needs a child for a moment, for a namespace is born with a process. The child is a plain fork that shares nothing but
// descriptors, waits on a pipe and is killed; it has no signal of the parent and no right to anything of it, and lives for less than a
// millisecond. Needs CAP_SYS_ADMIN and CAP_SETUID over the ids. Errors: Denied, Unsupported (no user namespaces), Internal.
func UserNS(m Mapping) (int, error) {
	if err := m.Validate(); err != nil {
		return -1, err
	}
	proc, err := procfs.Host()
	if err != nil {
		return -1, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return -1, errdef.Errorf(errdef.Internal, "make user namespace: pipe: %w", err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])

	pid, fd, err := forkWaiting(unix.CLONE_NEWUSER, pipe)
	if err != nil {
		return -1, err
	}
	child := pidfd.FromFD(fd)
	defer func() {
		child.Signal(unix.SIGKILL)
		child.Wait()
		child.Close()
	}()
	if err := writeBoth(proc, pid, m); err != nil {
		return -1, errdef.Errorf(errdef.KindOf(err), "make user namespace: %w", err)
	}
	// The pid is ours until it is reaped, so that this is the child's namespace and no other.
	return proc.OpenLink(pid, "ns/user", unix.O_RDONLY)
}

// Allowed tries to make a user namespace, without a mapping, and returns nil if this process may; errors as UserNS.
func Allowed() error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return errdef.Errorf(errdef.Internal, "make user namespace: pipe: %w", err)
	}
	_, fd, err := forkWaiting(unix.CLONE_NEWUSER, pipe)
	unix.Close(pipe[0])
	unix.Close(pipe[1]) // the child reads the end and exits
	if err != nil {
		return err
	}
	child := pidfd.FromFD(fd)
	defer child.Close()
	_, err = child.Wait()
	return err
}

// forkWaiting clones a child into new namespaces that reads from the pipe until its end, or its own, comes. All signals are blocked
// around it: a Go signal handler must not run in the child, which has only this one thread of the runtime.
func forkWaiting(flags uintptr, pipe [2]int) (pid, fd int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return 0, -1, errdef.Errorf(errdef.Internal, "make user namespace: block signals: %w", err)
	}
	raw := int32(-1)
	n, e := cloneWaiting(flags|unix.CLONE_PIDFD, &raw, uintptr(pipe[0]), uintptr(pipe[1]))
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	if e != 0 {
		return 0, -1, cloneError(e)
	}
	return int(n), int(raw), nil
}

// cloneWaiting is clone(2) without CLONE_VM, and the whole life of the child. Nosplit and norace, for the child must neither grow its
// stack nor call into the race detector; RawSyscall, for it must not tell a scheduler that has no other thread. It takes no lock and
// allocates nothing: whatever lock another thread of the parent held at the fork is held for ever in the child's copy.
//
// The exit signal is 0: the parent's SIGCHLD handling, and a wait for any child, do not see this one.
//
//go:noinline
//go:norace
//go:nosplit
func cloneWaiting(flags uintptr, fd *int32, r, w uintptr) (pid uintptr, e syscall.Errno) {
	pid, _, e = syscall.RawSyscall6(syscall.SYS_CLONE, flags, 0, uintptr(unsafe.Pointer(fd)), 0, 0, 0)
	if e != 0 || pid != 0 {
		return pid, e
	}
	// Child. With its copy of the write end closed, the read ends when the parent dies, however it dies.
	var b byte
	syscall.RawSyscall(syscall.SYS_CLOSE, w, 0, 0)
	syscall.RawSyscall(syscall.SYS_READ, r, uintptr(unsafe.Pointer(&b)), 1)
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

func cloneError(e syscall.Errno) error {
	switch e {
	case unix.EPERM:
		return errdef.Errorf(errdef.Denied, "make user namespace: %w", e)
	case unix.ENOSPC, unix.EUSERS:
		err := errdef.Errorf(errdef.Unavailable, "make user namespace: %w", e)
		return errdef.WithHint(err, "raise the sysctl user.max_user_namespaces ("+sys.KernelVersion().String()+" kernel)")
	case unix.EINVAL, unix.ENOSYS:
		return errdef.Errorf(errdef.Unsupported, "make user namespace: %w", e)
	}
	return errdef.Errorf(errdef.Internal, "make user namespace: %w", e)
}
