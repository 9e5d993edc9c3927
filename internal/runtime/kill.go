package runtime

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	"golang.org/x/sys/unix"
)

// Kill sends a signal to the container's first process; SIGKILL ends the whole container. One that does not run is of kind Conflict.
// It takes no lock, so that a container whose create hangs can be killed.
//
// A container that waits to be started blocks signals, which its program shall not find pending, and has no handlers, without which the first
// process of a pid namespace would lose them (pid_namespaces(7)). One whose default action ends a process therefore becomes SIGKILL there, so that
// SIGTERM ends a created container, as it does runc's. If it is started at this very instant its program gets that signal; others stay blocked
// until the program runs.
func (r *Runtime) Kill(ctx context.Context, id string, sig unix.Signal) error {
	c, err := r.look(id)
	if err != nil {
		return err
	}
	defer c.close()
	p, err := c.rec.Init.Open()
	running := err == nil
	if running {
		defer p.Close()
	} else if !errdef.Is(err, errdef.NotFound) {
		return err
	}
	if sig == unix.SIGKILL && !c.rec.OwnPIDs && c.rec.CgroupMade {
		return c.killAll(ctx, running)
	}
	if !running {
		return c.notRunning("kill")
	}
	deliver := sig
	if deadly(sig) && c.rec.Phase == state.Complete && launch.Waiting(c.dir.Path, c.rec.Init.PID) {
		deliver = unix.SIGKILL
	}
	if err := p.Signal(deliver); errdef.Is(err, errdef.NotFound) {
		return c.notRunning("kill")
	} else if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "kill container %q: %w", id, err)
	}
	if sig == unix.SIGKILL {
		c.thaw(ctx)
	}
	return nil
}

// killAll ends a container whose processes share somebody else's pid namespace, so that the end of the first is not that of the others.
func (c *container) killAll(ctx context.Context, running bool) error {
	g, err := c.needCgroup()
	if err != nil {
		return err
	}
	if !running {
		pids, err := g.PIDs(true)
		if err != nil || len(pids) == 0 {
			return c.notRunning("kill")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	return g.Kill(ctx)
}

// thaw lets a frozen container die: in cgroup v1 the signal waits for that (freezer-subsystem.rst).
func (c *container) thaw(ctx context.Context) {
	frozen, err := c.frozen()
	if err != nil || !frozen {
		return
	}
	if g, err := c.cgroup(); err == nil && g != nil {
		ctx, cancel := context.WithTimeout(ctx, endTimeout)
		defer cancel()
		c.warn(g.Thaw(ctx))
	}
}
