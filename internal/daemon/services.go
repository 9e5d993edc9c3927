package daemon

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/server"
	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	engineimage "github.com/bulkhead-engine/bulkhead/internal/engine/image"
	enginenetwork "github.com/bulkhead-engine/bulkhead/internal/engine/network"
	"github.com/bulkhead-engine/bulkhead/internal/engine/system"
	"github.com/bulkhead-engine/bulkhead/internal/engine/volume"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/opencontainers/go-digest"
)

// services are what was opened, and how the rest is. What a request does not want is not opened: a list of images reads no container.
type services struct {
	images     func() (*image.Service, error)
	containers func() (*container.Service, error)
	volumes    *volume.Service
	networks   *enginenetwork.Service

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
	log := event.Open(filepath.Join(e.o.Run, "events"))
	s.volumes = volume.New(volume.Options{Root: filepath.Join(e.o.Root, "volumes"), Events: log, Warn: e.o.Warn, Users: func() (map[string][]string, error) {
		if !e.anyContainer() {
			return nil, nil
		}
		c, err := s.containers()
		if err != nil {
			return nil, err
		}
		return c.VolumeUsers()
	}})
	s.networks = e.networks(log)
	s.images = sync.OnceValues(func() (*image.Service, error) {
		lib, err := image.Open(image.Options{Root: e.o.Root, Unpacker: e.program("bulkhead-unpack"), InUse: func() (map[digest.Digest][]string, error) {
			if !e.anyContainer() {
				return nil, nil
			}
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
		return container.Open(container.Options{Root: e.o.Root, Run: e.o.Run, Images: lib, Volumes: s.volumes, Networks: s.networks, Monitor: e.program("bulkhead-monitor"), Warn: e.o.Warn})
	})
	images := engineimage.New(engineimage.Options{Open: s.images, Events: log, Warn: e.o.Warn})
	return server.Services{
		System: e.system(log, images),
		OpenContainers: func() (server.Containers, error) {
			if os.Geteuid() != 0 {
				err := errdef.Errorf(errdef.Unsupported, "containers of a user without root are not there yet")
				return nil, errdef.WithHint(err, "run it as root; inside, root is nobody anyway")
			}
			c, err := s.containers()
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		Volumes:  s.volumes,
		Networks: s.networks,
		Images:   images,
	}, nil
}

// networks makes the service for networks, which leaves the connecting to that for containers.
func (e *Engine) networks(log *event.Log) *enginenetwork.Service {
	return enginenetwork.New(enginenetwork.Options{
		Root: filepath.Join(e.o.Root, "networks"), Run: network.Dir(filepath.Join(e.o.Run, "network")), Events: log, Warn: e.o.Warn,
		Containers: func() (enginenetwork.Containers, error) {
			c, err := e.services.containers()
			if err != nil {
				return nil, err
			}
			return c, nil
		},
	})
}

// system makes the service for the engine as a whole.
func (e *Engine) system(log *event.Log, images system.Images) *system.Service {
	s := &e.services
	return system.New(system.Options{
		Product: e.o.Product, API: server.Version, MinimumAPI: server.MinVersion, Root: e.o.Root, Run: e.o.Run, Events: log, Images: images, Volumes: s.volumes,
		Containers: func() (system.Containers, error) {
			if !e.anyContainer() {
				return nil, nil
			}
			c, err := s.containers()
			if err != nil {
				return nil, err
			}
			return c, nil
		},
	})
}

// anyContainer reports whether there may be one: without, nobody has images and volumes, and nothing need be opened to know it.
func (e *Engine) anyContainer() bool {
	_, err := os.Lstat(filepath.Join(e.o.Root, "containers"))
	return !os.IsNotExist(err)
}

// program is where one of ours is, "" for the places where it looks by itself.
func (e *Engine) program(name string) string {
	if e.o.Programs == "" {
		return ""
	}
	return filepath.Join(e.o.Programs, name)
}
