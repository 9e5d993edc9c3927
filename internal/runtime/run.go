package runtime

import (
	"context"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"golang.org/x/sys/unix"
)

// RunOptions says what to run. The zero value waits for the end of the container and deletes it.
type RunOptions struct {
	CreateOptions
	Detach      bool // return when the program runs
	Keep        bool // do not delete the container when it has ended
	NoSubreaper bool // leave the container's orphans to the caller's init
}

// Run creates and starts a container. In the foreground it returns the program's exit status, 128 and the signal's number if a signal ended
// it; detached, 0.
func (r *Runtime) Run(ctx context.Context, id string, o *RunOptions) (int, error) {
	if o.Detach {
		return 0, r.runDetached(ctx, id, o)
	}
	if !o.NoSubreaper {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			r.warn(errdef.Errorf(errdef.Internal, "prctl PR_SET_CHILD_SUBREAPER: %w", err))
		}
	}
	b, err := r.load(o.Bundle)
	if err != nil {
		return -1, err
	}
	f, err := r.newForeground(b.Spec.Process.Terminal, b.Spec)
	if err != nil {
		return -1, err
	}
	defer f.close()
	n := &creation{CreateOptions: o.CreateOptions, bundle: b, run: true, front: f}
	stopWatch := func() {}
	if b.Spec.Hooks != nil {
		ctx, stopWatch = f.watch(ctx) // a hook may hang
	}
	c, child, err := r.create(ctx, id, n)
	stopWatch()
	if err != nil {
		return -1, err
	}
	defer child.Close()
	defer n.forgetOOM()
	status, err := n.attend(ctx, child, !o.NoSubreaper)
	if err != nil {
		child.Kill()
	}
	r.warn(n.outOfMemory())
	if o.Keep && err == nil {
		n.notify.close()
		c.close()
		return status, nil
	}
	return status, r.finishRun(c, n, err)
}

// attend waits for the end of a container in the foreground.
func (n *creation) attend(ctx context.Context, child *launch.Child, reap bool) (int, error) {
	if err := n.front.started(); err != nil {
		return -1, err
	}
	n.c.dir.Unlock()
	if err := n.c.started(ctx); err != nil {
		return -1, err
	}
	var forwarding sync.WaitGroup
	defer forwarding.Wait()
	if n.notify != nil {
		forwarding.Go(func() { n.c.warn(n.notify.forward(ctx, n.c.rec.Init)) }) // ends with the container
	}
	return n.front.wait(child, reap)
}

// finishRun deletes a container that has run in the foreground. Somebody else may have done that already.
func (r *Runtime) finishRun(c *container, n *creation, err error) error {
	n.notify.close()
	defer c.close()
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout+time.Second)
	defer cancel()
	lockErr := c.dir.Relock(ctx, atomicfile.Exclusive)
	if errdef.Is(lockErr, errdef.NotFound) {
		return err
	}
	if lockErr == nil {
		lockErr = c.destroy(ctx)
	}
	if err == nil {
		return lockErr
	}
	r.warn(lockErr)
	return err
}

func (r *Runtime) runDetached(ctx context.Context, id string, o *RunOptions) error {
	n := &creation{CreateOptions: o.CreateOptions, run: true, detached: true}
	c, child, err := r.create(ctx, id, n)
	if err != nil {
		return err
	}
	defer child.Close()
	defer c.close()
	defer n.notify.close()
	c.dir.Unlock()
	if err := c.started(ctx); err != nil {
		return r.finishRun(c, n, err)
	}
	return n.notify.forward(ctx, c.rec.Init)
}
