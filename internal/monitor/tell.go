package monitor

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/events"
)

// event records that something has happened. That it cannot be recorded is no reason to do anything to the container.
func (m *monitor) event(action events.Action, more map[string]string) {
	if m.o.Events == "" {
		return
	}
	m.mu.Lock()
	a := maps.Clone(m.o.Attributes)
	m.mu.Unlock()
	if a == nil {
		a = map[string]string{}
	}
	maps.Copy(a, more)
	_ = event.Open(m.o.Events).Append(event.New(events.ContainerEventType, action, m.o.ID, a))
}

// died tells of the end of a run.
func (m *monitor) died(code int, ran time.Duration) {
	m.event(events.ActionDie, map[string]string{"exitCode": strconv.Itoa(code), "execDuration": strconv.Itoa(int(ran.Seconds()))})
}

// watchMemory tells of each time that the kernel kills for want of memory, until the function that it returns is called with whether that has happened at all.
func (m *monitor) watchMemory() (end func(happened bool)) {
	ctx, cancel := context.WithCancel(context.Background())
	done, told := make(chan struct{}), false
	go func() {
		defer close(done)
		const never = 1 << 62 // statistics are not wanted
		_ = m.rt.Events(ctx, m.o.ID, never, func(line []byte) error {
			if bytes.HasPrefix(line, []byte(`{"type":"oom"`)) {
				told = true
				m.event(events.ActionOOM, nil)
			}
			return nil
		})
	}()
	return func(happened bool) {
		cancel()
		<-done
		if happened && !told {
			m.event(events.ActionOOM, nil)
		}
	}
}

// meanIt ends the restart policy: somebody wants the container to end.
func (m *monitor) meanIt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopping {
		m.stopping = true
		close(m.wake)
	}
}

// change does what update and rename want of a container that runs.
func (m *monitor) change(q control.Request) {
	if q.Name != "" {
		m.net.rename(q.Name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.Restart != nil {
		m.o.Restart = *q.Restart
	}
	if q.Name == "" {
		return
	}
	a := maps.Clone(m.o.Attributes)
	if a == nil {
		a = map[string]string{}
	}
	a["name"] = q.Name
	m.o.Attributes = a
	m.o.AutoRemove = slices.Clone(m.o.AutoRemove)
	for i, path := range m.o.AutoRemove {
		if path == q.Claim[0] {
			m.o.AutoRemove[i] = q.Claim[1]
		}
	}
}
