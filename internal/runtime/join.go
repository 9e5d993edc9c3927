package runtime

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// JoinOptions says what to run in a container, and with which streams.
type JoinOptions struct {
	// Process makes the process from the container's own, a copy that is its to change. It may return another. pid is the container's first process.
	Process func(container *specs.Process, pid int) (*specs.Process, error)
	Stdio   [3]int                 // without a terminal: its standard streams, which stay the caller's
	Console func(master int) error // with a terminal: takes the other end
}

// A Joined is a process that was started in a container, a child of this one.
type Joined struct {
	PID       int
	StartTime uint64 // with the pid, what names it for good (pidfd.OpenVerified)
	child     *launch.Child
}

// Join runs a process in a container as Exec does, and returns when its program runs: the caller carries its streams and waits for its end. Nothing of the caller's own is
// lent to it, so that many can be started at once.
func (r *Runtime) Join(ctx context.Context, id string, o *JoinOptions) (*Joined, error) {
	c, err := r.lock(ctx, id, atomicfile.Shared)
	if err != nil {
		return nil, err
	}
	defer c.close()
	init, err := c.execTarget(false)
	if err != nil {
		return nil, err
	}
	defer init.Close()
	spec, err := c.dir.Config()
	if err != nil {
		return nil, err
	}
	if c.rec.AppArmor != "" {
		spec.Process.ApparmorProfile = c.rec.AppArmor
	}
	e := &ExecOptions{Detach: true, Process: func(own *specs.Process) (*specs.Process, error) { return o.Process(own, c.rec.Init.PID) }}
	p, err := e.process(spec, c.rec.Init.PID)
	if err != nil {
		return nil, err
	}
	j := &joining{ExecOptions: e, c: c, init: init, spec: spec, process: p}
	switch {
	case !p.Terminal:
		j.stdio = &o.Stdio
	case o.Console == nil:
		return nil, errdef.Errorf(errdef.Invalid, "process.terminal: nobody takes the terminal")
	default:
		j.take = o.Console
	}
	child, err := j.start(ctx)
	if err != nil {
		return nil, err
	}
	who, err := state.Identify(child.PID)
	if err != nil {
		child.Kill()
		return nil, err
	}
	return &Joined{child.PID, who.StartTime, child}, nil
}

// Wait returns the exit status of the process, 128 and the signal's number if a signal ended it, and gives everything back. It must be called.
func (j *Joined) Wait() (int, error) {
	defer j.child.Close()
	status, err := j.child.Wait()
	if err != nil {
		return -1, err
	}
	return exitStatus(status), nil
}
