package daemon

import (
	"path/filepath"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/server"
	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	engineimage "github.com/bulkhead-engine/bulkhead/internal/engine/image"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/opencontainers/go-digest"
)

// services are what was opened, and how the rest is. What a request does not want is not opened: a list of images reads no container.
type services struct {
	images     func() (*image.Service, error)
	containers func() (*container.Service, error)

	mu      sync.Mutex
	closers []func() error
}

// later closes something with the engine.
func (s *services) later(closer func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, closer)
}

func (s *services) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	s := &e.services
	s.images = sync.OnceValues(func() (*image.Service, error) {
		lib, err := image.Open(image.Options{Root: e.o.Root, Unpacker: e.program("bulkhead-unpack"), InUse: func() (map[digest.Digest][]string, error) {
			c, err := s.containers()
			if err != nil {
				return nil, err
			}
			return c.InUse()
		}})
		if err == nil {
			s.later(lib.Close)
		}
		return lib, err
	})
	s.containers = sync.OnceValues(func() (*container.Service, error) {
		lib, err := s.images()
		if err != nil {
			return nil, err
		}
		return container.Open(container.Options{Root: e.o.Root, Run: e.o.Run, Images: lib, Monitor: e.program("bulkhead-monitor"), Warn: e.o.Warn})
	})
	log := event.Open(filepath.Join(e.o.Run, "events"))
	return server.Services{
		Images: engineimage.New(engineimage.Options{Open: s.images, Events: log, Warn: e.o.Warn}),
	}, nil
}

// program is where one of ours is, "" for the places where it looks by itself.
func (e *Engine) program(name string) string {
	if e.o.Programs == "" {
		return ""
	}
	return filepath.Join(e.o.Programs, name)
}
