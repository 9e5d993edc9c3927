package daemon

import (
	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/server"
)

// services are what was opened.
type services struct {
	closers []func() error
}

func (s *services) close() error {
	var err error
	for i := len(s.closers) - 1; i >= 0; i-- {
		if e := s.closers[i](); e != nil && err == nil {
			err = e
		}
	}
	s.closers = nil
	return err
}

// open makes the services that the routes ask.
func (e *Engine) open() (server.Services, error) {
	return server.Services{}, nil
}
