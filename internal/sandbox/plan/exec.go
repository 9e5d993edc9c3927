package plan

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ExecInput is what a plan of one more process in a running container is made of.
type ExecInput struct {
	Spec        *specs.Spec    // the container's
	Process     *specs.Process // the new one
	ID          string
	Facts       *Facts
	PreserveFDs int
	Stdio       bool // its standard streams are descriptors of kind Stdio, and not the caller's own
	Filter      Filter
	Landlock    *lsm.Ruleset // nil: none
	PortGuard   Filter       // refuses what goes around Landlock's rules for ports
}

// CompileExec makes the plan of a process that joins a running container. The container is named by the descriptor of kind InitPidfd:
// all its namespaces are joined in one setns(2) with the pidfd of its first process (kernel 5.8), which no reuse of a pid can redirect.
//
// A hostile process in the container sees the new one only from the last fork on: then it has the credentials that it will run with, the
// container's root, no descriptor but its own and the socket to the runtime, and no memory but a few pages (CVE-2016-9962, CVE-2019-5736). Only
// without no_new_privs it keeps CAP_SYS_ADMIN until execve, to load the filter; to use that takes CAP_SYS_PTRACE without a user namespace.
func CompileExec(in *ExecInput) (*Plan, error) {
	if in.Process == nil {
		return nil, errdef.Errorf(errdef.Invalid, "process: missing")
	}
	spec := *in.Spec
	spec.Process = in.Process
	spec.Hooks = nil
	if spec.Linux != nil {
		l := *spec.Linux
		l.MemoryPolicy = nil // the container's own, not that of a process which joins it
		spec.Linux = &l
	}
	b := newBuilder(&Input{Spec: &spec, ID: in.ID, Facts: in.Facts, Run: true, PreserveFDs: in.PreserveFDs, Filter: in.Filter, Landlock: in.Landlock, PortGuard: in.PortGuard})
	b.joining, b.stdio = true, in.Stdio
	if err := b.sortNamespaces(); err != nil {
		return nil, err
	}
	affinity := in.Process.ExecCPUAffinity
	if affinity != nil {
		if err := b.affinity("process.execCPUAffinity.initial", affinity.Initial); err != nil {
			return nil, err
		}
	}
	b.early()
	b.cgroups(true)
	if affinity != nil {
		if err := b.affinity("process.execCPUAffinity.final", affinity.Final); err != nil {
			return nil, err
		}
	}
	b.join()
	b.labels(true)
	b.add(op.Raw("keyctl", unix.SYS_KEYCTL, op.Flag(unix.KEYCTL_JOIN_SESSION_KEYRING, "JOIN_SESSION_KEYRING"), op.Str("_ses."+in.ID)).
		Else(unix.ENOSYS, "").Because("a session keyring that is not the caller's; the container's own lets nobody search it who does not hold it"))
	if in.Process.Terminal {
		b.pty(in.Process)
	}
	if err := b.process(in.Process); err != nil {
		return nil, err
	}
	return b.p, nil
}

// join enters the container.
func (b *builder) join() {
	flags := b.newNS | b.joinFlags()
	pidfd := b.want(FileWant{Name: "init", Kind: InitPidfd})
	if flags&unix.CLONE_NEWNS == 0 {
		r := b.want(FileWant{Name: "initroot", Kind: InitRoot})
		b.add(op.Fchdir(r).Because("the container has no mount namespace: its root directory"), op.Chroot(".").Because("the container's root directory"))
	}
	if flags != 0 {
		b.add(op.Setns(pidfd, flags).Because("join the container's namespaces: " + nsNames(flags)).
			Hinted("the container may have ended meanwhile"))
	}
	if b.userns {
		b.becomeRoot()
	}
	b.add(op.Openat(op.AtCwd, "/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).To(root).Because("the container's root"))
	b.forkLate = flags&unix.CLONE_NEWPID != 0
}

// Inside makes the plan that runs a program of the host in the namespaces of a process: createContainer hooks. The program's path is
// resolved in the mount namespace of the process, whose root is the host's still.
func Inside(argv, env []string, path string) *Plan {
	p := &Plan{Files: []FileWant{{Name: "init", Kind: InitPidfd}}}
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	p.Ops = append(p.Ops,
		op.Setns(op.Fd("init"), all).Else(unix.EPERM, "rootless").Then("inside").Because("into the container's mount, network, ipc and uts namespaces"),
		op.Setns(op.Fd("init"), all|unix.CLONE_NEWUSER).Named("rootless").Because("the runtime has the right only as the maker of the container's user namespace"),
		op.Setresgid(0).Because("root of the user namespace"),
		op.Setresuid(0).Because("root of the user namespace"),
		op.Check("zero", 0, ^uint64(0), 0, 0).Named("inside").Because("inside"),
	)
	p.Ops = append(p.Ops, hostProgram(argv, env, path)...)
	return p
}

// Host makes the plan that runs a program of the host as it is: the other hooks.
func Host(argv, env []string, path string) *Plan {
	return &Plan{Ops: hostProgram(argv, env, path)}
}

func hostProgram(argv, env []string, path string) []op.Op {
	return []op.Op{
		op.Raw("dup3", unix.SYS_DUP3, op.Fd("stdin"), op.Num(0), op.Num(0)).Because("the container's state on standard input"),
		op.Raw("dup3", unix.SYS_DUP3, op.Fd("stderr"), op.Num(1), op.Num(0)).Because("what the hook prints"),
		op.Raw("dup3", unix.SYS_DUP3, op.Fd("stderr"), op.Num(2), op.Num(0)).Because("what the hook prints"),
		op.Setsid().Because("a session of its own"),
		op.CloseRange(3).Because("no other descriptor reaches the hook"),
		op.Sigmask(0, "none"),
		op.Execve(path, argv, env).Because("the hook " + path),
	}
}
