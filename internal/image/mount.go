package image

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Use locks the unpacked layers of an image, and unpacks them if need be. It is nil for an image without layers.
func (s *Service) Use(ctx context.Context, img *Image) (*snapshot.Use, error) {
	chain := img.Chain()
	if chain == "" {
		return nil, nil
	}
	for range 3 { // a collection may come between
		if err := s.Unpack(ctx, img, nil); err != nil {
			return nil, err
		}
		use, err := s.snaps.Use(ctx, chain)
		if !errdef.Is(err, errdef.NotFound) {
			return use, err
		}
	}
	return nil, errdef.Errorf(errdef.Unavailable, "image %s: its layers are removed as soon as they are unpacked", short(img.ID))
}

// A Mount is an image that is shown somewhere, read-only.
type Mount struct {
	Image  digest.Digest
	Chain  digest.Digest
	Target string // absolute
}

func (s *Service) mountsDir() string { return filepath.Join(s.o.Root, "mounts") }

// Mount shows the files of an image, read-only, in a directory below Root; it stays until Unmount or the end of the machine.
func (s *Service) Mount(ctx context.Context, name string) (Mount, error) {
	img, err := s.Find(name, nil)
	if err != nil {
		return Mount{}, err
	}
	m := Mount{img.ID, img.Chain(), filepath.Join(s.mountsDir(), img.ID.Encoded(), "merged")}
	if m.Chain == "" {
		return m, errdef.Errorf(errdef.Invalid, "mount image %q: it has no layers", name)
	}
	use, err := s.Use(ctx, img) // which may take long, and is done before others are kept waiting
	if err != nil {
		return m, err
	}
	defer use.Close()
	unlock, err := s.lockMounts(ctx)
	if err != nil {
		return m, err
	}
	defer unlock()
	if mounted(m.Target) {
		return m, nil
	}
	if err := os.MkdirAll(m.Target, 0o700); err != nil {
		return m, errdef.Errorf(errdef.Unavailable, "mount image %q: %w", name, err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	// The record is what keeps the layers from then on.
	if err := atomicfile.Write(filepath.Join(filepath.Dir(m.Target), "mount.json"), data, atomicfile.Options{Volatile: true}); err != nil {
		return m, err
	}
	fd, err := snapshot.Mount(&snapshot.MountOptions{Use: use, Target: m.Target, Attr: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV})
	if err != nil {
		_ = removeMount(m)
		return m, err
	}
	return m, unix.Close(fd)
}

// mountTime bounds how long others who mount and unmount are waited for: what they do under the lock takes milliseconds.
const mountTime = 20 * time.Second

// lockMounts serialises those who mount and unmount. The directory of a mount goes with it and can be locked by nobody.
func (s *Service) lockMounts(ctx context.Context) (unlock func(), err error) {
	path := s.mountsDir()
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "mounts of images: %w", err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "open %s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, mountTime)
	defer cancel()
	if err := atomicfile.Flock(ctx, fd, atomicfile.Exclusive); err != nil {
		_ = unix.Close(fd)
		return nil, errdef.Errorf(errdef.KindOf(err), "lock %s: %w", path, err)
	}
	return func() { _ = unix.Close(fd) }, nil
}

// Unmount takes away what Mount shows of an image.
func (s *Service) Unmount(name string) (Mount, error) {
	unlock, err := s.lockMounts(context.Background())
	if err != nil {
		return Mount{}, err
	}
	defer unlock()
	for _, m := range s.mounts() {
		img, err := s.Find(name, nil)
		if m.Image.Encoded() != name && m.Image.String() != name && (err != nil || img.ID != m.Image) {
			continue
		}
		if err := snapshot.Unmount(m.Target); err != nil {
			return m, err
		}
		return m, removeMount(m)
	}
	return Mount{}, errdef.Errorf(errdef.NotFound, "unmount image %q: it is not mounted", name)
}

// removeMount removes the directory of a mount that is gone, and never what is in one that is not.
func removeMount(m Mount) error {
	dir := filepath.Dir(m.Target)
	if err := os.Remove(m.Target); err != nil && !os.IsNotExist(err) {
		return errdef.Errorf(errdef.Unavailable, "unmount image: %w", err)
	}
	_ = os.Remove(filepath.Join(dir, "mount.json"))
	_ = os.Remove(dir)
	return nil
}

// Mounts returns what is mounted.
func (s *Service) Mounts() []Mount { return s.mounts() }

// mounts reads the records, and forgets those whose mount is gone: after a restart of the machine, or by hand.
func (s *Service) mounts() []Mount {
	entries, err := os.ReadDir(s.mountsDir())
	if err != nil {
		return nil
	}
	var out []Mount
	for _, e := range entries {
		var m Mount
		dir := filepath.Join(s.mountsDir(), e.Name())
		data, err := os.ReadFile(filepath.Join(dir, "mount.json"))
		if err != nil || json.Unmarshal(data, &m) != nil || filepath.Dir(m.Target) != dir {
			continue
		}
		if mounted(m.Target) {
			out = append(out, m)
		}
	}
	return out
}

// mounted reports whether something is mounted on a directory: it lies on another device than its parent.
func mounted(path string) bool {
	var a, b unix.Stat_t
	return unix.Lstat(path, &a) == nil && unix.Lstat(filepath.Dir(path), &b) == nil && a.Dev != b.Dev
}

// UseChain locks the unpacked layers of a container, whose image may have lost its names. An empty chain has none, and nothing to lock.
func (s *Service) UseChain(ctx context.Context, chain digest.Digest) (*snapshot.Use, error) {
	if chain == "" {
		return nil, nil
	}
	return s.snaps.Use(ctx, chain)
}
