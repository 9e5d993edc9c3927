package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/state"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Stats returns one event with what the container uses, as a JSON object: runc's.
func (r *Runtime) Stats(id string) ([]byte, error) {
	c, g, err := r.measured(id)
	if err != nil {
		return nil, err
	}
	defer c.close()
	return c.statsEvent(g)
}

// Events calls emit with an event each interval, and when a process is killed for want of memory, until the container or ctx ends. Emit
// is not called again after it has failed.
func (r *Runtime) Events(ctx context.Context, id string, interval time.Duration, emit func(event []byte) error) error {
	c, g, err := r.measured(id)
	if err != nil {
		return err
	}
	defer c.close()
	init, err := c.rec.Init.Open()
	if err != nil {
		return c.notRunning("watch")
	}
	defer init.Close()
	ctx, cancel := context.WithCancel(ctx)
	oom, waitOOM := c.watchOOM(ctx, g)
	defer waitOOM()
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = init.Await(ctx)
	}()
	defer func() { cancel(); <-ended }()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		var event []byte
		select {
		case <-ended:
			return nil
		case o, ok := <-oom:
			if !ok {
				oom = nil // no more of them
				continue
			}
			event = append(appendEvent(nil, "oom", id), `,"data":`...)
			event = append(cgroup.AppendOOM(event, &o), '}')
		case <-ticker.C:
			if event, err = c.statsEvent(g); err != nil {
				r.warn(err) // the cgroup may be on its way out; the container's end ends the loop
				continue
			}
		}
		if err := emit(event); err != nil {
			return err
		}
	}
}

// measured opens a running container that has a cgroup.
func (r *Runtime) measured(id string) (*container, *cgroup.Group, error) {
	c, err := r.look(id)
	if err != nil {
		return nil, nil, err
	}
	status, err := c.status()
	if err == nil && status == specs.StateStopped {
		err = c.notRunning("watch")
	}
	var g *cgroup.Group
	if err == nil {
		g, err = c.needCgroup()
	}
	if err != nil {
		c.close()
		return nil, nil, err
	}
	return c, g, nil
}

// watchOOM sends on the channel, for every kill for want of memory, what was counted then; what was counted before the watch began, too, if
// anything. It closes the channel when the watch ends, with ctx or the cgroup; wait returns then. A group of its own is opened, because one
// is not safe for concurrent use.
func (c *container) watchOOM(ctx context.Context, g *cgroup.Group) (oom <-chan cgroup.OOM, wait func()) {
	none := func() {}
	closed := make(chan cgroup.OOM)
	close(closed)
	own, err := cgroup.FromRecord(g.Record())
	if err != nil {
		c.warn(err)
		return closed, none
	}
	w, err := own.WatchOOM()
	if err != nil {
		c.warn(err)
		_ = own.Close()
		return closed, none
	}
	ch, done := make(chan cgroup.OOM), make(chan struct{})
	go func() {
		defer close(done)
		defer close(ch)
		for w.Wait(ctx) == nil {
			o, err := w.OOM()
			if err != nil {
				continue // on its way out: the next wait says so
			}
			select {
			case ch <- o:
			case <-ctx.Done():
			}
		}
		_ = w.Close()
		_ = own.Close()
	}()
	return ch, func() { <-done }
}

// statsEvent makes an event of type stats.
func (c *container) statsEvent(g *cgroup.Group) ([]byte, error) {
	s, err := g.Stats()
	if err != nil {
		return nil, err
	}
	rdt, err := rdtStats(c.rec.RDT)
	if err != nil {
		return nil, err
	}
	dst := append(appendEvent(nil, "stats", c.rec.ID), `,"data":`...)
	dst = cgroup.AppendStats(dst, s)
	dst = append(dst[:len(dst)-1], `,"intel_rdt":`...) // two keys more, which are not the cgroup's
	dst = append(dst, rdt...)
	return append(dst, `,"network_interfaces":null}}`...), nil
}

// appendEvent begins an event.
func appendEvent(dst []byte, kind, id string) []byte {
	dst = ocijson.AppendString(append(dst, `{"type":`...), kind)
	return ocijson.AppendString(append(dst, `,"id":`...), id)
}

// rdtStats shows the schemata of the container's class, {} without one.
func rdtStats(rdt *state.RDT) ([]byte, error) {
	if rdt == nil {
		return []byte("{}"), nil
	}
	data, err := os.ReadFile(filepath.Join(rdt.Path, "schemata"))
	if errors.Is(err, os.ErrNotExist) {
		return []byte("{}"), nil
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read resctrl group: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	dst := ocijson.AppendStrings([]byte(`{"schemata":`), lines)
	return append(dst, '}'), nil
}
