package container

import (
	"context"
	"os"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// terminals are those of instances that this process has started, by id.
type terminals struct {
	mu sync.Mutex
	by map[string]*os.File
}

func (x *running) terminal(there bool) {
	t := &x.s.terminals
	t.mu.Lock()
	defer t.mu.Unlock()
	if !there {
		delete(t.by, x.e.ID)
		return
	}
	if t.by == nil {
		t.by = map[string]*os.File{}
	}
	t.by[x.e.ID] = x.console
}

// ExecResize tells the terminal of an instance its size. That is for the process which has started it: no other has the terminal.
func (s *Service) ExecResize(_ context.Context, id string, height, width uint16) error {
	e, err := s.readExec(id)
	if err != nil {
		return err
	}
	t := &s.terminals
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.by[id]
	switch {
	case f != nil:
	case !e.Request.Tty:
		return errdef.Errorf(errdef.Conflict, "exec instance %s has no terminal", id[:12])
	default:
		return errdef.Errorf(errdef.Conflict, "exec instance %s is not running here", id[:12])
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return errdef.Errorf(errdef.Conflict, "exec instance %s: %w", id[:12], err)
	}
	var ioctl error
	if err = raw.Control(func(fd uintptr) {
		ioctl = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	}); err == nil {
		err = ioctl
	}
	if err != nil {
		return errdef.Errorf(errdef.Conflict, "exec instance %s: resize: %w", id[:12], err)
	}
	return nil
}
