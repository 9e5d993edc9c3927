package volume

import (
	"context"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/events"
	api "github.com/moby/moby/api/types/volume"
	"golang.org/x/sys/unix"
)

// Create makes a volume. One that is there with the same options is fine, as Docker has it.
func (s *Service) Create(ctx context.Context, o api.CreateRequest) (api.Volume, error) {
	var out api.Volume
	switch {
	case o.Driver != "" && o.Driver != Driver:
		return out, errdef.WithHint(errdef.Errorf(errdef.Unsupported, "volume driver %.64q: there is no such one", o.Driver), "the driver is "+Driver)
	case o.ClusterVolumeSpec != nil:
		return out, errdef.Errorf(errdef.Unsupported, "volume: there are no clusters, and no volumes of one")
	case o.Name != "" && !ValidName(o.Name):
		return out, errdef.Errorf(errdef.Invalid, "create %.256s: %.256q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed", o.Name, o.Name)
	}
	if err := checkOptions(o.DriverOpts); err != nil {
		return out, err
	}
	unlock, err := s.lockAll(ctx)
	if err != nil {
		return out, err
	}
	defer unlock()
	s.sweep()
	if o.Name == "" {
		o.Name = newName()
		o.Labels = with(o.Labels, AnonymousLabel)
	}
	r, err := s.read(o.Name)
	switch {
	case errdef.Is(err, errdef.NotFound):
		if r, err = s.make(o); err != nil {
			return out, err
		}
	case err != nil:
		return out, err
	case len(o.DriverOpts) > 0 && !maps.Equal(o.DriverOpts, r.Options):
		return out, errdef.Errorf(errdef.Conflict, "create %s: volume name conflicts: it exists with other options", o.Name)
	}
	return s.describe(r), nil
}

func with(labels map[string]string, label string) map[string]string {
	out := map[string]string{label: ""}
	maps.Copy(out, labels)
	return out
}

// make makes a volume that is not there. The caller has the lock of all.
func (s *Service) make(o api.CreateRequest) (*record, error) {
	r := &record{Name: o.Name, Created: time.Now().UTC(), Options: o.DriverOpts, Labels: o.Labels, Fresh: !isBind(o.DriverOpts)}
	dir := s.path("." + o.Name + ".new")
	fail := func(err error) (*record, error) {
		_ = os.RemoveAll(dir)
		return nil, errdef.Errorf(errdef.Unavailable, "volume %s: %w", o.Name, err)
	}
	if err := os.MkdirAll(dir+"/"+dataDir, 0o755); err != nil {
		return fail(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fail(err)
	}
	if err := write(dir, r); err != nil {
		return fail(err)
	}
	if err := os.Rename(dir, s.path(o.Name)); err != nil {
		return fail(err)
	}
	s.event(events.ActionCreate, o.Name)
	return r, nil
}

// A Claim keeps a volume from being removed, for as long as it is open.
type Claim struct {
	Name   string
	Source string // the directory that the container gets
	file   *os.File
}

// Close gives it back: by now the container is there, and Options.Users names it.
func (c *Claim) Close() error { return c.file.Close() }

// Take claims a volume for a container that is being made. It is made, if it is not there; one without a name is new.
func (s *Service) Take(ctx context.Context, o api.CreateRequest) (*Claim, error) {
	for {
		v, err := s.Create(ctx, o)
		if err != nil {
			return nil, err
		}
		f, err := lock(ctx, s.path(v.Name), atomicfile.Shared)
		if err == nil && same(f, s.path(v.Name)) {
			return &Claim{v.Name, v.Mountpoint, f}, nil
		}
		if err == nil {
			_ = f.Close() // removed in the meantime
		} else if _, serr := os.Lstat(s.path(v.Name)); serr == nil || ctx.Err() != nil {
			return nil, err
		}
	}
}

// same reports whether an open directory still has its name.
func same(f *os.File, path string) bool {
	var a, b unix.Stat_t
	return unix.Fstat(int(f.Fd()), &a) == nil && unix.Lstat(path, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// Remove removes a volume that no container has. With force one that is not there is fine.
func (s *Service) Remove(ctx context.Context, name string, force bool) error {
	r, err := s.read(name)
	if errdef.Is(err, errdef.NotFound) && force {
		return nil
	}
	if err != nil {
		return err
	}
	users, err := s.users()
	if err != nil {
		return err
	}
	return s.remove(ctx, r, users)
}

// inUse is the error of a volume that is not to be removed.
func inUse(name string, by []string) error {
	err := errdef.Errorf(errdef.Conflict, "remove %s: volume is in use - [%s]", name, strings.Join(by, ", "))
	return errdef.WithHint(err, "remove these containers first")
}

func (s *Service) remove(ctx context.Context, r *record, users map[string][]string) error {
	if by := users[r.Name]; len(by) > 0 {
		return inUse(r.Name, by)
	}
	unlock, err := s.lockAll(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.sweep()
	fd, err := unix.Open(s.path(r.Name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil // by somebody else
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "remove %s: %w", r.Name, err)
	}
	defer unix.Close(fd)
	free, err := atomicfile.TryFlock(fd, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	if !free {
		return errdef.Errorf(errdef.Conflict, "remove %s: volume is in use by a container that is being made", r.Name)
	}
	if users, err = s.users(); err != nil { // one that was made before we had the lock
		return err
	}
	if by := users[r.Name]; len(by) > 0 {
		return inUse(r.Name, by)
	}
	if isTmpfs(r.Options) {
		if err := s.unmount(r.Name); err != nil {
			return err
		}
	}
	trash := s.path("." + r.Name + ".old")
	if err := os.Rename(s.path(r.Name), trash); err != nil {
		return errdef.Errorf(errdef.Unavailable, "remove %s: %w", r.Name, err)
	}
	s.event(events.ActionDestroy, r.Name)
	if err := os.RemoveAll(trash); err != nil {
		return errdef.Errorf(errdef.Unavailable, "remove %s: %w", r.Name, err)
	}
	return nil
}

func (s *Service) users() (map[string][]string, error) {
	if s.o.Users == nil {
		return nil, nil
	}
	return s.o.Users()
}
