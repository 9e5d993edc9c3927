package snapshot

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A Stage is a directory in which layers are unpacked. It is its owner's alone until Close, or until he dies.
type Stage struct {
	s    *Store
	dir  string
	lock int
	held []int // layers that were committed: they stay until somebody had the time to use them
}

// Stage makes a stage, and removes what crashes left.
func (s *Store) Stage(ctx context.Context) (*Stage, error) {
	if err := s.heal(ctx); err != nil {
		return nil, err
	}
	return s.stage()
}

func (s *Store) stage() (*Stage, error) {
	for {
		dir := s.path(stageDir, random())
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, errdef.Errorf(errdef.Internal, "make a directory to unpack in: %w", err)
		}
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT {
			continue // healed away before it was locked
		}
		if err != nil {
			return nil, errdef.Errorf(errdef.Internal, "open a directory to unpack in: %w", err)
		}
		ok, err := atomicfile.TryFlock(fd, atomicfile.Exclusive)
		if _, gone := os.Lstat(dir); ok && gone == nil {
			return &Stage{s: s, dir: dir, lock: fd}, nil
		}
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
	}
}

// Dir is the directory, for layer.Options.Dir.
func (g *Stage) Dir() string { return g.dir }

// A Layer is what to commit.
type Layer struct {
	Chain  digest.Digest
	Parent digest.Digest // "": the lowest
	Path   string        // its directory, in the stage; it is moved away
	Result layer.Result
}

// Commit puts a layer in its place, for all to use. That it is there already is fine; then the directory is removed. Its parent must be there.
func (g *Stage) Commit(ctx context.Context, l Layer) error {
	n, err := name(l.Chain)
	if err != nil {
		return err
	}
	info := &Info{
		Chain: l.Chain, Parent: l.Parent, DiffID: digest.Digest(l.Result.DiffID), Bytes: l.Result.Bytes, Entries: l.Result.Entries, Opaque: l.Result.Opaque,
		Committed: time.Now(), boot: bootID(),
	}
	if err := info.DiffID.Validate(); err != nil {
		return errdef.Errorf(errdef.Invalid, "layer %s: diff id %.200q: %w", l.Chain, l.Result.DiffID, err)
	}
	if l.Parent != "" {
		parent, err := g.s.Use(ctx, l.Parent)
		if err != nil {
			return err
		}
		defer parent.Close()
		if err := adopt(l.Path, parent.Layers(), l.Result.Implied); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "layer %s: %w", l.Chain, err)
		}
	}
	dir := filepath.Join(g.dir, "commit-"+n)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return errdef.Errorf(errdef.Internal, "commit layer %s: %w", l.Chain, err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "commit layer %s: %w", l.Chain, err)
	}
	info.UserXattr = layer.UserXattr(fd)
	if err := os.Rename(l.Path, filepath.Join(dir, treeName)); err != nil {
		unix.Close(fd)
		return errdef.Errorf(errdef.Internal, "commit layer %s: %w", l.Chain, err)
	}
	if err := info.write(fd); err != nil {
		unix.Close(fd)
		return errdef.Errorf(errdef.KindOf(err), "commit layer %s: %w", l.Chain, err)
	}
	return g.place(ctx, fd, dir, l.Chain)
}

// place moves a finished layer to where it is found, locked. fd is its directory.
func (g *Stage) place(ctx context.Context, fd int, dir string, chain digest.Digest) error {
	n, err := name(chain)
	if err != nil {
		return err
	}
	if _, err := atomicfile.TryFlock(fd, atomicfile.Shared); err != nil {
		unix.Close(fd)
		return err
	}
	for {
		err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, g.s.path(layersDir, n), unix.RENAME_NOREPLACE)
		if err == nil {
			g.held = append(g.held, fd)
			return nil
		}
		if err != unix.EEXIST {
			unix.Close(fd)
			return errdef.Errorf(errdef.Internal, "commit layer %s: %w", chain, err)
		}
		use, _, err := g.s.open(ctx, chain, true)
		if err == nil { // somebody was first; ours goes with the stage
			unix.Close(fd)
			g.held = append(g.held, use)
			return nil
		}
		// What is there does not count: a layer of a boot before, or a damaged one.
		if err := g.s.discard(n); err != nil {
			unix.Close(fd)
			return err
		}
	}
}

// Close removes what is left in the stage and lets committed layers go.
func (g *Stage) Close() error {
	for _, fd := range g.held {
		unix.Close(fd)
	}
	g.held = nil
	err := g.s.erase(context.Background(), g.dir)
	unix.Close(g.lock)
	if sync := g.s.syncOld(); err == nil {
		err = sync
	}
	return err
}
