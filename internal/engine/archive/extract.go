package archive

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/extract"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"golang.org/x/sys/unix"
)

// Options say how an archive is extracted.
type Options struct {
	KeepKind bool    // no directory is replaced by something else, nor the other way round
	Owner    *[2]int // of all that is made, inside; nil: that of each entry
}

// tries is how often a name that is taken again and again is freed.
const tries = 16

// Extract puts what is in an archive into a directory, which must be there. What has the name of an entry is replaced, but for directories, which are filled. A name that
// leads out of the directory is refused. Device nodes are.
func (r *Root) Extract(ctx context.Context, dir string, archive io.Reader, o Options) error {
	fd, err := resolve.InRoot(r.FD, dir, unix.O_PATH)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	_ = unix.Close(fd)
	if err != nil {
		return wrap(err, "%.256q", dir)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return errdef.Errorf(errdef.Invalid, "extraction point %.256q is not a directory", dir)
	}
	x := &extractor{root: r, dir: path.Clean("/" + dir), o: o, buf: make([]byte, 64<<10)}
	t := tar.NewReader(bufio.NewReaderSize(archive, 64<<10))
	for {
		if ctx.Err() != nil {
			return errdef.Errorf(errdef.Timeout, "extract: %w", context.Cause(ctx))
		}
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "extract: the archive: %w", err)
		}
		if err := x.entry(h, t); err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "extract %.256q: %w", h.Name, err), errdef.Hint(err))
		}
	}
	x.setTimes()
	return nil
}

// An extractor fills one directory.
type extractor struct {
	root *Root
	dir  string
	o    Options
	buf  []byte
	dirs []*tar.Header // whose times are set when nothing is made in them any more
}

// maxDirs bounds how many directories get their times.
const maxDirs = 100_000

// below returns the name below the directory, "" for the directory itself.
func below(name string) (string, error) {
	if strings.Contains(name, "\x00") {
		return "", errdef.Errorf(errdef.Invalid, "NUL in a name")
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") {
		return "", errdef.Errorf(errdef.Invalid, "leads out of the directory")
	}
	if clean == "." {
		return "", nil
	}
	return clean, nil
}

// parent opens the directory of a name, and makes it if it is not there.
func (x *extractor) parent(name string) (int, error) {
	dir := path.Join(x.dir, path.Dir(name))
	fd, err := resolve.InRoot(x.root.FD, dir, unix.O_PATH|unix.O_DIRECTORY)
	if errdef.Is(err, errdef.NotFound) {
		fd, err = resolve.MkdirAll(x.root.FD, dir, 0o755)
	}
	return fd, err
}

func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := below(h.Name)
	if err != nil {
		return err
	}
	if name == "" {
		if h.Typeflag != tar.TypeDir {
			return errdef.Errorf(errdef.Invalid, "is no directory, and has no name")
		}
		return nil // the directory is there
	}
	dir, err := x.parent(name)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeDir:
		return x.directory(dir, base, name, h)
	case tar.TypeReg, tar.TypeGNUSparse:
		return x.file(dir, base, h, content)
	case tar.TypeSymlink:
		return x.make(dir, base, h, func() error { return unix.Symlinkat(h.Linkname, dir, base) })
	case tar.TypeFifo:
		return x.make(dir, base, h, func() error { return unix.Mkfifoat(dir, base, uint32(h.Mode&0o7777)) })
	case tar.TypeLink:
		return x.link(dir, base, h)
	case tar.TypeChar, tar.TypeBlock:
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "a device node"), "give the container the device with --device")
	}
	return errdef.Errorf(errdef.Unsupported, "an entry of type %q", h.Typeflag)
}

// free removes what has a name, if it may. kept says that it is a mount point, which stays.
func (x *extractor) free(dir int, name string) (kept bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st); err != nil {
		return false, nil //nolint:nilerr // nothing is there, or whoever makes it is told
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch mounted := st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0; {
	case mounted && !isDir:
		return true, nil
	case mounted:
		return false, errdef.Errorf(errdef.Conflict, "is a mount point, and cannot be replaced")
	case isDir && x.o.KeepKind:
		return false, errdef.Errorf(errdef.Conflict, "cannot overwrite directory with non-directory")
	}
	if err := extract.RemoveAll(dir, name); err != nil {
		return false, wrap(err, "replace")
	}
	return false, nil
}

// make frees a name and makes something of it. Somebody may be quicker, again and again, but not for ever.
func (x *extractor) make(dir int, name string, h *tar.Header, do func() error) error {
	err := error(unix.EEXIST)
	for range tries {
		kept, ferr := x.free(dir, name)
		if ferr == nil && kept {
			ferr = errdef.Errorf(errdef.Conflict, "is a mount point, and cannot be replaced")
		}
		if ferr != nil {
			return ferr
		}
		if err = do(); err != unix.EEXIST {
			break
		}
	}
	if err != nil {
		return wrap(err, "make")
	}
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return wrap(err, "make")
	}
	defer unix.Close(fd)
	return x.finish(fd, h)
}

// directory makes a directory, or takes the one that is there.
func (x *extractor) directory(dir int, base, name string, h *tar.Header) error {
	err := unix.Mkdirat(dir, base, 0o700)
	if err == unix.EEXIST {
		var st unix.Stat_t
		if e := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); e != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if x.o.KeepKind {
				return errdef.Errorf(errdef.Conflict, "cannot overwrite non-directory with directory")
			}
			if e := extract.RemoveAll(dir, base); e != nil {
				return wrap(e, "replace")
			}
			err = unix.Mkdirat(dir, base, 0o700)
		} else {
			err = nil
		}
	}
	if err != nil {
		return wrap(err, "make")
	}
	fd, err := unix.Openat(dir, base, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return wrap(err, "open")
	}
	defer unix.Close(fd)
	if len(x.dirs) < maxDirs {
		x.dirs = append(x.dirs, &tar.Header{Name: name, ModTime: h.ModTime})
	}
	return x.finish(fd, h)
}

// file makes a regular file. One that is a mount point, as /etc/hosts, is filled.
func (x *extractor) file(dir int, name string, h *tar.Header, content io.Reader) error {
	fd := -1
	err := error(unix.EEXIST)
	for range tries {
		kept, ferr := x.free(dir, name)
		if ferr != nil {
			return ferr
		}
		if kept {
			return x.fill(dir, name, content)
		}
		if fd, err = unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600); err != unix.EEXIST {
			break
		}
	}
	if err != nil {
		return wrap(err, "make")
	}
	defer unix.Close(fd)
	if err := x.copy(fd, content); err != nil {
		return err
	}
	return x.finish(fd, h)
}

// fill writes into a file that stays where it is.
func (x *extractor) fill(dir int, name string, content io.Reader) error {
	at, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return wrap(err, "open")
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errdef.Errorf(errdef.Conflict, "is a mount point, and no file")
	}
	fd, err := unix.Openat(x.root.Self, strconv.Itoa(at), unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return wrap(err, "open")
	}
	defer unix.Close(fd)
	return x.copy(fd, content)
}

func (x *extractor) copy(fd int, content io.Reader) error {
	for {
		n, err := content.Read(x.buf)
		for b := x.buf[:n]; len(b) > 0; {
			w, err := unix.Write(fd, b)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return wrap(err, "write")
			}
			b = b[w:]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "the archive: %w", err)
		}
	}
}

// link makes another name of a file that the archive has brought, or that was there.
func (x *extractor) link(dir int, base string, h *tar.Header) error {
	target, err := below(h.Linkname)
	if err != nil || target == "" {
		return errdef.Errorf(errdef.Invalid, "link to %.256q: leads out of the directory", h.Linkname)
	}
	from, err := resolve.InRoot(x.root.FD, path.Join(x.dir, path.Dir(target)), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "link to %.256q: %w", h.Linkname, err)
	}
	defer unix.Close(from)
	var one, two unix.Stat_t
	if unix.Fstatat(from, path.Base(target), &one, unix.AT_SYMLINK_NOFOLLOW) == nil && unix.Fstatat(dir, base, &two, unix.AT_SYMLINK_NOFOLLOW) == nil && one.Dev == two.Dev && one.Ino == two.Ino {
		return nil // to itself: nothing is to be removed
	}
	kept, err := x.free(dir, base)
	if err == nil && kept {
		err = errdef.Errorf(errdef.Conflict, "is a mount point, and cannot be replaced")
	}
	if err != nil {
		return err
	}
	if err := unix.Linkat(from, path.Base(target), dir, base, 0); err != nil {
		return wrap(err, "link to %.256q", h.Linkname)
	}
	return nil
}

// finish gives what was made its owner, its mode and its time, in this order: a change of owner takes set-id bits.
func (x *extractor) finish(fd int, h *tar.Header) error {
	owner := [2]int{h.Uid, h.Gid}
	if x.o.Owner != nil {
		owner = *x.o.Owner
	}
	uid, err := outside(x.root.IDs.UIDs, owner[0], "user")
	if err != nil {
		return err
	}
	gid, err := outside(x.root.IDs.GIDs, owner[1], "group")
	if err != nil {
		return err
	}
	if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return wrap(err, "owner %d:%d", owner[0], owner[1])
	}
	if h.Typeflag == tar.TypeSymlink {
		return nil
	}
	if err := unix.Fchmodat(x.root.Self, strconv.Itoa(fd), uint32(h.Mode&0o7777), 0); err != nil {
		return wrap(err, "mode %o", h.Mode)
	}
	if h.Typeflag == tar.TypeDir {
		return nil
	}
	return x.setTime(fd, h.ModTime)
}

func (x *extractor) setTime(fd int, t time.Time) error {
	if t.Unix() == 0 {
		t = time.Now()
	}
	ts := []unix.Timespec{unix.NsecToTimespec(time.Now().UnixNano()), unix.NsecToTimespec(t.UnixNano())}
	if err := unix.UtimesNanoAt(x.root.Self, strconv.Itoa(fd), ts, 0); err != nil {
		return wrap(err, "time")
	}
	return nil
}

// outside is an id on the host.
func outside(ranges []idmap.Range, id int, what string) (int, error) {
	if len(ranges) == 0 {
		return id, nil
	}
	if id >= 0 && id <= 1<<32-2 {
		if n, ok := idmap.ToOutside(ranges, uint32(id)); ok {
			return int(n), nil
		}
	}
	err := errdef.Errorf(errdef.Invalid, "%s %d: the container has no such id", what, id)
	return -1, errdef.WithHint(err, "its ids are 0 to "+strconv.FormatUint(uint64(ranges[len(ranges)-1].Inside)+uint64(ranges[len(ranges)-1].Count)-1, 10))
}

// setTimes sets the times of directories, where they still are.
func (x *extractor) setTimes() {
	for i := len(x.dirs) - 1; i >= 0; i-- {
		fd, err := resolve.InRoot(x.root.FD, path.Join(x.dir, x.dirs[i].Name), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			continue
		}
		_ = x.setTime(fd, x.dirs[i].ModTime)
		_ = unix.Close(fd)
	}
}
