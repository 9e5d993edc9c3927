package selinux

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// An Owner is whom a tree is given to, by the ids that its files have on the host.
type Owner struct {
	UID, GID uint32
	Guard    []string // as a Volume's
}

// Give gives a file, or a directory and all below, to an owner: what :U behind -v does. It has nothing to do with labels, but goes the same way as Relabel: by descriptors, following no link below
// the root, into no other mount, past device files, and not where the host needs its files as they are. Errors are Relabel's.
func Give(ctx context.Context, path string, o Owner) (Done, error) {
	fd := -1
	err := sys.Retry(func() (err error) { fd, err = unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0); return err })
	if err != nil {
		return Done{}, errdef.Errorf(kindOf(err), "chown %q: %w", path, err)
	}
	defer unix.Close(fd)
	return GiveAt(ctx, fd, path, o)
}

// GiveAt is Give for a descriptor, so that what is given is what will be mounted. The name is for messages.
func GiveAt(ctx context.Context, fd int, name string, o Owner) (Done, error) {
	r := relabeller{name: name, owner: &o, extra: o.Guard}
	return r.run(ctx, fd)
}

// give changes the owner of what a descriptor names, O_PATH or not, if it is another.
func (r *relabeller) give(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Uid == r.owner.UID && st.Gid == r.owner.GID {
		return nil
	}
	err := sys.Retry(func() error { return unix.Fchownat(fd, "", int(r.owner.UID), int(r.owner.GID), unix.AT_EMPTY_PATH) })
	switch err {
	case nil:
		r.done.Written++
	case unix.ENOENT, unix.ESTALE: // removed since it was opened
		err = nil
	}
	return err
}
