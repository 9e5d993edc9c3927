package doctor

import (
	"context"
	"errors"
	"os/exec"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/forkexec"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

// spaceKinds are the kinds of namespaces, but for that of time, which clone3(2) takes as well but older kernels do not.
var spaceKinds = [...]struct {
	name string
	flag uint64
}{
	{"user", unix.CLONE_NEWUSER},
	{"mount", unix.CLONE_NEWNS},
	{"pid", unix.CLONE_NEWPID},
	{"network", unix.CLONE_NEWNET},
	{"ipc", unix.CLONE_NEWIPC},
	{"uts", unix.CLONE_NEWUTS},
	{"cgroup", unix.CLONE_NEWCGROUP},
	{"time", unix.CLONE_NEWTIME},
}

// spaces makes a child in all namespaces at once, and where that is refused, one for each kind. Without root they come with a user
// namespace; one that gives no rights inside, as AppArmor may have it, is none.
func (e *examiner) spaces(c *Caller, k *Kernel) {
	user := uint64(0)
	if !c.Privileged {
		user = unix.CLONE_NEWUSER
	}
	all := uint64(0)
	for _, s := range spaceKinds {
		all |= s.flag
	}
	whole := e.rehearse(all, nil, nil, nil)
	for _, s := range spaceKinds {
		err := whole
		if err != nil {
			err = e.rehearse(s.flag|user, nil, nil, nil)
		}
		f := Feature{Name: s.name}
		if err != nil {
			f.Err = reason(err)
		}
		k.Namespaces = append(k.Namespaces, f)
	}
	// The kernel asks for a right inside of the new namespace when another is made in the same call.
	if whole != nil {
		whole = e.rehearse(unix.CLONE_NEWUSER|unix.CLONE_NEWUTS, nil, nil, nil)
	}
	k.UserNS = tried(whole)
}

// rehearse runs a list of calls as a starting container does, in new namespaces, and returns nil if all of it was done. born, if not nil,
// is called with the child's pid before it does anything.
func (e *examiner) rehearse(flags uint64, born func(pid int) error, ops []op.Op, mems []op.Mem) error {
	ctx, cancel := context.WithTimeout(e.ctx, e.o.Patience)
	defer cancel()
	list := append(append([]op.Op{}, ops...), op.Exit(0))
	p, err := forkexec.Start(flags, -1, 3, &forkexec.Command{Ops: list, Mems: mems, Born: born})
	if err != nil {
		return cause(err)
	}
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = unix.PidfdSendSignal(p.PIDFD, unix.SIGKILL, nil, 0)
		close(killed)
	})
	_, err = p.Next()
	var status unix.WaitStatus
	failed := err
	if err == nil {
		status, err = p.Wait()
	}
	if !stop() {
		<-killed // the descriptor must be the child's until then
	}
	if failed != nil {
		p.Kill()
		return cause(failed)
	}
	p.Close()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return errdef.Errorf(errdef.Timeout, "no answer within %v", e.o.Patience)
	case !status.Exited() || status.ExitStatus() != 0:
		return errdef.Errorf(errdef.Internal, "the child ended with status %#x", int(status))
	}
	return nil
}

// cause is what matters of an error: the call and its errno.
func cause(err error) error {
	var step *forkexec.StepError
	if errors.As(err, &step) {
		return errdef.Errorf(errdef.Denied, "%s: %w", step.Op.Call, step.Errno)
	}
	var errno unix.Errno
	if errors.As(err, &errno) && errdef.KindOf(err) != errdef.Internal {
		return errno
	}
	return err
}

// inUserNS rehearses a list in user, mount, pid and network namespaces of its own, where the caller's id is root.
func (e *examiner) inUserNS(ops []op.Op) Try {
	return tried(e.rehearse(unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_NEWIPC, e.mapSelf, ops, nil))
}

// mapSelf maps one id, the caller's, which needs no right of anybody.
func (e *examiner) mapSelf(pid int) error {
	proc, err := procfs.Host()
	if err != nil {
		return err
	}
	m := idmap.Mapping{
		UIDs: []idmap.Range{{Outside: uint32(unix.Geteuid()), Count: 1}},
		GIDs: []idmap.Range{{Outside: uint32(unix.Getegid()), Count: 1}},
	}
	return idmap.Writer{Rootless: true}.Write(e.ctx, proc, pid, m)
}

// mount mounts a new file system of the type, nowhere.
func mount(fstype string, to op.Slot, parameters ...[2]string) []op.Op {
	fs := to + ".fs"
	ops := []op.Op{op.Fsopen(fstype).To(fs)}
	for _, p := range parameters {
		ops = append(ops, op.FsString(fs, p[0], p[1]))
	}
	return append(ops, op.FsCreate(fs), op.Fsmount(fs, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).To(to))
}

func procOps() []op.Op { return mount("proc", "proc") }

func sysOps() []op.Op { return mount("sysfs", "sys") }

// overlayOps stacks two directories of a tmpfs. That is mounted over the root, which the child alone sees, because overlayfs takes no layer
// of a mount that is nowhere.
func overlayOps() []op.Op {
	ops := mount("tmpfs", "tmp")
	ops = append(ops, op.MoveMountTo(op.At("tmp"), op.AtCwd, "/"), op.Fchdir(op.At("tmp")))
	for _, dir := range []string{"lower", "upper", "work"} {
		ops = append(ops, op.Mkdirat(op.AtCwd, dir, 0o700))
	}
	return append(ops, mount("overlay", "overlay", [2]string{"lowerdir", "lower"}, [2]string{"upperdir", "upper"}, [2]string{"workdir", "work"})...)
}

// mapRanges has newuidmap(1) and newgidmap(1) map the caller's first range for a child in a new user namespace.
func (e *examiner) mapRanges(c *Caller, uids, gids idmap.Range) Try {
	m := idmap.Mapping{
		UIDs: []idmap.Range{{Outside: uint32(c.UID), Count: 1}, {Inside: 1, Outside: uids.Outside, Count: uids.Count}},
		GIDs: []idmap.Range{{Outside: uint32(unix.Getegid()), Count: 1}, {Inside: 1, Outside: gids.Outside, Count: gids.Count}},
	}
	ctx, cancel := context.WithTimeout(e.ctx, e.o.Patience)
	defer cancel()
	err := e.rehearse(unix.CLONE_NEWUSER, func(pid int) error {
		proc, err := procfs.Host()
		if err != nil {
			return err
		}
		return idmap.Writer{Rootless: true}.Write(ctx, proc, pid, m)
	}, nil, nil)
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() != nil {
		err = errdef.Errorf(errdef.Timeout, "newuidmap: no answer within %v", e.o.Patience.Round(time.Millisecond))
	}
	return tried(err)
}
