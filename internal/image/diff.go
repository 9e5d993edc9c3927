package image

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"golang.org/x/sys/unix"
)

// A Difference is a file that is not the same in two images.
type Difference struct {
	Kind byte // A: only in the second; D: only in the first; C: it is another, or its owner, mode or time is
	Path string
}

// Bounds of a comparison.
const (
	maxDifferences = 500_000
	maxDiffDepth   = 1000
)

// Diff compares the files of two images, as containers see them: their layers put together. It needs to mount them, which only root can.
func (s *Service) Diff(ctx context.Context, from, to string) ([]Difference, error) {
	d := &differ{ctx: ctx}
	var roots [2]int
	for i, name := range []string{from, to} {
		img, err := s.Find(name, nil)
		if err != nil {
			return nil, err
		}
		use, err := s.Use(ctx, img)
		if err != nil {
			return nil, err
		}
		if use == nil {
			return nil, errdef.Errorf(errdef.Invalid, "diff: image %q has no layers", name)
		}
		defer use.Close()
		if roots[i], err = snapshot.Mount(&snapshot.MountOptions{Use: use, Attr: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}); err != nil {
			return nil, err
		}
		defer unix.Close(roots[i])
	}
	err := d.directories(roots[0], roots[1], "")
	return d.found, err
}

type differ struct {
	ctx   context.Context
	found []Difference
	depth int
	a, b  [64 << 10]byte
}

func (d *differ) add(kind byte, path string) error {
	if len(d.found) == maxDifferences {
		return errdef.Errorf(errdef.Unsupported, "diff: more than %d files differ", maxDifferences)
	}
	d.found = append(d.found, Difference{kind, path})
	return nil
}

// list opens a directory by its descriptor, which may be O_PATH, and returns one that can be read, and the names in it, sorted.
func list(fd int) (*os.File, []string, error) {
	own, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, errdef.Errorf(errdef.Unavailable, "diff: open a directory: %w", err)
	}
	f := os.NewFile(uintptr(own), "directory")
	names, err := f.Readdirnames(-1)
	if err != nil {
		_ = f.Close()
		return nil, nil, errdef.Errorf(errdef.Unavailable, "diff: read a directory: %w", err)
	}
	slices.Sort(names)
	return f, names, nil
}

// directories compares what two directories hold.
func (d *differ) directories(a, b int, path string) error {
	if d.ctx.Err() != nil {
		return errdef.Errorf(errdef.Timeout, "diff: %w", context.Cause(d.ctx))
	}
	if d.depth++; d.depth > maxDiffDepth {
		return errdef.Errorf(errdef.Invalid, "diff: directories more than %d deep", maxDiffDepth)
	}
	defer func() { d.depth-- }()
	fa, na, err := list(a)
	if err != nil {
		return err
	}
	defer fa.Close()
	fb, nb, err := list(b)
	if err != nil {
		return err
	}
	defer fb.Close()
	for len(na) > 0 || len(nb) > 0 {
		switch {
		case len(nb) == 0 || len(na) > 0 && na[0] < nb[0]:
			err, na = d.alone('D', int(fa.Fd()), na[0], path), na[1:]
		case len(na) == 0 || nb[0] < na[0]:
			err, nb = d.alone('A', int(fb.Fd()), nb[0], path), nb[1:]
		default:
			err, na, nb = d.both(int(fa.Fd()), int(fb.Fd()), na[0], path), na[1:], nb[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// alone adds what is in one image only, with all that is below it.
func (d *differ) alone(kind byte, dir int, name, path string) error {
	path += "/" + name
	if err := d.add(kind, path); err != nil {
		return err
	}
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil //nolint:nilerr // no directory
	}
	defer unix.Close(fd)
	if d.depth++; d.depth > maxDiffDepth {
		return errdef.Errorf(errdef.Invalid, "diff: directories more than %d deep", maxDiffDepth)
	}
	defer func() { d.depth-- }()
	f, names, err := list(fd)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, n := range names {
		if err := d.alone(kind, int(f.Fd()), n, path); err != nil {
			return err
		}
	}
	return nil
}

// both compares two files of one name.
func (d *differ) both(a, b int, name, path string) error {
	path += "/" + name
	var sa, sb unix.Stat_t
	for _, f := range []struct {
		dir int
		st  *unix.Stat_t
	}{{a, &sa}, {b, &sb}} {
		if err := unix.Fstatat(f.dir, name, f.st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return errdef.Errorf(errdef.Unavailable, "diff %q: %w", path, err)
		}
	}
	isDir := func(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
	if sa.Mode&unix.S_IFMT != sb.Mode&unix.S_IFMT {
		if !isDir(&sa) && !isDir(&sb) {
			return d.add('C', path)
		}
		parent := path[:len(path)-len(name)-1]
		if err := d.alone('D', a, name, parent); err != nil {
			return err
		}
		return d.alone('A', b, name, parent)
	}
	same, err := d.same(a, b, name, &sa, &sb)
	if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "diff %q: %w", path, err)
	}
	if !same {
		if err := d.add('C', path); err != nil {
			return err
		}
	}
	if !isDir(&sa) {
		return nil
	}
	var fds [2]int
	for i, dir := range []int{a, b} {
		if fds[i], err = unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
			return errdef.Errorf(errdef.Unavailable, "diff %q: %w", path, err)
		}
		defer unix.Close(fds[i])
	}
	return d.directories(fds[0], fds[1], path)
}

// same compares owner, mode and what a file holds. Of a directory the time counts for nothing: it says that something in it differs.
func (d *differ) same(a, b int, name string, sa, sb *unix.Stat_t) (bool, error) {
	if sa.Mode != sb.Mode || sa.Uid != sb.Uid || sa.Gid != sb.Gid {
		return false, nil
	}
	switch sa.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return true, nil
	case unix.S_IFLNK:
		na, err := unix.Readlinkat(a, name, d.a[:])
		if err != nil {
			return false, err
		}
		nb, err := unix.Readlinkat(b, name, d.b[:])
		return err == nil && bytes.Equal(d.a[:na], d.b[:nb]), err
	case unix.S_IFREG:
	default:
		return sa.Rdev == sb.Rdev, nil
	}
	if sa.Size != sb.Size || sa.Mtim != sb.Mtim {
		return false, nil
	}
	if sa.Ino == sb.Ino && sa.Ctim == sb.Ctim { // of one layer: overlayfs shows the inode below
		return true, nil
	}
	return d.content(a, b, name)
}

func (d *differ) content(a, b int, name string) (bool, error) {
	var files [2]*os.File
	for i, dir := range []int{a, b} {
		fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return false, errdef.Errorf(errdef.Unavailable, "open: %w", err)
		}
		files[i] = os.NewFile(uintptr(fd), "file")
		defer files[i].Close()
	}
	for {
		if d.ctx.Err() != nil {
			return false, errdef.Errorf(errdef.Timeout, "%w", context.Cause(d.ctx))
		}
		na, ea := io.ReadFull(files[0], d.a[:])
		nb, eb := io.ReadFull(files[1], d.b[:])
		if !bytes.Equal(d.a[:na], d.b[:nb]) {
			return false, nil
		}
		for _, err := range []error{ea, eb} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return false, errdef.Errorf(errdef.Unavailable, "read: %w", err)
			}
		}
		if ea != nil {
			return true, nil
		}
	}
}
