package runtime

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// freezeTimeout bounds how long a freezing cgroup is waited for: a process in an uninterruptible sleep cannot be frozen.
const freezeTimeout = endTimeout

// Pause freezes all processes of a container. It and Resume share the lock with an Exec that waits for the container to be resumed
// (AllowPaused); two of them at once are as good as one after the other.
func (r *Runtime) Pause(ctx context.Context, id string) error {
	c, err := r.lock(ctx, id, atomicfile.Shared)
	if err != nil {
		return err
	}
	defer c.close()
	status, err := c.status()
	if err != nil {
		return err
	}
	if status != specs.StateRunning && status != specs.StateCreated {
		return c.notRunning("pause")
	}
	g, err := c.needCgroup()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	return g.Freeze(ctx)
}

// Resume lets a paused container go on.
func (r *Runtime) Resume(ctx context.Context, id string) error {
	c, err := r.lock(ctx, id, atomicfile.Shared)
	if err != nil {
		return err
	}
	defer c.close()
	status, err := c.status()
	if err != nil {
		return err
	}
	if status != Paused {
		return errdef.Errorf(errdef.Conflict, "resume container %q: container not paused", id)
	}
	g, err := c.needCgroup()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	return g.Thaw(ctx)
}

// PIDs returns the processes of a container, in the pid namespace of the caller.
func (r *Runtime) PIDs(id string) ([]int, error) {
	c, err := r.look(id)
	if err != nil {
		return nil, err
	}
	defer c.close()
	g, err := c.needCgroup()
	if err != nil {
		return nil, err
	}
	pids, err := g.PIDs(true)
	if err != nil && !c.rec.Init.Alive() { // the cgroup is gone with it
		return nil, nil
	}
	return pids, err
}
