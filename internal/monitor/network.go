package monitor

import (
	"context"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/attachment"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"
)

// networkPatience bounds the work on networks that one step of the container's life waits for.
const networkPatience = time.Minute

// networks are the container's: nil if they are not the engine's business.
type networks struct {
	m    *monitor
	set  *attachment.Set
	done chan error // of the connecting that goes on beside the making of the container; nil: none does
}

func (m *monitor) newNetworks() *networks {
	if m.o.Network == nil {
		return nil
	}
	attachment.For(m.o.Network.Dir)
	return &networks{m: m, set: attachment.New(m.o.Network)}
}

func networkContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), networkPatience)
}

// born begins to connect a new process, whose network namespace is its own, while it goes on to become the container.
func (n *networks) born(pid int) error {
	if n == nil {
		return nil
	}
	ns, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "network namespace of the container: %w", err)
	}
	n.set.Process(pid)
	done := make(chan error, 1)
	n.done = done
	go func() {
		defer unix.Close(ns)
		ctx, cancel := networkContext()
		defer cancel()
		done <- n.set.Up(ctx, ns)
	}()
	return nil
}

// joined waits until the container is connected. It is to be called after every create, and before the program runs.
func (n *networks) joined() error {
	if n == nil || n.done == nil {
		return nil
	}
	err := <-n.done
	n.done = nil
	if err != nil {
		kind := errdef.KindOf(err)
		if kind == errdef.NotFound || kind == errdef.Denied { // of a program these would speak
			kind = errdef.Conflict
		}
		return errdef.WithHint(errdef.Errorf(kind, "%w", err), errdef.Hint(err))
	}
	for _, a := range n.set.Ends() {
		n.event(events.ActionConnect, a.Network)
	}
	return nil
}

// ended disconnects the container. It keeps its addresses until close.
func (n *networks) ended() error {
	if n == nil {
		return nil
	}
	ctx, cancel := networkContext()
	defer cancel()
	before := n.set.Ends()
	err := n.set.Down(ctx)
	for _, a := range before {
		n.event(events.ActionDisconnect, a.Network)
	}
	return err
}

// close gives everything back.
func (n *networks) close() error {
	if n == nil {
		return nil
	}
	ctx, cancel := networkContext()
	defer cancel()
	return n.set.Close(ctx)
}

// change connects or disconnects a container that runs.
func (n *networks) change(q control.Request) error {
	if n == nil {
		return errdef.Errorf(errdef.Conflict, "the container's network namespace is another's: it cannot be connected to networks")
	}
	ctx, cancel := networkContext()
	defer cancel()
	if q.Op == "disconnect" {
		var was *network.Network
		for _, a := range n.set.Ends() {
			if a.Network.ID == q.Network.Network.ID {
				was = a.Network
			}
		}
		if err := n.set.Disconnect(ctx, q.Network.Network.ID); err != nil {
			return err
		}
		if was != nil {
			n.event(events.ActionDisconnect, was)
		}
		return nil
	}
	if err := n.set.Connect(ctx, *q.Network); err != nil {
		return err
	}
	n.event(events.ActionConnect, &q.Network.Network)
	return nil
}

// rename has others find the container by another name. That it cannot be written down is no reason to do anything to the container.
func (n *networks) rename(name string) {
	if n == nil {
		return
	}
	ctx, cancel := networkContext()
	defer cancel()
	_ = n.set.Rename(ctx, name)
}

// event tells that the container has come to a network or gone.
func (n *networks) event(action events.Action, of *network.Network) {
	if n.m.o.Events == "" {
		return
	}
	a := map[string]string{"container": n.m.o.ID, "name": of.Name, "type": "bridge"}
	_ = event.Open(n.m.o.Events).Append(event.New(events.NetworkEventType, action, of.ID, a))
}

// Heal removes what killed monitors have left of networks.
func Heal(dir string) error {
	ctx, cancel := networkContext()
	defer cancel()
	attachment.For(network.Dir(dir))
	return attachment.Heal(ctx, network.Dir(dir), "")
}
