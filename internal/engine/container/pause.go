package container

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/events"
)

// Resize tells the terminal of a container its size.
func (s *Service) Resize(ctx context.Context, name string, height, width uint16) error {
	c, err := s.Get(name)
	if err != nil {
		return err
	}
	if !c.Alive {
		return errdef.Errorf(errdef.Conflict, "container %s is not running", c.Name)
	}
	conn, err := control.Dial(ctx, s.runDir(c.ID), control.Request{Op: "resize", Height: height, Width: width})
	if err != nil {
		return err
	}
	return conn.Close()
}

// Pause freezes a container.
func (s *Service) Pause(ctx context.Context, name string) error {
	c, err := s.Get(name)
	switch {
	case err != nil:
		return err
	case !c.Alive || c.State.Phase != control.Running:
		return errdef.Errorf(errdef.Conflict, "container %s is not running", c.Name)
	case s.paused(c):
		return errdef.Errorf(errdef.Conflict, "container %s is already paused", c.Name)
	}
	return s.told(c, events.ActionPause, s.rt.Pause(ctx, c.ID))
}

// Unpause lets a paused container go on.
func (s *Service) Unpause(ctx context.Context, name string) error {
	c, err := s.Get(name)
	switch {
	case err != nil:
		return err
	case !c.Alive || !s.paused(c):
		return errdef.Errorf(errdef.Conflict, "container %s is not paused", c.Name)
	}
	return s.told(c, events.ActionUnPause, s.rt.Resume(ctx, c.ID))
}

// paused asks the kernel.
func (s *Service) paused(c *Container) bool {
	if !c.Alive || c.State.Phase != control.Running {
		return false
	}
	st, err := s.rt.State(c.ID)
	return err == nil && st.Status == "paused"
}
