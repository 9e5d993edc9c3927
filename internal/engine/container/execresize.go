package container

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// ExecResize tells the terminal of an instance its size, whoever has started it: the container's monitor has the terminal.
func (s *Service) ExecResize(ctx context.Context, id string, height, width uint16) error {
	e, err := s.readExec(id)
	if err != nil {
		return err
	}
	if !e.Request.Tty {
		return errdef.Errorf(errdef.Conflict, "exec instance %s has no terminal", id[:12])
	}
	if !s.execRuns(e) {
		return errdef.Errorf(errdef.Conflict, "exec instance %s is not running", id[:12])
	}
	conn, err := control.Dial(ctx, s.runDir(e.Container), control.Request{Op: "execresize", Exec: id, Height: height, Width: width})
	if err != nil {
		return errdef.Errorf(errdef.Conflict, "exec instance %s: resize: %w", id[:12], err)
	}
	return conn.Close()
}
