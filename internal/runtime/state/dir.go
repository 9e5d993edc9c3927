package state

import (
	"context"
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// journalName is the file of a directory that is this package's.
const journalName = "journal"

// maxFile bounds what is read back, in bytes. A config.json is at most as large where it is loaded first.
const maxFile = 64 << 20

// A Dir is one container's directory, open.
type Dir struct {
	ID   string
	Path string // absolute
	fd   int
	root int // its own descriptor of the store's root
	out  int // the journal, open for adding; 0: not yet

	locked bool // this Dir has the lock
}

// FD is the open directory; it stays the Dir's.
func (d *Dir) FD() int { return d.fd }

// Close closes the directory and gives up its lock.
func (d *Dir) Close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
		unix.Close(d.root)
	}
	if d.out > 0 {
		unix.Close(d.out)
	}
	d.fd, d.root, d.out = -1, -1, 0
}

// Unlock gives up the lock and keeps the directory open.
func (d *Dir) Unlock() {
	_ = unix.Flock(d.fd, unix.LOCK_UN)
	d.locked = false
}

// Idle reports whether nobody holds the lock exclusively. It asks by taking it, for an instant; a record of phase Creating in an idle
// directory is what a killed create left. A Dir that has the lock itself is idle, and keeps it.
func (d *Dir) Idle() bool {
	if d.locked {
		return true
	}
	ok, err := atomicfile.TryFlock(d.fd, atomicfile.Shared)
	if ok {
		d.Unlock()
	}
	return ok && err == nil
}

// Busy reports whether anybody holds the lock, exclusively or shared.
func (d *Dir) Busy() bool {
	ok, err := atomicfile.TryFlock(d.fd, atomicfile.Exclusive)
	if ok {
		d.Unlock()
	}
	return !ok || err != nil
}

// Relock takes the lock of the open directory, and says NotFound if that is no longer the container's.
func (d *Dir) Relock(ctx context.Context, how atomicfile.How) error {
	if err := atomicfile.Flock(ctx, d.fd, how); err != nil {
		return errdef.Errorf(errdef.KindOf(err), "lock container %q: %w", d.ID, err)
	}
	if !d.current() {
		return notFound(d.ID)
	}
	d.locked = true
	return nil
}

// current reports whether the open directory is the one of that name: it may have been removed while we waited for its lock.
func (d *Dir) current() bool {
	var ours, named unix.Stat_t
	if unix.Fstat(d.fd, &ours) != nil || unix.Fstatat(d.root, d.ID, &named, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return false
	}
	return ours.Ino == named.Ino && ours.Dev == named.Dev
}

// Save adds a record, which is from then on the container's.
func (d *Dir) Save(r *Record) error { return d.add(recordEntry, AppendRecord(nil, r)) }

// Load reads the record. A directory without one, and one that was removed meanwhile, is a container that does not exist: NotFound.
func (d *Dir) Load() (*Record, error) {
	data, err := d.last(recordEntry)
	if err != nil {
		return nil, err
	}
	var r Record
	if err := UnmarshalRecord(data, &r); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read the state of container %q: %w", d.ID, err)
	}
	if r.ID != d.ID {
		return nil, errdef.Errorf(errdef.Internal, "read the state of container %q: it is that of %q", d.ID, r.ID)
	}
	return &r, nil
}

// SaveConfig keeps a configuration, byte by byte as it was read.
func (d *Dir) SaveConfig(config []byte) error { return d.add(configEntry, config) }

// Config reads the configuration that SaveConfig kept.
func (d *Dir) Config() (*specs.Spec, error) {
	data, err := d.last(configEntry)
	if err != nil {
		return nil, err
	}
	var spec specs.Spec
	if err := ocijson.UnmarshalSpec(data, &spec); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read the configuration of container %q: %w", d.ID, err)
	}
	return &spec, nil
}

// Remove removes the directory and all that is in it, the record last, so that a removal that is killed can be done again. The caller
// holds the lock.
func (d *Dir) Remove() error {
	if !d.current() { // somebody else's removal, before we had the lock
		return nil
	}
	names, err := d.names()
	if err != nil {
		return errdef.Errorf(errdef.Internal, "remove the state of container %q: %w", d.ID, err)
	}
	for _, name := range names {
		if name == journalName {
			continue
		}
		err := unix.Unlinkat(d.fd, name, 0)
		if err == unix.EISDIR {
			err = os.RemoveAll(d.Path + "/" + name)
		}
		if err != nil && err != unix.ENOENT {
			return errdef.Errorf(errdef.Internal, "remove the state of container %q: %w", d.ID, err)
		}
	}
	if err := unix.Unlinkat(d.fd, journalName, 0); err != nil && err != unix.ENOENT {
		return errdef.Errorf(errdef.Internal, "remove the record of container %q: %w", d.ID, err)
	}
	if err := unix.Unlinkat(d.root, d.ID, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return errdef.Errorf(errdef.Internal, "remove the state of container %q: %w", d.ID, err)
	}
	return nil
}

// names lists the directory. It reads the open descriptor: an os.File would set up the Go runtime's poller, which costs more.
func (d *Dir) names() ([]string, error) {
	if _, err := unix.Seek(d.fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	var names []string
	buf := make([]byte, 4096)
	for {
		n, err := unix.Getdents(d.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 || err != nil {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
