package runtime

import (
	"context"
	"math"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
)

// An oomMemory remembers what the kernel counted of a cgroup that is gone as soon as its last process is: systemd removes a scope.
type oomMemory struct {
	cancel context.CancelFunc
	kills  <-chan cgroup.OOM
	last   cgroup.OOM
	done   chan struct{}
}

// rememberOOM begins to watch, where somebody waits for the container and its cgroup may be gone by then.
func (n *creation) rememberOOM() {
	if n.front == nil || !n.c.Systemd {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	kills, wait := n.c.watchOOM(ctx, n.group)
	m := &oomMemory{cancel: cancel, kills: kills, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for o := range kills {
			m.last = o
		}
		wait()
	}()
	n.oom = m
}

// forgetOOM ends the watch.
func (n *creation) forgetOOM() {
	if n.oom != nil {
		n.oom.cancel()
		<-n.oom.done
	}
}

// outOfMemory tells, as an error, which processes of the container the kernel has killed for want of memory; nil if none.
func (n *creation) outOfMemory() error {
	if n.group == nil {
		return nil
	}
	o, err := n.group.OOM()
	if err != nil {
		n.c.warn(err)
		return nil
	}
	if n.oom != nil && (o.Kills == 0 || o.Limit == math.MaxUint64) { // the cgroup went while it was read
		n.forgetOOM()
		if last := n.oom.last; last.Kills >= o.Kills {
			o = last
		}
	}
	if o.Kills == 0 {
		return nil
	}
	return errdef.Errorf(errdef.Conflict, "container %q: %v", n.c.rec.ID, o)
}

// explained adds to the error of a container that did not come to be that there was no memory for it.
func (n *creation) explained(err error) error {
	oom := n.outOfMemory()
	if oom == nil {
		return err
	}
	return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%w: %w", oom, err), "raise linux.resources.memory.limit")
}

// oomKilled reports whether some process of the container was. A cgroup that is gone counts none.
func (c *container) oomKilled() (bool, error) {
	g, err := c.cgroup()
	if g == nil || err != nil {
		return false, err
	}
	o, err := g.OOM()
	if errdef.Is(err, errdef.Denied) { // of somebody else's container only the kernel's own files may be read
		return false, nil
	}
	return o.Kills > 0, err
}
