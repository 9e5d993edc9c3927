package snapshot

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// A Store is a directory of layers. It holds no descriptor and no state; many processes may have one.
type Store struct{ root string }

// Directories of a store.
const (
	layersDir = "layers"
	stageDir  = "stage"
	trashDir  = "trash"
	emptyDir  = "empty"
)

// Open makes the directories of a store that are missing. root is absolute.
func Open(root string) (*Store, error) {
	if !filepath.IsAbs(root) {
		return nil, errdef.Errorf(errdef.Invalid, "snapshots: path %q is not absolute", root)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "snapshots: %w", err)
	}
	for _, name := range []string{layersDir, stageDir, trashDir, emptyDir} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil && !os.IsExist(err) {
			return nil, errdef.Errorf(errdef.Internal, "snapshots: %w", err)
		}
	}
	return &Store{root: root}, nil
}

func (s *Store) path(names ...string) string {
	return filepath.Join(append([]string{s.root}, names...)...)
}

// name is the name of a chain's directory.
func name(chain digest.Digest) (string, error) {
	if err := chain.Validate(); err != nil {
		return "", errdef.Errorf(errdef.Invalid, "chain id %.200q: %w", string(chain), err)
	}
	return strings.Replace(string(chain), ":", "-", 1), nil
}

// open opens the directory of a layer and reads its record. The lock that it takes, if any, holds a layer that is in its place.
func (s *Store) open(ctx context.Context, chain digest.Digest, lock bool) (int, *Info, error) {
	n, err := name(chain)
	if err != nil {
		return -1, nil, err
	}
	for {
		fd, err := unix.Open(s.path(layersDir, n), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT {
			return -1, nil, errdef.Errorf(errdef.NotFound, "layers %s: not unpacked", chain)
		}
		if err != nil {
			return -1, nil, errdef.Errorf(errdef.Internal, "layers %s: %w", chain, err)
		}
		if lock {
			if err := atomicfile.Flock(ctx, fd, atomicfile.Shared); err != nil {
				unix.Close(fd)
				return -1, nil, errdef.Errorf(errdef.KindOf(err), "layers %s: %w", chain, err)
			}
			if !s.inPlace(fd, n) {
				unix.Close(fd) // removed meanwhile; there may be a new one
				continue
			}
		}
		info, err := read(fd)
		if err == nil && info.Chain != chain {
			err = errdef.Errorf(errdef.Invalid, "the record is that of %s", info.Chain)
		}
		if err == nil && !info.counts() {
			err = errdef.Errorf(errdef.NotFound, "not known to be whole after the machine went down")
		}
		if err != nil {
			unix.Close(fd)
			return -1, nil, errdef.Errorf(errdef.KindOf(err), "layers %s: %w", chain, err)
		}
		return fd, info, nil
	}
}

func (s *Store) inPlace(fd int, name string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(fd, &a) == nil && unix.Lstat(s.path(layersDir, name), &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// Info returns what is known about a chain; of kind NotFound if it is not there.
func (s *Store) Info(chain digest.Digest) (Info, error) {
	fd, info, err := s.open(context.Background(), chain, false)
	if err != nil {
		return Info{}, err
	}
	unix.Close(fd)
	return *info, nil
}

// Has reports whether a chain is there with all that is below it.
func (s *Store) Has(chain digest.Digest) bool {
	for chain != "" {
		info, err := s.Info(chain)
		if err != nil {
			return false
		}
		chain = info.Parent
	}
	return true
}

// List returns all layers that count, sorted by chain.
func (s *Store) List() ([]Info, error) {
	entries, err := os.ReadDir(s.path(layersDir))
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "snapshots: %w", err)
	}
	var out []Info
	for _, e := range entries {
		info, err := s.Info(digest.Digest(strings.Replace(e.Name(), "-", ":", 1)))
		if err == nil {
			out = append(out, info)
		}
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(string(a.Chain), string(b.Chain)) })
	return out, nil
}

// A Use keeps a chain from being removed.
type Use struct {
	lock  *os.File
	info  []Info   // the uppermost first
	dirs  []string // the same, as far as something below shows through
	empty string
}

// Use locks a chain. It waits while somebody removes it, until ctx ends. Of kind NotFound if a layer of it is not there.
func (s *Store) Use(ctx context.Context, chain digest.Digest) (*Use, error) {
	fd, info, err := s.open(ctx, chain, true)
	if err != nil {
		return nil, err
	}
	// What is below cannot go while this one is there: Remove looks for children.
	u := &Use{lock: os.NewFile(uintptr(fd), "layers"), empty: s.path(emptyDir)}
	hidden := false
	for {
		u.info = append(u.info, *info)
		n, err := name(info.Chain)
		if err != nil {
			u.Close()
			return nil, err
		}
		if !hidden {
			u.dirs = append(u.dirs, s.path(layersDir, n, treeName))
		}
		hidden = hidden || info.Opaque
		if info.Parent == "" {
			return u, nil
		}
		if len(u.info) > MaxLayers {
			u.Close()
			return nil, errdef.Errorf(errdef.Invalid, "layers %s: more than %d below each other", chain, MaxLayers)
		}
		below, next, err := s.open(ctx, info.Parent, false)
		if err != nil {
			u.Close()
			return nil, err
		}
		unix.Close(below)
		info = next
	}
}

// Layers returns the directories of the chain, the uppermost first, as far down as anything shows.
func (u *Use) Layers() []string {
	if u == nil {
		return nil
	}
	return slices.Clone(u.dirs)
}

// Infos returns what is known about each layer, the uppermost first.
func (u *Use) Infos() []Info { return slices.Clone(u.info) }

// File is what holds the lock: as long as a process has it open, the chain stays. It is the Use's own; nil without one.
func (u *Use) File() *os.File {
	if u == nil {
		return nil
	}
	return u.lock
}

// Close gives the lock up, as far as this process is concerned.
func (u *Use) Close() error {
	if u == nil {
		return nil
	}
	return u.lock.Close()
}

// random is a name that nobody has.
func random() string { return strings.ToLower(rand.Text()) }
