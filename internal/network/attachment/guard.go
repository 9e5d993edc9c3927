package attachment

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/network/egress"
	"github.com/bulkhead-engine/bulkhead/internal/network/nflog"
	"github.com/bulkhead-engine/bulkhead/internal/network/refusal"
)

// A guard goes with the container from its first start to its end: it says what the resolver may ask, hears what is refused, and has the rules repaired.
type guard struct {
	*egress.Guard
	log      *refusal.Log
	listener *nflog.Listener // nil: this kernel cannot tell what it refuses
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

// newGuard makes the guard of a container. What it cannot hear is refused all the same.
func (s *Set) newGuard() (*guard, error) {
	log, err := refusal.OpenLog(filepath.Join(filepath.Dir(string(s.o.Dir)), s.o.Container))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &guard{Guard: egress.New(log), log: log, cancel: cancel}
	if g.listener, err = nflog.Listen(s.o.Container); err == nil {
		g.running.Go(func() { _ = g.listener.Run(ctx, g.Packet) })
	}
	g.running.Go(func() {
		_ = Watch(ctx, s.o.Dir, func() { _ = g.Relearn() }) // without it, the next command repairs
	})
	return g, nil
}

// group is the log group of the container's refusals; 0: nobody hears them.
func (g *guard) group() uint16 {
	if g == nil || g.listener == nil {
		return 0
	}
	return g.listener.Group()
}

// close ends the guard, and waits for it.
func (g *guard) close() error {
	g.cancel()
	if g.listener != nil {
		_ = g.listener.Close()
	}
	g.running.Wait()
	return g.log.Flush()
}
