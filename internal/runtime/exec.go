package runtime

import (
	"context"
	"errors"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/pidfd"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ExecOptions says what to run in a container.
type ExecOptions struct {
	// Process makes the process from the container's own, a copy that is its to change. It may return another.
	Process       func(container *specs.Process) (*specs.Process, error)
	ConsoleSocket string
	PidfdSocket   string
	PIDFile       string
	Detach        bool     // return when the program runs
	PreserveFDs   int      // descriptors from 3 on that the process inherits
	Cgroups       []string // sub-cgroups to run in: [CONTROLLER[,CONTROLLER...]:]PATH below the container's own
	AllowPaused   bool     // start a process that will not run before the container is resumed
}

// Exec runs a process in a container. In the foreground it returns the process's exit status, 128 and the signal's number if a signal
// ended it; detached, 0.
func (r *Runtime) Exec(ctx context.Context, id string, o *ExecOptions) (int, error) {
	c, err := r.lock(ctx, id, atomicfile.Shared)
	if err != nil {
		return -1, err
	}
	defer c.close()
	init, err := c.execTarget(o.AllowPaused)
	if err != nil {
		return -1, err
	}
	defer init.Close()
	spec, err := c.dir.Config()
	if err != nil {
		return -1, err
	}
	if c.rec.AppArmor != "" {
		spec.Process.ApparmorProfile = c.rec.AppArmor
	}
	p, err := o.process(spec, c.rec.Init.PID)
	if err != nil {
		return -1, err
	}
	if err := checkTerminal(p.Terminal, o.Detach, o.ConsoleSocket); err != nil {
		return -1, err
	}
	if err := checkPreserved(o.PreserveFDs); err != nil {
		return -1, err
	}
	j := &joining{ExecOptions: o, c: c, init: init, spec: spec, process: p}
	if o.Detach {
		child, err := j.start(ctx)
		if err != nil {
			return -1, err
		}
		child.Close()
		return 0, nil
	}
	if j.front, err = r.newForeground(p.Terminal, spec); err != nil {
		return -1, err
	}
	defer j.front.close()
	child, err := j.start(ctx)
	if err != nil {
		return -1, err
	}
	defer child.Close()
	c.dir.Unlock()
	if err := j.front.started(); err != nil {
		child.Kill()
		return -1, err
	}
	return j.front.wait(child, false)
}

// execTarget makes sure that the container can be joined and returns its first process.
func (c *container) execTarget(allowPaused bool) (pidfd.Process, error) {
	status, err := c.status()
	if err != nil {
		return pidfd.Process{}, err
	}
	switch {
	case status == specs.StateStopped:
		return pidfd.Process{}, errdef.Errorf(errdef.Conflict, "exec in container %q: cannot exec in a stopped container", c.rec.ID)
	case status == Paused && !allowPaused:
		err := errdef.Errorf(errdef.Conflict, "exec in container %q: cannot exec in a paused container (use --ignore-paused to override)", c.rec.ID)
		return pidfd.Process{}, err
	}
	p, err := c.rec.Init.Open()
	if errdef.Is(err, errdef.NotFound) {
		return p, errdef.Errorf(errdef.Conflict, "exec in container %q: cannot exec in a stopped container", c.rec.ID)
	}
	return p, err
}

// process returns the process to run. What it leaves open is as it is for the container's own process, as with runc.
func (o *ExecOptions) process(spec *specs.Spec, pid int) (*specs.Process, error) {
	own := *spec.Process
	own.Env, own.Terminal, own.ConsoleSize = slices.Clip(own.Env), false, nil
	p, err := o.Process(&own)
	if err != nil {
		return nil, err
	}
	q, base := *p, spec.Process
	if q.Capabilities == nil {
		q.Capabilities = base.Capabilities
	}
	if q.ApparmorProfile == "" {
		q.ApparmorProfile = base.ApparmorProfile
	}
	if q.SelinuxLabel == "" {
		q.SelinuxLabel = base.SelinuxLabel
	}
	if len(q.Rlimits) == 0 {
		q.Rlimits = base.Rlimits
	}
	if q.IOPriority == nil {
		q.IOPriority = base.IOPriority
	}
	if q.Scheduler == nil {
		q.Scheduler = base.Scheduler
	}
	if q.ExecCPUAffinity == nil {
		q.ExecCPUAffinity = base.ExecCPUAffinity
	}
	if q.OOMScoreAdj == nil {
		q.OOMScoreAdj = base.OOMScoreAdj
	}
	if err := bundle.ValidateProcess(&q); err != nil {
		return nil, err
	}
	q.Env = completeEnv(q.Env, func() string { return homeOfProcess(pid, q.User.UID) })
	return &q, nil
}

// A joining is an exec on its way.
type joining struct {
	*ExecOptions
	c       *container
	init    pidfd.Process
	spec    *specs.Spec
	process *specs.Process
	front   *foreground // nil: detached
	stdio   *[3]int     // the process's standard streams; nil: the caller's
	take    func(master int) error
}

// start starts the process and tells the caller of it.
func (j *joining) start(ctx context.Context) (*launch.Child, error) {
	console, closeConsole, err := j.console()
	if err != nil {
		return nil, err
	}
	defer closeConsole()
	pidfdSocket := -1
	if j.PidfdSocket != "" {
		if pidfdSocket, err = dial(j.PidfdSocket); err != nil {
			return nil, err
		}
		defer unix.Close(pidfdSocket)
	}
	group, err := j.group()
	if err != nil {
		return nil, err
	}
	if group != nil {
		defer group.Close()
	}
	child, err := j.launch(ctx, group, console)
	if errors.Is(err, unix.EBUSY) {
		if g := j.initGroup(); g != nil {
			child, err = j.launch(ctx, g, console)
			_ = g.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	if pidfdSocket >= 0 {
		err = sendFD(pidfdSocket, child.PIDFD, joinedPidfd)
	}
	if err == nil {
		err = writePIDFile(j.PIDFile, child.PID)
	}
	if err != nil {
		child.Kill()
		return nil, err
	}
	return child, nil
}

func (j *joining) launch(ctx context.Context, group *cgroup.Group, console func(int) error) (*launch.Child, error) {
	if j.front != nil {
		if err := j.front.lend(); err != nil {
			return nil, err
		}
		defer j.front.takeBack()
	}
	c := j.c
	return launch.Exec(ctx, &launch.ExecOptions{
		ID: c.rec.ID, PID: c.rec.Init.PID, PIDFD: j.init.FD(), Spec: j.spec, Process: j.process, PreserveFDs: j.PreserveFDs, Stdio: j.stdio, Console: console,
		Group: group, SeccompCache: c.SeccompCache,
		State: func(status string, pid int) []byte { return c.document(specs.ContainerState(status), pid) },
	})
}

// console returns who takes the terminal.
func (j *joining) console() (take func(master int) error, done func(), err error) {
	switch {
	case j.ConsoleSocket != "":
		socket, err := dial(j.ConsoleSocket)
		if err != nil {
			return nil, nil, err
		}
		take = func(master int) error {
			defer unix.Close(master)
			return sendFD(socket, master, masterName)
		}
		return take, func() { unix.Close(socket) }, nil
	case j.take != nil:
		return j.take, func() {}, nil
	case j.front != nil:
		return j.front.console, func() {}, nil
	}
	return nil, func() {}, nil
}
