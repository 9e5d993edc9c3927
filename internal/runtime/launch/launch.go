package launch

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/forkexec"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Options says what to create.
type Options struct {
	ID     string
	Bundle string // absolute
	Dir    string // the container's state directory; the FIFOs are made there
	Spec   *specs.Spec

	Run         bool // execute the program at once instead of waiting for Start
	NoPivot     bool
	NoKeyring   bool
	PreserveFDs int

	Console      func(master int) error // gets the pty's master when process.terminal is set; owns it
	Group        *cgroup.Group          // made by the caller, limits set; nil: the caller's own cgroup
	OnCreated    func(pid int) error    // the process is in its namespaces and cgroup, its root not built yet
	State        func(status string, pid int) []byte
	SeccompCache string // directory of compiled filters, "" for none
	Interrupt    *Interrupt
	Birth        *forkexec.Birth // the child, if Begin was called already
	Draft        *Draft          // the plan, if Compile was called already with the same ID, Bundle, Spec, flags and Group
}

// An Interrupt ends a Create that waits for its child.
type Interrupt struct {
	FD   int          // becomes readable when there is something to look at
	Stop func() error // looks; an error is the end, and Create returns it
}

// A Child is a started process, a child of the caller.
type Child struct {
	PID   int
	PIDFD int
	p     *forkexec.Process
}

// Wait waits for the end of the process and reaps it.
func (c *Child) Wait() (unix.WaitStatus, error) { return c.p.Wait() }

// Kill ends the process, reaps it and closes the descriptors.
func (c *Child) Kill() { c.p.Kill() }

// Close closes the descriptors; the process goes on.
func (c *Child) Close() { c.p.Close() }

// A run is one child on its way.
type run struct {
	p     *forkexec.Process
	files *files
	plan  *plan.Plan
	o     *Options
	copy  [2]int // tmpcopyup: from, to
}

// Create makes the container and returns when it waits for Start or, with Run, when its program runs. On an error nothing is left of the
// process; the cgroup and the state directory are the caller's to remove.
func Create(ctx context.Context, o *Options) (*Child, error) {
	birth, err := o.begin()
	if err != nil {
		return nil, err
	}
	r, err := o.prepare()
	if err != nil {
		birth.Abort()
		return nil, err
	}
	defer r.files.close()
	cmd := &forkexec.Command{Ops: r.plan.Ops, Mems: r.plan.Mems, Files: r.files.numbers}
	if !r.plan.Hooks {
		cmd.Born = o.OnCreated // its pid stays what it is, and nothing of the container has happened yet
	}
	if r.p, err = birth.Run(cmd); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = unix.PidfdSendSignal(r.p.PIDFD, unix.SIGKILL, nil, 0) })
	defer stop()
	for err == nil {
		var done bool
		if done, err = r.step(ctx); done && err == nil {
			r.p.Detach()
			return &Child{PID: r.p.PID, PIDFD: r.p.PIDFD, p: r.p}, nil
		}
	}
	r.p.Kill()
	if ctx.Err() != nil {
		return nil, errdef.Errorf(errdef.Timeout, "create container: %w", ctx.Err())
	}
	return nil, translate(err, o.Spec.Process)
}

// begin lets the kernel start to make the child. Where it is to be born in a cgroup v2, that is made already.
func (o *Options) begin() (*forkexec.Birth, error) {
	if o.Birth != nil {
		return o.Birth, nil
	}
	dir := -1
	if o.Group != nil {
		var err error
		if dir, err = o.Group.DirFD(); err != nil {
			return nil, err
		}
	}
	return Begin(o.Spec, o.PreserveFDs, dir)
}

// Begin starts to make the child of a new container, while the caller does something else: Options.Birth takes it, or its Abort must be
// called. cgroup is the directory of a cgroup v2 to be born in, which Begin takes over, -1 for none.
func Begin(spec *specs.Spec, preserveFDs, cgroup int) (*forkexec.Birth, error) {
	openFiles()
	return forkexec.Begin(plan.CloneFlags(spec), cgroup, 3+preserveFDs, plan.HighFD(preserveFDs))
}

// prepare compiles the plan and opens its descriptors.
func (o *Options) prepare() (*run, error) {
	draft := o.Draft
	if draft == nil {
		draft = Compile(o)
	}
	<-draft.done
	p, err := draft.plan, draft.err
	if err != nil {
		return nil, err
	}
	if !o.Run {
		if err := makeFIFOs(o.Dir); err != nil {
			return nil, err
		}
	}
	f := &files{spec: o.Spec, dir: o.Dir, group: o.Group, numbers: map[string]int{}}
	if err := f.open(p.Files); err != nil {
		f.close()
		return nil, err
	}
	return &run{files: f, plan: p, o: o, copy: [2]int{-1, -1}}, nil
}

// step answers the child's next event. done is true when the container is created, or its program runs.
func (r *run) step(ctx context.Context) (done bool, err error) {
	if err := r.o.Interrupt.wait(r.p.FD()); err != nil {
		return false, err
	}
	ev, err := r.p.Next()
	if err != nil {
		return false, err
	}
	switch ev.Kind {
	case forkexec.Executed:
		if !r.o.Run {
			return false, r.ended()
		}
		return true, nil
	case op.MsgFD:
		return false, r.descriptor(ev)
	case op.MsgFetch:
		return false, r.listener(ev.FD)
	}
	switch ev.Number {
	case plan.BarrierMap:
		err = writeMaps(r.p.PID, r.o.Spec)
	case plan.BarrierCgroup:
		err = r.o.Group.AddProcess(r.p.PID, "")
	case plan.BarrierHooks:
		err = r.prepared(ctx)
	case plan.BarrierPivot:
		err = RunHooks(ctx, "createContainer", r.o.Spec.Hooks.CreateContainer, r.o.State("creating", r.p.PID), r.p.PIDFD)
	case plan.BarrierCopyUp:
		err = copyUp(r.copy[0], r.copy[1])
		r.copy = [2]int{-1, -1}
	case plan.BarrierTTY: // done when the descriptor came
	case plan.BarrierReady:
		if err = r.ready(); err != nil {
			return false, err
		}
		return true, r.p.Continue()
	default:
		err = errdef.Errorf(errdef.Internal, "the container's process waits at barrier %d, which nobody knows", ev.Number)
	}
	if err != nil {
		return false, err
	}
	if err = r.p.Continue(); errors.Is(err, unix.EPIPE) {
		err = r.ended()
	}
	return false, err
}

// wait returns when the child has said something, or with the error of the interrupt.
func (i *Interrupt) wait(child int) error {
	if i == nil {
		return nil
	}
	fds := []unix.PollFd{{Fd: int32(child), Events: unix.POLLIN}, {Fd: int32(i.FD), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return wrap("poll", err)
		}
		if fds[1].Revents != 0 {
			if err := i.Stop(); err != nil {
				return err
			}
		}
		if fds[0].Revents != 0 {
			return nil
		}
	}
}

// ended says how a process ended that should wait for start by now.
func (r *run) ended() error {
	how := "without a word"
	if ws, err := r.p.Wait(); err == nil && ws.Signaled() {
		how = "by signal " + ws.Signal().String()
	}
	return errdef.WithHint(errdef.Errorf(errdef.Unavailable, "the container's process ended %s before it was created", how),
		"linux.resources.memory.limit may be too low to make the container")
}

// prepared does what belongs to the time when the namespaces exist and the root does not.
func (r *run) prepared(ctx context.Context) error {
	if r.o.OnCreated != nil {
		if err := r.o.OnCreated(r.p.PID); err != nil {
			return err
		}
	}
	return moveNetDevices(r.o.Spec, r.p.PID)
}

// ready fills the standard input of the startContainer hooks and notes the steps that are left, for Start to name.
func (r *run) ready() error {
	state := r.o.State
	if state != nil {
		if err := r.files.fillHooks(state("created", r.p.PID)); err != nil {
			return err
		}
	}
	return saveSteps(r.o.Dir, r.plan.Ops, r.p.Before())
}

func (r *run) descriptor(ev forkexec.Event) error {
	if ev.FD < 0 {
		return errdef.Errorf(errdef.Internal, "the container's process announced a descriptor and sent none")
	}
	switch ev.Number {
	case plan.FDConsole:
		if r.o.Console == nil {
			unix.Close(ev.FD)
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "process.terminal: nobody takes the terminal"), "give --console-socket, or run in the foreground")
		}
		return r.o.Console(ev.FD)
	case plan.FDCopyFrom:
		r.copy[0] = ev.FD
		return nil
	case plan.FDCopyTo:
		r.copy[1] = ev.FD
		return nil
	}
	unix.Close(ev.FD)
	return errdef.Errorf(errdef.Internal, "the container's process sent descriptor %d, which nobody knows", ev.Number)
}

// translate gives the errors of missing and forbidden programs the words that Docker, containerd and CRI-O look for.
func translate(err error, p *specs.Process) error {
	var step *forkexec.StepError
	if !errors.As(err, &step) || p == nil || len(p.Args) == 0 {
		return err
	}
	name := strconv.Quote(p.Args[0])
	if strings.HasPrefix(step.Op.Why, "startContainer hook") {
		return err
	}
	isProgram := step.Op.Call == "execve" || step.Op.Call == "faccessat2" || step.Op.Call == "check" && (step.Errno == unix.ENOENT || step.Errno == unix.EISDIR)
	if !isProgram {
		return err
	}
	kind, text := errdef.Denied, "exec: "+name+": "+step.Errno.Error()
	if step.Errno == unix.ENOENT {
		kind = errdef.NotFound
		text = "exec: " + name + ": stat " + p.Args[0] + ": no such file or directory"
		if step.Op.Call == "check" {
			text = "exec: " + name + ": executable file not found in $PATH"
		}
	}
	return errdef.WithHint(errdef.Errorf(kind, "%s (step %d %s)", text, step.Step, step.Op.Call), step.Op.Hint)
}
