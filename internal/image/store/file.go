package store

import (
	"io"
	"os"
	"sort"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// kindOf gives an errno of a file system the kind that the user can act on.
func kindOf(err error) errdef.Kind {
	switch err {
	case unix.ENOENT:
		return errdef.NotFound
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return errdef.Denied
	case unix.ENOSPC, unix.EDQUOT:
		return errdef.Unavailable
	case unix.ELOOP, unix.ENOTDIR, unix.EISDIR, unix.ENXIO, unix.EXDEV:
		return errdef.Conflict // something else stands where a file of ours should
	}
	return errdef.Internal
}

// trouble says why a file in the store is none of ours, "" if it is one.
func (s *Store) trouble(st *unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFIFO:
		return "a FIFO"
	default:
		return "a device or a socket"
	}
	if st.Uid != s.uid {
		return "a file of another user"
	}
	if st.Mode&0o002 != 0 { // 0664 is what a umask of 002 leaves to other tools, and the root is closed
		return "a file that everybody can write"
	}
	return ""
}

// openFile opens a file of ours for reading and returns its size. O_NONBLOCK keeps a FIFO from blocking the open; it is taken off again.
func (s *Store) openFile(dir int, name string) (*os.File, int64, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, errdef.Errorf(kindOf(err), "%w", err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		if what := s.trouble(&st); what != "" {
			err = errdef.Errorf(errdef.Conflict, "%s stands in its place", what)
		} else {
			err = unix.SetNonblock(fd, false)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, 0, err
	}
	return os.NewFile(uintptr(fd), name), st.Size, nil
}

// readFile reads a whole file of ours.
func (s *Store) readFile(dir int, name string, most int64) ([]byte, error) {
	f, size, err := s.openFile(dir, name)
	if err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "open %q: %w", name, err)
	}
	defer f.Close()
	return readAll(f, name, size, most)
}

func readAll(f *os.File, name string, size, most int64) ([]byte, error) {
	if size > most {
		return nil, errdef.Errorf(errdef.Invalid, "%q has %d bytes, at most %d are read", name, size, most)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "read %q: %w", name, err)
	}
	return data, nil
}

// readDir returns the sorted names in an open directory, with a read position of its own.
func readDir(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "open a directory of the image store: %w", err)
	}
	f := os.NewFile(uintptr(fd), "directory")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "list a directory of the image store: %w", err)
	}
	sort.Strings(names)
	return names, nil
}
