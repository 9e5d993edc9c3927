package plan

import (
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// finish waits for start, closes what must not leak, loads the filter and executes the program.
//
// The filter is the last call before execve, so that it needs to allow nothing of ours. Only with a notify action is it loaded before the
// wait, because the agent that answers must have the listener before the container counts as created; the wait then needs read and write.
func (b *builder) finish(p *specs.Process, candidates []string, kept map[string]op.Arg) error {
	early := b.in.Filter.Notify && !b.in.Run
	b.add(op.CloseRange(b.highFD()).Because("what is still open goes with execve"))
	b.restrict(kept)
	if early {
		b.lateLimit(p.Rlimits, unix.RLIMIT_NPROC) // the filter may forbid it later
		b.filter()
	}
	if !b.in.Run {
		b.waitForStart(early, kept)
	}
	if h := b.spec.Hooks; h != nil {
		for i := range h.StartContainer {
			b.hook(i, &h.StartContainer[i], kept["hook."+itoa(i)])
		}
	}
	b.add(op.Sigmask(0, "none").Because("no signal is blocked any more"))
	if !early {
		b.lateLimit(p.Rlimits, unix.RLIMIT_NPROC)
		b.filter()
	}
	for i, c := range candidates {
		exec := op.Execve(c, p.Args, p.Env).Because("the program of the container").
			Hinted(execHint(p))
		next := "exec" + itoa(i+1)
		if len(candidates) > 1 {
			look := op.Check("no"+itoa(i), 0, ^uint64(0), 0, unix.ENOENT).Because("was it found here")
			if i > 0 {
				look = look.Named("exec" + itoa(i))
			}
			if i < len(candidates)-1 {
				look, exec = look.Else(op.AnyErrno, next), exec.Else(unix.EACCES, next)
			}
			b.add(look)
		}
		b.add(exec)
	}
	return nil
}

// waitForStart reports that the container is created and waits for a byte in the FIFO that `start` writes. From then on failures go to
// the other FIFO, from which `start` reads; it is closed by execve.
func (b *builder) waitForStart(filtered bool, kept map[string]op.Arg) {
	b.barrier(BarrierReady, "created")
	if !filtered {
		b.add(op.Raw("dup3", unix.SYS_DUP3, kept["reply"], op.Fd(op.SyncFile), op.Flag(unix.O_CLOEXEC, "O_CLOEXEC")).Because("failures from here on go to `start`"))
		b.lateLimit(b.spec.Process.Rlimits, unix.RLIMIT_NOFILE) // dup3 refuses numbers that are not below the limit (dup(2), EBADF)
	}
	b.add(
		op.Read(kept["start"], "go", 1).To("got").Because("wait for `start`"),
		op.Check("got", 0, ^uint64(0), 1, unix.ECONNRESET).Because("`start` has come"),
	)
}

// filter loads the seccomp filter.
func (b *builder) filter() {
	f := &b.in.Filter
	if len(f.Program) == 0 {
		return
	}
	text := itoa(len(f.Program)/8) + " instructions"
	b.mem(op.FilterMem("filter", f.Program))
	if !f.Notify {
		b.add(op.Seccomp(f.Flags, "filter", text).Because("linux.seccomp: the last call before execve").Hinted("this kernel lacks a flag or an action of the profile"))
		return
	}
	// The listener's number is known beforehand: the lowest free one. The runtime fetches it, for the process may have no call left to send
	// it with, and then sets the flag. Until then the process turns in a circle that makes no call.
	msg := b.mem(op.Mem{Name: "fetch", Size: op.MsgSize, Init: op.Message(op.MsgFetch, FDListener)})
	const newListener = 8
	b.add(
		op.Prctl(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE", op.Num(1)).Because("the runtime may fetch the listener, rootless too"),
		op.Raw("dup", unix.SYS_DUP, sync).To("listener").Because("the lowest free descriptor: the listener's to be"),
		op.Close(op.At("listener")),
		op.Copy("listener", msg, 16),
		op.WriteMem(sync, msg, op.MsgSize).Because("the runtime shall fetch the listener"),
		op.Seccomp(f.Flags|newListener, "filter", text).Because("linux.seccomp with notifications").Hinted("this kernel lacks a flag or an action of the profile"),
		op.CheckAt("flag", 1).Else(op.AnyErrno, "turn").Named("turn").Because("has the runtime fetched the listener"),
	)
}

// flag shows the process a page of the runtime's, for a profile that notifies.
func (b *builder) flag() {
	if !b.in.Filter.Notify {
		return
	}
	page := b.want(FileWant{Name: "flag", Kind: FlagPage})
	b.add(
		op.Raw("mmap", unix.SYS_MMAP, op.Num(0), op.Num(FlagSize), op.Flag(unix.PROT_READ, "PROT_READ"), op.Flag(unix.MAP_SHARED, "MAP_SHARED"), page, op.Num(0)).
			To("flag").Because("a flag that the runtime sets when it has the listener"),
	)
}

// hook runs a startContainer hook: in the container's namespaces and root, as its process, under its filter, with its state on standard
// input, before the program (runtime-spec config.md, startContainer).
func (b *builder) hook(i int, h *specs.Hook, state op.Arg) {
	n := itoa(i)
	why := "startContainer hook " + h.Path
	pid, fd := op.Slot("hookpid"+n), "hookfd"+n
	b.mem(op.Mem{Name: fd, Size: 8})
	parent := "hookparent" + n
	clone := op.Raw("clone", unix.SYS_CLONE, op.Flag(uint64(unix.CLONE_PIDFD|unix.SIGCHLD), "CLONE_PIDFD|SIGCHLD"), op.Num(0), op.Addr(fd, 0), op.Num(0), op.Num(0))
	b.add(
		clone.To(pid).Because(why),
		op.Check(string(pid), 0, ^uint64(0), 0, 0).Else(op.AnyErrno, parent),
		op.Raw("dup3", unix.SYS_DUP3, state, op.Num(0), op.Num(0)).Because("the container's state on standard input"),
		op.CloseRange(3).Because("no other descriptor reaches the hook"),
		op.Sigmask(0, "none"),
	)
	if f := &b.in.Filter; len(f.Program) > 0 && !f.Notify {
		b.scratchFilter()
		b.add(op.Seccomp(f.Flags, "hookfilter", "the container's filter").Because("the hook is of the image: it is confined as the program is"))
	}
	args := h.Args
	if len(args) == 0 {
		args = []string{h.Path}
	}
	env := h.Env
	if len(env) == 0 {
		env = b.spec.Process.Env // it is inside the container, and runc does so
	}
	b.add(op.Execve(h.Path, args, env).Because(why).Hinted("the hook must be in the image: startContainer hooks run inside the container"))
	b.awaitHook(n, fd, why, parent, h.Timeout)
}

func (b *builder) scratchFilter() {
	for i := range b.p.Mems {
		if b.p.Mems[i].Name == "hookfilter" {
			return
		}
	}
	b.mem(op.FilterMem("hookfilter", b.in.Filter.Program))
}

// awaitHook waits for the hook's end, at most as long as it may take, and checks that it exited with 0.
func (b *builder) awaitHook(n, fd, why, label string, timeout *int) {
	poll := b.mem(op.Mem{Name: "poll" + n, Size: 8, Init: []byte{0, 0, 0, 0, unix.POLLIN}})
	info := b.mem(op.Mem{Name: "info" + n, Size: 128})
	limit := op.Num(0)
	if timeout != nil {
		limit = op.Addr(b.mem(op.Mem{Name: "limit" + n, Size: 16, Init: words(uint64(*timeout), 0)}), 0)
	}
	ready := op.Slot("hookready" + n)
	b.add(
		op.Copy32(op.Slot(fd), poll, 0).Named(label),
		op.Raw("ppoll", unix.SYS_PPOLL, op.Addr(poll, 0), op.Num(1), limit, op.Num(0), op.Num(8)).To(ready).Because("wait for the "+why),
		op.Check(string(ready), 0, ^uint64(0), 1, unix.ETIMEDOUT).Else(unix.ETIMEDOUT, "hooklate"+n).Then("hookend"+n).Because(why+" within its timeout"),
		op.Raw("pidfd_send_signal", unix.SYS_PIDFD_SEND_SIGNAL, op.At(op.Slot(fd)), op.Flag(unix.SIGKILL, "SIGKILL"), op.Num(0), op.Num(0)).Named("hooklate"+n),
		op.Check("zero", 0, ^uint64(0), 1, unix.ETIMEDOUT).Because(why+" took longer than its timeout"),
		op.Raw("waitid", unix.SYS_WAITID, op.Flag(unix.P_PIDFD, "P_PIDFD"), op.At(op.Slot(fd)), op.Addr(info, 0), op.Flag(unix.WEXITED, "WEXITED"), op.Num(0)).
			Named("hookend"+n),
		op.Check(info, 8, 0xffffffff, 1, unix.EINTR).Because(why+" was ended by a signal"), // CLD_EXITED
		op.Check(info, 24, 0xffffffff, 0, unix.EPERM).Because(why+" failed: its exit status is not 0"),
		op.Close(op.At(op.Slot(fd))),
	)
}

// execHint says what execve wants. SELinux refuses it with the errno of a file that may not be executed.
func execHint(p *specs.Process) string {
	hint := "the file must be an executable of this machine's architecture, with its interpreter in the image"
	if p.SelinuxLabel != "" {
		hint += "; SELinux must let the runtime become " + p.SelinuxLabel + " (with noNewPrivileges: nnp_transition) by a file of the image's label"
	}
	return hint
}
