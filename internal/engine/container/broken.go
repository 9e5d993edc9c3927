package container

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// dead is the phase of a container whose record cannot be read, as Docker calls it: it is listed and can be removed, and is in nobody's way.
const dead control.Phase = "dead"

// broken is a container whose record cannot be read. Its name is in the claim.
func (s *Service) broken(id string, err error) *Container {
	if s.o.Warn != nil {
		s.o.Warn(errdef.WithHint(err, "bulkhead rm -f "+id[:12]))
	}
	c := &Container{Record: Record{ID: id, Name: id[:12]}, State: control.State{Phase: dead, Error: err.Error()}}
	entries, _ := os.ReadDir(filepath.Join(s.o.Root, "names"))
	for _, e := range entries {
		if data, err := atomicfile.Read(s.claimPath("names", e.Name())); err == nil && strings.HasPrefix(string(data), id) {
			c.Name = e.Name()
		}
	}
	return c
}

// removeBroken removes a container whose record cannot be read: what it would say is found by its id.
func (s *Service) removeBroken(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if err := s.rt.Delete(ctx, id, true); err != nil { // its monitor sees the end, and ends
		return err
	}
	lock, err := s.lock(ctx, id)
	if err != nil {
		return err
	}
	defer lock.Close()
	if !s.settled(id) {
		return errdef.Errorf(errdef.Conflict, "remove container %s: its monitor does not end", id[:12])
	}
	if err := s.rt.Delete(ctx, id, true); err != nil {
		return err
	}
	if err := s.erase(ctx, &Record{ID: id, Name: id[:12]}, false); err != nil {
		return err
	}
	return s.Sweep() // its claims
}

// unreadable is the state of a container whose file of it cannot be read. If it runs, the kernel says of what.
func (s *Service) unreadable(c *Container, err error) {
	if s.o.Warn != nil {
		s.o.Warn(err)
	}
	c.State = control.State{Phase: control.Exited, ExitCode: 255, Error: err.Error()}
	if st, serr := s.rt.State(c.ID); c.Alive && serr == nil && st.PID > 0 {
		c.State.Phase, c.State.PID, c.State.ExitCode = control.Running, st.PID, 0
	}
}
