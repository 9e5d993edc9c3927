package launch

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/forkexec"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// schedule gives the joining process its scheduler.
func (o *ExecOptions) schedule(pid int) error {
	attr, err := plan.Scheduling(o.Process.Scheduler)
	if err != nil {
		return err
	}
	if err := unix.SchedSetAttr(pid, attr, 0); err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "process.scheduler: sched_setattr: %w", err), plan.SchedulingHint)
	}
	return nil
}

// ExecOptions says what to run in which container.
type ExecOptions struct {
	ID      string
	PID     int            // the container's first process
	PIDFD   int            // its pidfd, verified by the caller not to be a reused pid; stays the caller's
	Spec    *specs.Spec    // the container's
	Process *specs.Process // what to run

	PreserveFDs  int
	Stdio        *[3]int // its standard streams, which stay the caller's; nil: the caller's own
	Console      func(master int) error
	Group        *cgroup.Group // the container's cgroup, or the sub-cgroup to run in
	State        func(status string, pid int) []byte
	SeccompCache string
}

// Exec runs a process in a running container and returns when its program runs.
func Exec(ctx context.Context, o *ExecOptions) (*Child, error) {
	dir := -1
	if o.Group != nil {
		var err error
		if dir, err = o.Group.DirFD(); err != nil {
			return nil, err
		}
	}
	openFiles()
	birth, err := forkexec.Begin(0, dir, 3+o.PreserveFDs, plan.HighFD(o.PreserveFDs))
	if err != nil {
		return nil, err
	}
	p, err := compileExec(o)
	f := &files{spec: o.Spec, group: o.Group, initPidfd: o.PIDFD, initPID: o.PID, stdio: o.Stdio, numbers: map[string]int{}}
	defer f.close()
	if err == nil {
		err = f.open(p.Files)
	}
	if err != nil {
		birth.Abort()
		return nil, err
	}
	child, err := birth.Run(&forkexec.Command{Ops: p.Ops, Mems: p.Mems, Files: f.numbers})
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = unix.PidfdSendSignal(child.PIDFD, unix.SIGKILL, nil, 0) })
	defer stop()
	for {
		done, err := o.step(child, f)
		if err != nil {
			child.Kill()
			return nil, translate(err, o.Process)
		}
		if done {
			child.Detach()
			return &Child{PID: child.PID, PIDFD: child.PIDFD, p: child}, nil
		}
	}
}

func (o *ExecOptions) step(child *forkexec.Process, f *files) (done bool, err error) {
	ev, err := child.Next()
	switch {
	case err != nil:
		return false, err
	case ev.Kind == forkexec.Executed:
		return true, nil
	case ev.Kind == op.MsgBarrier && ev.Number == plan.BarrierCgroup:
		if err := o.Group.AddProcess(child.PID, ""); err != nil {
			return false, err
		}
		return false, child.Continue()
	case ev.Kind == op.MsgBarrier && ev.Number == plan.BarrierSched:
		if err := o.schedule(child.PID); err != nil {
			return false, err
		}
		return false, child.Continue()
	case ev.Kind == op.MsgFD && ev.Number == plan.FDConsole:
		if o.Console == nil {
			unix.Close(ev.FD)
			return false, errdef.WithHint(errdef.Errorf(errdef.Invalid, "process.terminal: nobody takes the terminal"), "give --console-socket, or run in the foreground")
		}
		return false, o.Console(ev.FD)
	case ev.Kind == op.MsgBarrier && ev.Number == plan.BarrierTTY:
		return false, child.Continue()
	case ev.Kind == op.MsgFetch:
		l := &listener{spec: o.Spec, id: o.ID, pid: child.PID, pidfd: child.PIDFD, flag: f.flag}
		l.state = func(string, int) []byte { return o.State("running", o.PID) } // the container's: the new process has its own pid beside it
		return false, l.serve(ev.FD, child)
	}
	return false, errdef.Errorf(errdef.Internal, "the joining process sent a message of kind %d, number %d, which nobody knows", ev.Kind, ev.Number)
}
