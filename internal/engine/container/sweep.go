package container

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
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
func (s *Service) Sweep() error {
	makers := map[string]bool{} // of half-made containers: whether the process is there
	for _, kind := range []string{"names", "ranges"} {
		if err := s.sweepClaims(kind, makers); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(filepath.Join(s.o.Root, "containers"))
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "containers: %w", err)
	}
	for _, e := range entries {
		id, half := strings.CutSuffix(e.Name(), ".new")
		if !half && !strings.HasSuffix(e.Name(), ".old") {
			continue
		}
		if half {
			alive, known := makers[id]
			info, err := e.Info()
			if alive || !known && (err != nil || time.Since(info.ModTime()) < time.Hour) { // its claims are made before it: it has lost them, or is about to
				continue
			}
		}
		if err := os.RemoveAll(filepath.Join(s.o.Root, "containers", e.Name())); err != nil {
			return errdef.Errorf(errdef.Unavailable, "containers: %w", err)
		}
	}
	if err := s.sweepLabels(); err != nil {
		return err
	}
	return s.sweepSecrets(makers)
}

// sweepSecrets removes the secrets of containers that are not there and that nobody is making.
func (s *Service) sweepSecrets(makers map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(s.o.Run, "secrets"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "secrets: %w", err)
	}
	for _, e := range entries {
		if _, err := os.Lstat(s.dir(e.Name())); err == nil || makers[e.Name()] {
			continue
		}
		if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < time.Minute { // it may have been made since we looked
			continue
		}
		if err := os.RemoveAll(s.secretsOf(e.Name())); err != nil {
			return errdef.Errorf(errdef.Unavailable, "secrets: %w", err)
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
		data, err := os.ReadFile(s.claimPath(kind, e.Name()))
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
