package runtime

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Start lets a created container run its program, and returns when it does. With a notifySocket it then waits for the container to say that
// it is ready, and passes that on.
func (r *Runtime) Start(ctx context.Context, id, notifySocket string) error {
	c, err := r.lock(ctx, id, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer c.close()
	status, err := c.status()
	if err != nil {
		return err
	}
	switch status {
	case specs.StateCreated:
	case specs.StateStopped:
		return errdef.Errorf(errdef.Conflict, "start container %q: cannot start a container that has stopped", id)
	case specs.StateRunning:
		return errdef.Errorf(errdef.Conflict, "start container %q: cannot start an already running container", id)
	default:
		return errdef.Errorf(errdef.Conflict, "start container %q: cannot start a container in the %s state", id, status)
	}
	n, err := bindNotify(c.dir, notifySocket)
	if err != nil {
		return err
	}
	defer n.close()
	if err := launch.Start(ctx, c.dir.Path); err != nil {
		return err
	}
	c.dir.Unlock() // a hook may call us again, and waiting for readiness may take long
	if err := c.started(ctx); err != nil {
		return err
	}
	return n.forward(ctx, c.rec.Init)
}

// started runs the poststart hooks. If one fails the container is stopped: runtime.md, Lifecycle, step 9.
func (c *container) started(ctx context.Context) error {
	h := c.rec.Hooks
	if h == nil || len(h.Poststart) == 0 {
		return nil
	}
	err := launch.RunHooks(ctx, "poststart", h.Poststart, c.document(specs.StateRunning, c.rec.Init.PID), -1)
	if err == nil {
		return nil
	}
	if p, perr := c.rec.Init.Open(); perr == nil {
		defer p.Close()
		_ = p.Signal(unix.SIGKILL)
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		c.warn(p.Await(ctx))
	}
	return err
}
