package container

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	enginenetwork "github.com/bulkhead-engine/bulkhead/internal/engine/network"
	"github.com/bulkhead-engine/bulkhead/internal/engine/volume"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/runtime"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// lockTime bounds the wait for somebody who makes a claim.
const lockTime = 10 * time.Second

// Options say where containers are.
type Options struct {
	Root     string // directory of the engine, absolute
	Run      string // directory on a tmpfs, absolute
	Images   *image.Service
	Volumes  *volume.Service // nil: those below Root
	Networks Networks        // nil: those below Root
	Monitor  string          // the program bulkhead-monitor; "": beside this program, or in ../libexec/bulkhead
	Warn     func(error)
}

// A Service is an open directory of containers.
type Service struct {
	o         Options
	rt        *runtime.Runtime
	coming    coming
	leftovers atomic.Bool // a claim of a command that was killed was seen
}

// Open opens a directory of containers, and makes it if it is not there.
func Open(o Options) (*Service, error) {
	for _, dir := range []string{o.Root, o.Run} {
		if !filepath.IsAbs(dir) {
			return nil, errdef.Errorf(errdef.Invalid, "containers: directory %q: wants an absolute path", dir)
		}
	}
	for _, dir := range []string{"containers", "names", "ranges", "volumes"} {
		// Closed to others: a set-user-ID file that a container makes must be out of reach of the host's users.
		if err := os.MkdirAll(filepath.Join(o.Root, dir), 0o700); err != nil {
			return nil, errdef.Errorf(errdef.Unavailable, "containers: %w", err)
		}
	}
	err := os.MkdirAll(o.Run, 0o711)
	if err == nil { // somebody who keeps something else there may have made it: containers' users pass through
		var st os.FileInfo
		if st, err = os.Stat(o.Run); err == nil && st.Mode()&0o111 != 0o111 {
			err = os.Chmod(o.Run, st.Mode().Perm()|0o111)
		}
	}
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "containers: %w", err)
	}
	rt := &runtime.Runtime{Root: filepath.Join(o.Run, "runtime"), Rootless: os.Geteuid() != 0, SeccompCache: filepath.Join(o.Run, "seccomp"), Warn: o.Warn}
	s := &Service{o: o, rt: rt}
	if o.Volumes == nil {
		s.o.Volumes = volume.New(volume.Options{Root: volumesDir(o.Root), Users: s.VolumeUsers, Events: event.Open(s.eventDir()), Warn: o.Warn})
	}
	if o.Networks == nil {
		s.o.Networks = enginenetwork.New(enginenetwork.Options{
			Root: filepath.Join(o.Root, "networks"), Run: s.netDir(), Events: event.Open(s.eventDir()), Warn: o.Warn,
			Containers: func() (enginenetwork.Containers, error) { return s, nil },
		})
	}
	return s, nil
}

// InUse returns the images that containers have, for package image.
func (s *Service) InUse() (map[digest.Digest][]string, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	out := map[digest.Digest][]string{}
	for _, id := range ids {
		if r, err := s.read(id); err == nil {
			if r.Image != "" {
				out[r.Image] = append(out[r.Image], r.Name)
			}
			for i := range r.Points {
				if id := digest.Digest(r.Points[i].Image); id != "" && id != r.Image {
					out[id] = append(out[id], r.Name)
				}
			}
		}
	}
	return out, nil
}

// A Container is one with its state.
type Container struct {
	Record
	State control.State
	Alive bool // its monitor lives
}

// Get returns a container by name, id or the beginning of an id.
func (s *Service) Get(name string) (*Container, error) {
	id, err := s.Resolve(name)
	if err != nil {
		return nil, err
	}
	return s.get(id)
}

func (s *Service) get(id string) (*Container, error) {
	r, err := s.read(id)
	if err != nil {
		return nil, err
	}
	c := &Container{Record: *r, Alive: control.Alive(s.runDir(id))} // before the state, which it writes before it goes
	state, err := control.ReadState(s.dir(id))
	switch {
	case errdef.Is(err, errdef.NotFound):
		c.State.Phase = control.Created
	case err != nil:
		s.unreadable(c, err)
	default:
		c.State = *state
	}
	if c.State.Phase == control.Exited {
		c.Alive = false // but for its last instant
	}
	if !c.Alive && (c.State.Phase == control.Running || c.State.Phase == control.Restarting) {
		return c, s.bury(c)
	}
	return c, nil
}

// killed is why a container ended whose monitor was.
const killed = "the monitor was killed"

// bury ends what a killed monitor left, and records it.
func (s *Service) bury(c *Container) error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if err := s.end(ctx, c.ID); err != nil {
		return err
	}
	c.State.Phase, c.State.PID, c.State.ExitCode, c.State.Finished = control.Exited, 0, 137, time.Now().UTC()
	c.State.Error = killed
	if ownNetwork(&c.Record) {
		if err := s.healNetworks(ctx); err != nil && s.o.Warn != nil {
			s.o.Warn(err)
		}
	}
	if err := control.WriteState(s.dir(c.ID), &c.State); err != nil { // a disk that is read-only: the next one says the same
		if s.o.Warn != nil {
			s.o.Warn(err)
		}
		return nil
	}
	s.event(&c.Record, events.ActionDie, "exitCode", "137")
	return nil
}

// LogPath is where the output of a container is kept.
func (s *Service) LogPath(id string) string { return filepath.Join(s.dir(id), "log") }

// exists reports whether there is such a container.
func (s *Service) exists(id string) bool {
	_, err := os.Lstat(s.dir(id))
	return err == nil
}

// writable refuses what changes something on a disk that is mounted read-only, before the first of many steps says so in its own words.
func (s *Service) writable() error {
	dir := filepath.Join(s.o.Root, "containers")
	if unix.Access(dir, unix.W_OK) != unix.EROFS {
		return nil
	}
	err := errdef.Errorf(errdef.Unavailable, "%s: %w", dir, unix.EROFS)
	return errdef.WithHint(err, "mount it writable, or name another directory with --root; ps, inspect, logs, exec and stop work all the same")
}
