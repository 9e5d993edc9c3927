package overlay

import (
	"context"
	"slices"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"golang.org/x/sys/unix"
)

// Bounds of a tree that can become a layer which Unpack takes.
const (
	maxDepth = 256
	maxPath  = 4095
)

// A Tree is an upper directory and what lies below it. Descriptors must be open for reading.
type Tree struct {
	Upper     int
	Lower     []int         // nil: not known, and marks of opaque directories stay
	UserXattr bool          // marks are in the user namespace of attributes
	IDs       idmap.Mapping // of the container whose ids the upper directory has; empty: none
}

// Close closes all descriptors.
func (t *Tree) Close() {
	for _, fd := range append([]int{t.Upper}, t.Lower...) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// A visit is one name in the upper directory.
type visit struct {
	path     string
	name     string
	dir      int // the directory it is in
	fd       int // a directory, open; else -1
	stat     unix.Stat_t
	whiteout bool
	opaque   bool
	below    unix.Stat_t // what the lower layers have under the name
	isBelow  bool
	lower    []int // where it is a directory: those of the lower layers that it covers or is merged with
}

// walk calls do for each name below the upper directory, in order, a directory before what is in it; and then, if it is not nil, after.
func (t *Tree) walk(ctx context.Context, do, after func(*visit) error) error {
	w := &walker{tree: t, ctx: ctx, do: do, after: after}
	return w.directory(t.Upper, t.Lower, "", 0)
}

type walker struct {
	tree      *Tree
	ctx       context.Context
	do, after func(*visit) error
}

func (w *walker) directory(dir int, lower []int, path string, depth int) error {
	names, err := list(dir)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "list %s: %w", quote(path), err)
	}
	for _, name := range names {
		if w.ctx.Err() != nil {
			return errdef.Errorf(errdef.Timeout, "read the changes: %w", context.Cause(w.ctx))
		}
		v := &visit{name: name, path: name, dir: dir, fd: -1}
		if path != "" {
			v.path = path + "/" + name
		}
		if len(v.path) > maxPath || depth == maxDepth {
			return errdef.Errorf(errdef.Invalid, "%s: a name of %d bytes, %d directories deep; a layer takes %d and %d", quote(v.path), len(v.path), depth, maxPath, maxDepth)
		}
		if err := w.visit(v, lower, depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) visit(v *visit, lower []int, depth int) error {
	defer v.close()
	err := unix.Fstatat(v.dir, v.name, &v.stat, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return nil // the container still runs
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "look at %s: %w", quote(v.path), err)
	}
	v.whiteout = isWhiteout(&v.stat)
	if err := w.tree.lookBelow(v, lower); err != nil {
		return err
	}
	isDir := v.stat.Mode&unix.S_IFMT == unix.S_IFDIR
	if isDir {
		if v.fd, err = open(v.dir, v.name, unix.O_DIRECTORY); err != nil {
			return errdef.Errorf(errdef.Internal, "open %s: %w", quote(v.path), err)
		}
		v.opaque = w.tree.isOpaque(v.fd)
	}
	if err := w.do(v); err != nil {
		return err
	}
	if isDir {
		merged := v.lower
		if v.opaque {
			merged = nil
		}
		if err := w.directory(v.fd, merged, v.path, depth+1); err != nil {
			return err
		}
	}
	if w.after == nil {
		return nil
	}
	return w.after(v)
}

func (v *visit) close() {
	if v.fd >= 0 {
		unix.Close(v.fd)
	}
	for _, fd := range v.lower {
		unix.Close(fd)
	}
}

// lookBelow finds what the lower layers show under the name of v.
func (t *Tree) lookBelow(v *visit, lower []int) error {
	for _, dir := range lower {
		var st unix.Stat_t
		err := unix.Fstatat(dir, v.name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return errdef.Errorf(errdef.Internal, "look at %s in a lower layer: %w", quote(v.path), err)
		}
		if isWhiteout(&st) {
			return nil
		}
		isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if !v.isBelow {
			v.below, v.isBelow = st, true
		}
		if !isDir {
			return nil
		}
		fd, err := open(dir, v.name, unix.O_DIRECTORY)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "open %s in a lower layer: %w", quote(v.path), err)
		}
		v.lower = append(v.lower, fd)
		if t.isOpaque(fd) {
			return nil
		}
	}
	return nil
}

// isOpaque reads overlayfs' mark. "y" is an opaque directory; "x" one that holds whiteouts in the form of attributes (kernel 6.7), which this
// engine's mounts do not make.
func (t *Tree) isOpaque(fd int) bool {
	name := "trusted.overlay.opaque"
	if t.UserXattr {
		name = "user.overlay.opaque"
	}
	var value [1]byte
	n, err := unix.Fgetxattr(fd, name, value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

func isWhiteout(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

// open opens a name in a directory for reading, without following a link or waiting for the other end of a FIFO.
func open(dir int, name string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | flags),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(dir, name, &how)
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// list returns the names in a directory, sorted.
func list(dir int) ([]string, error) {
	if _, err := unix.Seek(dir, 0, 0); err != nil {
		return nil, err
	}
	buf := make([]byte, 32<<10)
	var names []string
	for {
		n, err := unix.Getdents(dir, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

func quote(path string) string {
	const most = 200
	if len(path) > most {
		path = path[:most] + "..."
	}
	return strconv.Quote("/" + path)
}
