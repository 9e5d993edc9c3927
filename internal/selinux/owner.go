package selinux

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// An Owner is whom a tree is given to, by the ids that its files have on the host.
type Owner struct {
	UID, GID uint32
	Guard    []string // as a Volume's
}

// GiveAt gives what a descriptor names, O_PATH or not, a file, or a directory and all below, to an owner: what :U behind -v does, so that what is given is what will be
// mounted. It has nothing to do with labels, but goes the same way as Relabel: by descriptors, following no link below the root, into no other mount, past device files,
// and not where the host needs its files as they are. The name is for messages. Errors are Relabel's.
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
