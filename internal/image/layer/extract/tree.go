package extract

import (
	"context"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/tarstream"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/wire"
	"golang.org/x/sys/unix"
)

// A Host does what the worker has no right to. Paths are below the root and have no links.
type Host interface {
	Node(path string, mode uint32, device uint64) error
	Opaque(path string) error // sets trusted.overlay.opaque
}

// Options of a Tree. The umask of the process must be 0.
type Options struct {
	Root      int // descriptor of an empty directory (O_PATH does), which stays the caller's
	Limits    wire.Limits
	Host      Host // nil: devices are skipped, and UserXattr must be set
	Devices   bool // Host makes device nodes
	UserXattr bool // user.overlay.opaque instead of trusted.overlay.opaque
	Squash    bool // ids that the user namespace does not map become 0
}

// A Tree is a layer on its way into a directory.
type Tree struct {
	Options
	root        int
	limits      wire.Limits
	open        map[string]int    // directories by path
	aliases     map[string]string // paths through links, and where they lead
	times       map[string]unix.Timespec
	impliedDirs map[string]struct{}
	opaque      map[string]struct{}
	setgid      bool // some directory passes its group on
	result      wire.Result
}

// New begins a tree.
func New(o *Options) (*Tree, error) {
	t := &Tree{
		Options: *o, root: o.Root, limits: o.Limits.Default(), open: map[string]int{}, aliases: map[string]string{},
		times: map[string]unix.Timespec{}, impliedDirs: map[string]struct{}{"": {}}, opaque: map[string]struct{}{},
	}
	var st unix.Stat_t
	if err := unix.Fstat(t.root, &st); err != nil {
		return nil, failed("look at the root", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, errdef.Errorf(errdef.Invalid, "the root is no directory")
	}
	t.setgid = st.Mode&unix.S_ISGID != 0
	return t, nil
}

// Unpack makes everything that the archive holds and returns what it did, also beside an error. Bytes, Read and DiffID are the stream's.
func (t *Tree) Unpack(ctx context.Context, r *tarstream.Reader) (wire.Result, error) {
	defer t.flush()
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return t.result, err
		}
		if t.result.Entries++; t.result.Entries > t.limits.Entries {
			return t.result, errdef.Errorf(errdef.Invalid, "more than %d entries", t.limits.Entries)
		}
		if ctx.Err() != nil {
			return t.result, errdef.Errorf(errdef.Timeout, "unpack: %w", context.Cause(ctx))
		}
		if err := t.entry(h, r); err != nil {
			return t.result, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "entry %s: %w", quote(h.Name), err), errdef.Hint(err))
		}
	}
	if err := r.Drain(); err != nil {
		return t.result, err
	}
	return t.result, t.finish()
}

// finish sets the times of directories, which every entry in them has changed.
func (t *Tree) finish() error {
	for path := range t.impliedDirs { // no time is known: the same layer shall give the same tree
		t.times[path] = unix.Timespec{}
	}
	if err := t.setTimes(); err != nil {
		return err
	}
	size := 0
	for _, path := range slices.Sorted(maps.Keys(t.impliedDirs)) {
		if size += len(path); len(t.result.Implied) == wire.MaxImplied || size > wire.MaxImpliedBytes {
			break
		}
		t.result.Implied = append(t.result.Implied, path)
	}
	return nil
}

func (t *Tree) setTimes() error {
	for path, mtime := range t.times {
		t.limit()
		fd, err := t.dir(path)
		if err != nil {
			return failed("open directory "+quote(path), err)
		}
		if err := unix.UtimesNanoAt(fd, ".", []unix.Timespec{mtime, mtime}, 0); err != nil {
			return failed("set the time of "+quote(path), err)
		}
	}
	return nil
}

// entry makes one entry.
func (t *Tree) entry(h *tarstream.Header, r *tarstream.Reader) error {
	t.limit()
	path, err := t.clean(h.Name)
	if err != nil {
		return err
	}
	if done, err := t.special(path, h); done || err != nil {
		return err
	}
	if err := t.check(h); err != nil {
		return err
	}
	if path == "" {
		return t.rootEntry(h)
	}
	at, err := t.place(path, true)
	if err != nil {
		return err
	}
	switch h.Type {
	case tarstream.File:
		return t.file(at, h, r)
	case tarstream.Dir:
		return t.directory(at, h)
	case tarstream.Symlink:
		return t.symlink(at, h)
	case tarstream.Link:
		return t.link(at, h)
	case tarstream.FIFO:
		return t.node(at, h, unix.S_IFIFO)
	case tarstream.Char:
		return t.node(at, h, unix.S_IFCHR)
	case tarstream.Block:
		return t.node(at, h, unix.S_IFBLK)
	}
	return errdef.Errorf(errdef.Invalid, "it is of type %q, which an image layer does not have", string(rune(h.Type)))
}

// check looks at the fields of an entry that need no system call.
func (t *Tree) check(h *tarstream.Header) error {
	const noID = 1<<32 - 1
	if h.UID < 0 || h.UID >= noID || h.GID < 0 || h.GID >= noID {
		return errdef.Errorf(errdef.Invalid, "it belongs to %d:%d; ids go from 0 to %d", h.UID, h.GID, int64(noID-1))
	}
	if h.Size > t.limits.FileBytes {
		return errdef.Errorf(errdef.Invalid, "a file of %d bytes; the bound is %d", h.Size, t.limits.FileBytes)
	}
	if len(h.Xattrs) > t.limits.Xattrs {
		return errdef.Errorf(errdef.Invalid, "it has %d extended attributes; the bound is %d", len(h.Xattrs), t.limits.Xattrs)
	}
	n := 0
	for _, x := range h.Xattrs {
		n += len(x.Name) + len(x.Value)
	}
	if n > t.limits.XattrBytes {
		return errdef.Errorf(errdef.Invalid, "its extended attributes have %d bytes; the bound is %d", n, t.limits.XattrBytes)
	}
	return nil
}

// failed gives an error of the kernel words.
func failed(what string, err error) error {
	switch err {
	case unix.ENOSPC, unix.EDQUOT:
		return errdef.WithHint(errdef.Errorf(errdef.Unavailable, "%s: the disk is full: %w", what, err), "free some space, or prune images")
	case unix.EINVAL, unix.ENAMETOOLONG, unix.EFBIG:
		return errdef.Errorf(errdef.Invalid, "%s: %w", what, err)
	case unix.EMLINK:
		return errdef.Errorf(errdef.Invalid, "%s: more links than the file system allows: %w", what, err)
	}
	return errdef.Errorf(errdef.Internal, "%s: %w", what, err)
}

// quote makes a name of the archive fit for a line.
func quote(name string) string {
	const most = 200
	if len(name) > most {
		name = name[:most] + "..."
	}
	return strconv.Quote(name)
}

func timespec(h *tarstream.Header) unix.Timespec {
	return unix.Timespec{Sec: h.Seconds, Nsec: h.Nanoseconds}
}
