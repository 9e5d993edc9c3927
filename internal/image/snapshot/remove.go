package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// writtenOut is the age at which the kernel has written a layer out by itself (vm.dirty_expire_centisecs is 30 s), so that syncing it costs little.
const writtenOut = 2 * time.Minute

// Remove removes the layer of a chain. Of kind Conflict if it is in use or another layer stands on it, NotFound if it is not there.
func (s *Store) Remove(ctx context.Context, chain digest.Digest) error {
	n, err := name(chain)
	if err != nil {
		return err
	}
	fd, err := unix.Open(s.path(layersDir, n), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return errdef.Errorf(errdef.NotFound, "layers %s: not unpacked", chain)
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "layers %s: %w", chain, err)
	}
	defer unix.Close(fd)
	ok, err := atomicfile.TryFlock(fd, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	if !ok {
		return errdef.WithHint(errdef.Errorf(errdef.Conflict, "layers %s: in use", chain), "remove the containers of the image first, or wait for the pull that brings it")
	}
	if !s.inPlace(fd, n) {
		return errdef.Errorf(errdef.NotFound, "layers %s: not unpacked", chain)
	}
	all, err := s.List() // with the lock: a child's Commit takes it too
	if err != nil {
		return err
	}
	for _, info := range all {
		if info.Parent == chain {
			return errdef.Errorf(errdef.Conflict, "layers %s: %s stands on it", chain, info.Chain)
		}
	}
	return s.throwAway(ctx, n)
}

// throwAway makes a layer disappear and then removes it.
func (s *Store) throwAway(ctx context.Context, n string) error {
	trash := s.path(trashDir, random())
	if err := os.Rename(s.path(layersDir, n), trash); err != nil {
		return errdef.Errorf(errdef.Internal, "remove layers %s: %w", n, err)
	}
	return s.erase(ctx, trash)
}

// discard removes something in the place of a layer that does not count, unless it is in use.
func (s *Store) discard(n string) error {
	path := s.path(layersDir, n)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "layers %s: %w", n, err)
	}
	defer unix.Close(fd)
	ok, err := atomicfile.TryFlock(fd, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	if !ok {
		return errdef.Errorf(errdef.Conflict, "layers %s: damaged, and in use", n)
	}
	if !s.inPlace(fd, n) {
		return nil
	}
	return s.throwAway(context.Background(), n)
}

// erase removes a directory of the store with all that is in it.
func (s *Store) erase(ctx context.Context, path string) error {
	dir, n := filepath.Dir(path), filepath.Base(path)
	if os.Geteuid() == 0 {
		return layer.RemoveTree(ctx, dir, n, "")
	}
	scratch, err := s.stage()
	if err != nil {
		return err
	}
	defer unix.Close(scratch.lock)
	err = layer.RemoveTree(ctx, dir, n, scratch.dir)
	_ = os.Remove(filepath.Join(scratch.dir, "layers"))
	if rest := os.Remove(scratch.dir); err == nil && rest != nil {
		err = errdef.Errorf(errdef.Internal, "remove %s: %w", scratch.dir, rest)
	}
	return err
}

// heal removes what crashes left: stages whose owner is gone, and what was on its way out.
func (s *Store) heal(ctx context.Context) error {
	for _, dir := range []string{stageDir, trashDir} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil {
			return errdef.Errorf(errdef.Internal, "snapshots: %w", err)
		}
		for _, e := range entries {
			if err := s.healOne(ctx, s.path(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) healOne(ctx context.Context, path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "heal %s: %w", path, err)
	}
	defer unix.Close(fd)
	ok, err := atomicfile.TryFlock(fd, atomicfile.Exclusive)
	if err != nil || !ok {
		return err
	}
	// The worker of an owner who was killed dies with him, but a moment later, and until then makes files.
	for range dying {
		if err = s.erase(ctx, path); !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		time.Sleep(pause)
	}
	return err
}

// dying times pause is how long the worker of an owner who was killed may take to die.
const (
	dying = 200
	pause = 10 * time.Millisecond
)

// A Report says what GC did.
type Report struct {
	Removed []digest.Digest
	Bytes   int64 // of the archives of what was removed
	InUse   int   // layers that nobody wants and somebody uses
}

// GC removes all layers but those that keep wants, what these stand on, and what is in use.
func (s *Store) GC(ctx context.Context, keep func(digest.Digest) bool) (Report, error) {
	var report Report
	if err := s.heal(ctx); err != nil {
		return report, err
	}
	if err := s.dropDead(); err != nil {
		return report, err
	}
	all, err := s.List()
	if err != nil {
		return report, err
	}
	byChain, children := map[digest.Digest]Info{}, map[digest.Digest]int{}
	for _, i := range all {
		byChain[i.Chain] = i
		children[i.Parent]++
	}
	wanted := map[digest.Digest]bool{}
	for _, i := range all {
		for c := i.Chain; keep(i.Chain) && c != "" && !wanted[c]; c = byChain[c].Parent {
			wanted[c] = true
		}
	}
	for _, i := range all {
		for c := i.Chain; c != "" && !wanted[c] && children[c] == 0; { // from a top down
			err := s.Remove(ctx, c)
			if errdef.Is(err, errdef.Conflict) {
				report.InUse++
				wanted[c] = true
				break
			}
			if err != nil && !errdef.Is(err, errdef.NotFound) {
				return report, err
			}
			if err == nil {
				report.Removed = append(report.Removed, c)
				report.Bytes += byChain[c].Bytes
			}
			wanted[c] = true // it is gone
			c = byChain[c].Parent
			children[c]--
		}
	}
	return report, s.syncOld()
}

// dropDead removes layers that do not count any more.
func (s *Store) dropDead() error {
	entries, err := os.ReadDir(s.path(layersDir))
	if err != nil {
		return errdef.Errorf(errdef.Internal, "snapshots: %w", err)
	}
	for _, e := range entries {
		fd, err := unix.Open(s.path(layersDir, e.Name()), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		info, err := read(fd)
		unix.Close(fd)
		if err == nil && info.counts() {
			continue
		}
		if err := s.discard(e.Name()); err != nil && !errdef.Is(err, errdef.Conflict) {
			return err
		}
	}
	return nil
}

// Sync makes every layer that is there last.
func (s *Store) Sync() error { return s.syncOlder(0) }

func (s *Store) syncOld() error { return s.syncOlder(writtenOut) }

func (s *Store) syncOlder(age time.Duration) error {
	all, err := s.List()
	if err != nil {
		return err
	}
	var due []Info
	for _, i := range all {
		if !i.Synced && time.Since(i.Committed) >= age {
			due = append(due, i)
		}
	}
	if len(due) == 0 {
		return nil
	}
	root, err := unix.Open(s.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "snapshots: %w", err)
	}
	defer unix.Close(root)
	if err := unix.Syncfs(root); err != nil {
		return errdef.Errorf(errdef.Internal, "sync the snapshots: %w", err)
	}
	for _, i := range due {
		fd, info, err := s.open(context.Background(), i.Chain, false)
		if errdef.Is(err, errdef.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		info.Synced = true
		err = info.write(fd)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}
