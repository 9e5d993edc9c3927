package extract

import (
	"io"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/tarstream"
	"golang.org/x/sys/unix"
)

// clear removes what is in the place of an entry.
func (t *Tree) clear(at place) error {
	err := unix.Unlinkat(at.dir, at.name, 0)
	if err != unix.EISDIR {
		clear(t.aliases) // it may have been a link
		return err
	}
	t.flush() // at.dir is among what is closed now
	dir, _ := split(at.path)
	if at.dir, err = t.dir(dir); err != nil {
		return err
	}
	err = RemoveAll(at.dir, at.name)
	t.flush()
	t.forget(at.path)
	return err
}

// forget drops what was noted about a directory that is gone.
func (t *Tree) forget(path string) {
	gone := func(p string) bool { return p == path || strings.HasPrefix(p, path) && p[len(path)] == '/' }
	for p := range t.times {
		if gone(p) {
			delete(t.times, p)
		}
	}
	for p := range t.impliedDirs {
		if gone(p) {
			delete(t.impliedDirs, p)
		}
	}
	for p := range t.opaque {
		if gone(p) {
			delete(t.opaque, p)
		}
	}
}

// make calls a system call that makes an entry, in a directory that may have to be opened again.
func (t *Tree) make(at *place, what string, call func(dir int) error) error {
	err := call(at.dir)
	if err == unix.EEXIST {
		if err = t.clear(*at); err != nil {
			return failed("remove what is in its place", err)
		}
		dir, _ := split(at.path)
		if at.dir, err = t.dir(dir); err == nil {
			err = call(at.dir)
		}
	}
	if err != nil {
		return failed(what, err)
	}
	return nil
}

func (t *Tree) file(at place, h *tarstream.Header, r *tarstream.Reader) error {
	fd := -1
	err := t.make(&at, "make the file", func(dir int) (err error) {
		fd, err = unix.Openat(dir, at.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(h.Mode&0o777))
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := fill(fd, h, r); err != nil {
		return err
	}
	if err := t.setOwner(h, func(uid, gid int) error { return unix.Fchown(fd, uid, gid) }); err != nil {
		return err
	}
	if h.Mode&0o7000 != 0 || t.setgid {
		if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
			return failed("set the mode", err)
		}
	}
	if err := t.setXattrs(fd, h, true); err != nil {
		return err
	}
	return setTime(fd, "", h)
}

// A hole is made of whole pages, and of minHole bytes at least: below that an extent costs more than it saves.
const (
	page    = 4 << 10
	minHole = 16 << 10
)

var zeros [page]byte

// fill writes the data of a file. Zeros become holes, so that a file that was sparse when an archiver without a notion of it read it is sparse again.
func fill(fd int, h *tarstream.Header, r *tarstream.Reader) error {
	w := writer{fd: fd}
	spans := h.Sparse
	if !h.IsSparse() {
		spans = []tarstream.Span{{Offset: 0, Length: h.Size}}
	}
	var piece []byte
	for _, s := range spans {
		w.offset = s.Offset
		for left := s.Length; left > 0; {
			if len(piece) == 0 {
				var err error
				if piece, err = r.Data(); err == io.EOF {
					return errdef.Errorf(errdef.Internal, "its data ends early")
				} else if err != nil {
					return err
				}
			}
			n := min(int64(len(piece)), left)
			if err := w.write(piece[:n]); err != nil {
				return failed("write the file", err)
			}
			piece = piece[n:]
			left -= n
		}
	}
	if w.end < h.Size { // a hole at the end
		if err := unix.Ftruncate(fd, h.Size); err != nil {
			return failed("set the size of the file", err)
		}
	}
	return nil
}

// A writer writes at an offset and leaves out zeros.
type writer struct {
	fd     int
	offset int64
	end    int64 // of what was written
}

func (w *writer) write(b []byte) error {
	for len(b) > 0 {
		n, hole := w.data(b)
		for done := 0; done < n; {
			m, err := unix.Pwrite(w.fd, b[done:n], w.offset+int64(done))
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return err
			}
			done += m
		}
		if n > 0 {
			w.end = w.offset + int64(n)
		}
		w.offset += int64(n + hole)
		b = b[n+hole:]
	}
	return nil
}

// data returns how many bytes of b come before the next hole, and how long that is.
func (w *writer) data(b []byte) (data, hole int) {
	at := int(-w.offset & (page - 1)) // the first page that begins in b
	for at+page <= len(b) {
		end := at
		for end+page <= len(b) && b[end] == 0 && b[end+page-1] == 0 && string(b[end:end+page]) == string(zeros[:]) {
			end += page
		}
		if end-at >= minHole {
			return at, end - at
		}
		at = end + page
	}
	return len(b), 0
}

func (t *Tree) directory(at place, h *tarstream.Header) error {
	err := unix.Mkdirat(at.dir, at.name, uint32(h.Mode&0o777))
	made := err == nil
	if err == unix.EEXIST {
		made, err = t.replaceByDir(&at, h)
	}
	if err != nil {
		return failed("make the directory", err)
	}
	delete(t.impliedDirs, at.path)
	if err := t.setDir(at, h, made); err != nil {
		return err
	}
	t.times[at.path] = timespec(h)
	return nil
}

// replaceByDir deals with what is in the place of a directory: another directory stays.
func (t *Tree) replaceByDir(at *place, h *tarstream.Header) (made bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(at.dir, at.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return false, nil
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
		return true, t.unwhiteout(*at, uint32(h.Mode&0o777))
	}
	if err := unix.Unlinkat(at.dir, at.name, 0); err != nil {
		return false, err
	}
	clear(t.aliases) // it may have been a link
	return true, unix.Mkdirat(at.dir, at.name, uint32(h.Mode&0o777))
}

// setDir sets what mkdirat has not.
func (t *Tree) setDir(at place, h *tarstream.Header, made bool) error {
	if made && h.UID == 0 && h.GID == 0 && h.Mode&0o7000 == 0 && !t.setgid && len(h.Xattrs) == 0 {
		return nil
	}
	// O_PATH would do for owner and mode, not for attributes.
	fd, err := openBeneath(at.dir, at.name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return failed("open the directory", err)
	}
	defer unix.Close(fd)
	return t.setOpenDir(fd, h)
}

func (t *Tree) setOpenDir(fd int, h *tarstream.Header) error {
	t.setgid = t.setgid || h.Mode&unix.S_ISGID != 0
	owner := func(uid, gid int) error { return unix.Fchown(fd, uid, gid) }
	if err := t.chown(int(h.UID), int(h.GID), owner); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return failed("set the mode", err)
	}
	return t.setXattrs(fd, h, false)
}

// rootEntry is the entry of the root itself.
func (t *Tree) rootEntry(h *tarstream.Header) error {
	if h.Type != tarstream.Dir {
		return errdef.Errorf(errdef.Invalid, "it would replace the root by something that is no directory")
	}
	fd, err := openBeneath(t.root, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return failed("open the root", err)
	}
	defer unix.Close(fd)
	delete(t.impliedDirs, "")
	t.times[""] = timespec(h)
	return t.setOpenDir(fd, h)
}

func (t *Tree) symlink(at place, h *tarstream.Header) error {
	switch {
	case h.Link == "":
		return errdef.Errorf(errdef.Invalid, "a symbolic link to nothing")
	case len(h.Link) > t.limits.Path:
		return errdef.Errorf(errdef.Invalid, "a symbolic link to a name of %d bytes; the bound is %d", len(h.Link), t.limits.Path)
	}
	if err := t.make(&at, "make the link", func(dir int) error { return unix.Symlinkat(h.Link, dir, at.name) }); err != nil {
		return err
	}
	return t.setNamed(at, h)
}

// setNamed sets owner and time of what is not opened.
func (t *Tree) setNamed(at place, h *tarstream.Header) error {
	owner := func(uid, gid int) error { return unix.Fchownat(at.dir, at.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW) }
	if err := t.setOwner(h, owner); err != nil {
		return err
	}
	t.result.Skipped.Xattrs += int64(len(h.Xattrs)) // of the kept namespaces none is for these
	return setTime(at.dir, at.name, h)
}
