package container

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"golang.org/x/sys/unix"
)

// tidy sweeps, if this process has come upon what a killed command left. What cannot be removed is a warning: it is in nobody's way.
func (s *Service) tidy() {
	if !s.leftovers.Swap(false) {
		return
	}
	if err := s.Sweep(); err != nil && s.o.Warn != nil {
		s.o.Warn(err)
	}
}

// Sweep removes what killed commands left: half-made containers of processes that are gone, half-removed ones, and claims that are void.
//
// What is there is listed before the claims are read: whoever is making one of these has claims by then, and has them until it is made.
func (s *Service) Sweep() error {
	dirs, err := os.ReadDir(filepath.Join(s.o.Root, "containers"))
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "containers: %w", err)
	}
	secrets, err := os.ReadDir(filepath.Join(s.o.Run, "secrets"))
	if err != nil && !os.IsNotExist(err) {
		return errdef.Errorf(errdef.Unavailable, "secrets: %w", err)
	}
	making := map[string]bool{} // containers that somebody makes
	for _, kind := range []string{"names", "ranges"} {
		if err := s.sweepClaims(kind, making); err != nil {
			return err
		}
	}
	for _, e := range dirs {
		id, half := strings.CutSuffix(e.Name(), ".new")
		if !half && !strings.HasSuffix(e.Name(), ".old") || half && making[id] {
			continue
		}
		if err := s.sweepHalf(filepath.Join(s.o.Root, "containers", e.Name()), half); err != nil {
			return err
		}
	}
	if err := s.sweepRuns(); err != nil {
		return err
	}
	if err := s.sweepLabels(); err != nil {
		return err
	}
	for _, e := range secrets {
		if s.exists(e.Name()) || making[e.Name()] {
			continue
		}
		if err := os.RemoveAll(s.secretsOf(e.Name())); err != nil {
			return errdef.Errorf(errdef.Unavailable, "secrets: %w", err)
		}
	}
	return nil
}

// sweepHalf removes a container that was not made to its end, or not removed, with the volumes that it was to take with it.
func (s *Service) sweepHalf(dir string, half bool) error {
	var r Record
	data, err := atomicfile.Read(filepath.Join(dir, "container.json"))
	if err == nil && json.Unmarshal(data, &r) == nil {
		_, err := os.Lstat(filepath.Join(dir, withVolumes))
		if half || err == nil || r.Host.AutoRemove {
			ctx, cancel := context.WithTimeout(context.Background(), endTime)
			defer cancel()
			if err := s.removeVolumes(ctx, &r); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return errdef.Errorf(errdef.Unavailable, "containers: %w", err)
	}
	return nil
}

// sweepRuns removes what runs had of containers that are gone.
func (s *Service) sweepRuns() error {
	entries, err := os.ReadDir(s.o.Run)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "run directory: %w", err)
	}
	for _, e := range entries {
		id := e.Name()
		if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" || s.exists(id) || control.Alive(s.runDir(id)) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), endTime)
		err := s.end(ctx, id)
		cancel()
		if err != nil {
			return err
		}
		if err := os.RemoveAll(s.runDir(id)); err != nil {
			return errdef.Errorf(errdef.Unavailable, "run directory: %w", err)
		}
	}
	return nil
}

// sweepClaims removes the void claims of a kind, under the lock that those who claim have.
func (s *Service) sweepClaims(kind string, makers map[string]bool) error {
	dir, err := unix.Open(filepath.Join(s.o.Root, kind), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "%s: %w", kind, err)
	}
	defer unix.Close(dir)
	ctx, cancel := context.WithTimeout(context.Background(), lockTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, dir, atomicfile.Exclusive); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "%s: %w", kind, err)
	}
	entries, err := os.ReadDir(filepath.Join(s.o.Root, kind))
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "%s: %w", kind, err)
	}
	for _, e := range entries {
		data, err := atomicfile.Read(s.claimPath(kind, e.Name()))
		if err != nil {
			continue // given back at this moment
		}
		id, pid, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
		if _, there := s.claim(kind, e.Name()); there {
			continue
		}
		alive := making(pid)
		makers[id] = makers[id] || alive
		if alive {
			continue
		}
		if err := os.Remove(s.claimPath(kind, e.Name())); err != nil && !os.IsNotExist(err) {
			return errdef.Errorf(errdef.Unavailable, "%s: %w", kind, err)
		}
	}
	return nil
}
