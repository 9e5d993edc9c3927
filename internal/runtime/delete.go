package runtime

import (
	"context"
	"errors"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/apparmor"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Delete removes a container that has stopped, or was created and never started. With force it kills one that runs, and a container that
// does not exist is no error.
func (r *Runtime) Delete(ctx context.Context, id string, force bool) error {
	c, err := r.lockForDelete(ctx, id, force)
	if errdef.Is(err, errdef.NotFound) && force {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.close()
	if !force {
		status, err := c.status()
		if err != nil {
			return err
		}
		// We hold the lock, so nothing is being created: that phase is a stopped container here.
		if status != specs.StateStopped && status != specs.StateCreated {
			err := errdef.Errorf(errdef.Conflict, "delete container %q: cannot delete container that is not stopped: %s", id, status)
			return errdef.WithHint(err, "kill it first, or use --force")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	return c.destroy(ctx)
}

// lockForDelete takes the lock. If somebody has it, and force is given, the processes are killed first: a create, start or exec that hangs
// then fails and gives the lock up.
func (r *Runtime) lockForDelete(ctx context.Context, id string, force bool) (*container, error) {
	if force {
		c, err := r.look(id)
		if err == nil {
			if c.dir.Busy() {
				c.kill(ctx)
			}
			c.close()
		}
	}
	c, err := r.lock(ctx, id, atomicfile.Exclusive)
	if !errdef.Is(err, errdef.NotFound) {
		return c, err
	}
	return nil, r.sweep(id, err)
}

// sweep removes a directory without a record, which a create or delete leaves that is killed at the wrong instant. It returns err.
func (r *Runtime) sweep(id string, err error) error {
	store, serr := state.Open(r.Root, false)
	if serr != nil {
		return err
	}
	defer store.Close()
	dir, derr := store.Dir(id)
	if derr != nil {
		return err
	}
	defer dir.Close()
	if ok, lerr := atomicfile.TryFlock(dir.FD(), atomicfile.Exclusive); !ok || lerr != nil {
		return err
	}
	if _, lerr := dir.Load(); errdef.Is(lerr, errdef.NotFound) {
		r.warn(dir.Remove())
	}
	return err
}

// kill sends SIGKILL to everything that belongs to the container, and waits for nothing.
func (c *container) kill(ctx context.Context) {
	if p, err := c.rec.Init.Open(); err == nil {
		_ = p.Signal(unix.SIGKILL)
		_ = p.Close()
	}
	if g, err := c.cgroup(); err == nil && g != nil && c.rec.CgroupMade {
		ctx, cancel := context.WithTimeout(ctx, endTimeout)
		defer cancel()
		c.warn(g.Kill(ctx))
	}
}

// destroy ends what still runs and takes everything away that the record names, the record last. It may be repeated.
func (c *container) destroy(ctx context.Context) error {
	if err := c.end(ctx); err != nil {
		return err
	}
	if c.rec.AppArmor != "" {
		if err := apparmor.Release(c.rec.AppArmor, c.dir.Path, !c.rec.OwnPIDs); err != nil {
			return err
		}
	}
	if err := removeRDT(c.rec.RDT); err != nil {
		return err
	}
	if h := c.rec.Hooks; h != nil && len(h.Poststop) > 0 {
		launch.RunEachHook(ctx, "poststop", h.Poststop, c.document(specs.StateStopped, 0), c.warn)
	}
	return c.dir.Remove()
}

// end makes sure that no process of the container is left, and removes its cgroup.
func (c *container) end(ctx context.Context) error {
	g, err := c.cgroup()
	if err != nil {
		return err
	}
	init, err := c.rec.Init.Open()
	if err == nil {
		defer init.Close()
		_ = init.Signal(unix.SIGKILL)
	}
	running := err == nil
	// The end of a pid namespace's first process is that of all. Without one, or with a frozen cgroup, the cgroup says who they are.
	// Without a pid on record the create was killed before it could write it.
	if g != nil && c.rec.CgroupMade && (running || !c.rec.OwnPIDs || c.rec.Init.PID == 0) {
		if err := g.Kill(ctx); err != nil && !c.rec.Rootless {
			return err
		}
	}
	if running {
		if err := init.Await(ctx); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "end container %q: process %d was killed and is still there: %w", c.rec.ID, c.rec.Init.PID, err)
		}
	}
	if g == nil {
		return nil
	}
	err = g.Delete(ctx)
	if err != nil && !c.rec.CgroupMade { // it may be somebody else's, with processes
		c.warn(err)
		return nil
	}
	if errors.Is(err, unix.EBUSY) && c.rec.CgroupMade { // processes that came from outside, by exec without the pid namespace or by hand
		if err = g.Kill(ctx); err == nil {
			err = g.Delete(ctx)
		}
	}
	return err
}
