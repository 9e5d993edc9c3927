package state

import (
	"context"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// A Store is the root directory of a runtime's containers.
type Store struct {
	Root string // absolute
	fd   int
}

// maxID bounds identifiers: the name of a directory is at most 255 bytes (NAME_MAX), and cgroups and temporary names add to it.
const maxID = 200

// contest is how long Claim waits for the lock of a directory whose create may have been killed.
const contest = 50 * time.Millisecond

// claims bounds how often Claim starts over because somebody removed what was in the way.
const claims = 100

// ValidID checks a container's identifier: letters, digits, and _ + - . and neither "." nor "..". These are the characters that runc
// takes; there is no separator among them, and none that a shell or terminal interprets.
func ValidID(id string) error {
	if id == "" {
		return errdef.Errorf(errdef.Invalid, "container id: is empty")
	}
	if len(id) > maxID {
		return errdef.Errorf(errdef.Invalid, "container id: has %d bytes, at most %d are allowed", len(id), maxID)
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '+', c == '-', c == '.':
		default:
			return errdef.Errorf(errdef.Invalid, "container id %q: invalid container ID format: only letters, digits and _+-. are allowed", id)
		}
	}
	if id == "." || id == ".." {
		return errdef.Errorf(errdef.Invalid, "container id %q: invalid container ID format: it names a directory", id)
	}
	return nil
}

// Open opens the root, and makes it, mode 0700, if make says so. A root that is missing is of kind NotFound, one that others could have
// written to of kind Denied.
func Open(root string, make bool) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "root %q: %w", root, err)
	}
	if root == "/" {
		return nil, errdef.Errorf(errdef.Invalid, "root: may not be /")
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(root, flags, 0)
	if err == unix.ENOENT && make {
		if err := os.MkdirAll(root, 0o700); err != nil {
			return nil, errdef.Errorf(errdef.Denied, "make root: %w", err)
		}
		fd, err = unix.Open(root, flags, 0)
	}
	switch err {
	case nil:
	case unix.ENOENT:
		return nil, errdef.Errorf(errdef.NotFound, "open root %q: %w", root, err)
	case unix.ELOOP, unix.ENOTDIR:
		return nil, errdef.Errorf(errdef.Denied, "open root %q: is a symbolic link or no directory", root)
	default:
		return nil, errdef.Errorf(errdef.Denied, "open root %q: %w", root, err)
	}
	s := &Store{Root: root, fd: fd}
	if err := s.checkOwner(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// checkOwner refuses a root in which somebody else could have prepared records.
func (s *Store) checkOwner() error {
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return errdef.Errorf(errdef.Internal, "stat root %q: %w", s.Root, err)
	}
	if st.Uid != 0 && int(st.Uid) != unix.Geteuid() {
		return errdef.Errorf(errdef.Denied, "root %q: belongs to user %d", s.Root, st.Uid)
	}
	if st.Mode&0o022 != 0 {
		err := errdef.Errorf(errdef.Denied, "root %q: others may write to it (mode %04o)", s.Root, st.Mode&0o7777)
		return errdef.WithHint(err, "chmod go-w "+s.Root+", if nobody has used it so far")
	}
	return nil
}

// Close closes the root. Directories that were opened stay open.
func (s *Store) Close() { unix.Close(s.fd) }

// IDs returns the names of the directories, sorted. Some may be gone when they are opened, and some may be garbage.
func (s *Store) IDs() ([]string, error) {
	entries, err := os.ReadDir(s.Root)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read root: %w", err)
	}
	ids := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() && ValidID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	sort.Strings(ids)
	return ids, nil
}

// Dir opens a container's directory without its lock, to look. A container that is not there is of kind NotFound.
func (s *Store) Dir(id string) (*Dir, error) {
	if err := ValidID(id); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(s.fd, id, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
		root, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			unix.Close(fd)
			return nil, errdef.Errorf(errdef.Unavailable, "duplicate the root's descriptor: %w", err)
		}
		return &Dir{ID: id, Path: filepath.Join(s.Root, id), fd: fd, root: root}, nil
	case unix.ENOENT:
		return nil, notFound(id)
	}
	return nil, errdef.Errorf(errdef.Denied, "open the state of container %q: %w", id, err)
}

func notFound(id string) error {
	return errdef.Errorf(errdef.NotFound, "container %q: does not exist", id)
}

// Lock opens a container's directory and waits for its lock until ctx ends.
func (s *Store) Lock(ctx context.Context, id string, how atomicfile.How) (*Dir, error) {
	d, err := s.Dir(id)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Flock(ctx, d.fd, how); err != nil {
		d.Close()
		err = errdef.Errorf(errdef.KindOf(err), "lock container %q: %w", id, err)
		return nil, errdef.WithHint(err, "another command, perhaps a hook, is at work on this container")
	}
	if !d.current() {
		d.Close()
		return nil, notFound(id)
	}
	d.locked = true
	return d, nil
}

// Claim makes the directory of a new container and locks it. If there is one, the error is of kind Exists, except for what a killed
// create left behind: then that directory is ours, locked, and crashed is its record, for the caller to clean up after.
func (s *Store) Claim(ctx context.Context, id string) (d *Dir, crashed *Record, err error) {
	if err := ValidID(id); err != nil {
		return nil, nil, err
	}
	for range claims {
		err := unix.Mkdirat(s.fd, id, 0o700)
		if err != nil && err != unix.EEXIST {
			return nil, nil, errdef.Errorf(errdef.Denied, "make the state of container %q: %w", id, err)
		}
		if err == nil {
			d, err := s.fresh(ctx, id)
			if errdef.Is(err, errdef.NotFound) {
				continue
			}
			return d, nil, err
		}
		d, crashed, err := s.remains(ctx, id)
		if d != nil || err != nil && !errdef.Is(err, errdef.NotFound) {
			return d, crashed, err
		}
	}
	return nil, nil, errdef.Errorf(errdef.Conflict, "claim container %q: others make and remove it all the time", id)
}

// fresh locks the directory that we have just made. Between mkdir and the lock it may have been taken for garbage and removed, and by now another
// may stand in its place, with a container in it: that is NotFound, and the claim starts over.
func (s *Store) fresh(ctx context.Context, id string) (*Dir, error) {
	d, err := s.Lock(ctx, id, atomicfile.Exclusive)
	if errdef.Is(err, errdef.NotFound) {
		return nil, err
	}
	if err != nil {
		_ = unix.Unlinkat(s.fd, id, unix.AT_REMOVEDIR) // it is empty, or somebody else's by now and not removed
		return nil, err
	}
	if _, err := d.Load(); !errdef.Is(err, errdef.NotFound) {
		d.Close()
		return nil, notFound(id)
	}
	return d, nil
}

// remains looks at a directory that is in the way. It returns it when a killed create left it; an error of kind NotFound says that it is
// gone now.
func (s *Store) remains(ctx context.Context, id string) (*Dir, *Record, error) {
	exists := errdef.Errorf(errdef.Exists, "container %q: container with given ID already exists", id)
	d, err := s.Dir(id)
	if err != nil {
		return nil, nil, err
	}
	if rec, err := d.Load(); err == nil && rec.Phase != Creating {
		d.Close()
		return nil, nil, exists
	}
	d.Close()
	// Either a create is at work, which holds the lock for longer than this, or it was killed. Dir.Idle takes the lock for an instant.
	ctx, cancel := context.WithTimeout(ctx, contest)
	defer cancel()
	d, err = s.Lock(ctx, id, atomicfile.Exclusive)
	if errdef.Is(err, errdef.Timeout) {
		return nil, nil, exists
	}
	if err != nil {
		return nil, nil, err
	}
	rec, err := d.Load()
	switch {
	case errdef.Is(err, errdef.NotFound):
		err = d.Remove()
		d.Close()
		if err == nil {
			err = notFound(id)
		}
		return nil, nil, err
	case err != nil || rec.Phase != Creating:
		d.Close()
		return nil, nil, exists
	}
	return d, rec, nil
}
