package transfer

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// A Target is where an archive is unpacked.
type Target struct {
	Dir    string // directory, which is there
	Name   string // of the top in it, "." for the directory itself
	Owners bool   // keep owners, and the bits that give others their power
}

// Unpack writes what an archive has.
func Unpack(r io.Reader, to Target) error {
	root, err := os.OpenRoot(to.Dir)
	if err != nil {
		return errdef.Errorf(errdef.NotFound, "unpack: %w", err)
	}
	defer root.Close()
	u := &unpacker{root: root, to: to}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "unpack: %w", err)
		}
		if err := u.entry(h, t); err != nil {
			if errdef.KindOf(err) != errdef.Internal {
				return err
			}
			return errdef.Errorf(errdef.Unavailable, "unpack %q: %w", h.Name, err)
		}
	}
	if u.top == "" {
		return errdef.Errorf(errdef.Invalid, "unpack: the archive is empty")
	}
	for i := len(u.dirs) - 1; i >= 0; i-- { // when nothing changes them any more
		d := u.dirs[i]
		if err := root.Chmod(d.name, d.mode); err != nil {
			return errdef.Errorf(errdef.Unavailable, "unpack: %w", err)
		}
		_ = root.Chtimes(d.name, d.at, d.at) // a file system may have no times
	}
	return nil
}

type unpacker struct {
	root *os.Root
	to   Target
	top  string // name of the first entry
	dirs []made
}

// A made directory gets its mode and time in the end.
type made struct {
	name string
	mode fs.FileMode
	at   time.Time
}

// place is the name of an entry below the directory.
func (u *unpacker) place(name string) (string, error) {
	clean := path.Clean("/" + name)[1:]
	if clean == "" {
		clean = "."
	}
	if u.top == "" {
		u.top = clean
	}
	rest, ok := clean, true
	if u.top != "." {
		rest, ok = strings.CutPrefix(clean, u.top)
		ok = ok && (rest == "" || rest[0] == '/')
	}
	if !ok {
		return "", errdef.Errorf(errdef.Invalid, "unpack: %q is not below %q, which the archive is of", name, u.top)
	}
	return path.Join(u.to.Name, rest), nil
}

func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name, err := u.place(h.Name)
	if err != nil {
		return err
	}
	mode := h.FileInfo().Mode()
	if !u.to.Owners {
		mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
	bits := mode & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	if h.Typeflag == tar.TypeDir {
		return u.dir(name, bits, h)
	}
	if err := u.clear(name); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		err = u.file(name, r)
	case tar.TypeSymlink:
		err = u.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		var other string
		if other, err = u.place(h.Linkname); err == nil {
			err = u.root.Link(other, name)
		}
		return err
	case tar.TypeFifo:
		err = u.fifo(name)
	default:
		err := errdef.Errorf(errdef.Unsupported, "unpack: %q is a device, which is not made here", h.Name)
		return errdef.WithHint(err, "cp CONTAINER:PATH - writes the archive as it is")
	}
	if err == nil && u.to.Owners {
		err = u.root.Lchown(name, h.Uid, h.Gid)
	}
	if err != nil || h.Typeflag == tar.TypeSymlink {
		return err
	}
	if err := u.root.Chmod(name, bits); err != nil {
		return err
	}
	_ = u.root.Chtimes(name, h.ModTime, h.ModTime) // a file system may have no times
	return nil
}

// dir makes a directory, or takes the one that is there.
func (u *unpacker) dir(name string, bits fs.FileMode, h *tar.Header) error {
	st, err := u.root.Lstat(name)
	if err == nil && st.Mode()&fs.ModeSymlink != 0 && name == u.to.Name { // what the user named
		st, err = u.root.Stat(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = u.root.Mkdir(name, 0o700)
	case err == nil && !st.IsDir():
		return errdef.Errorf(errdef.Conflict, "unpack: %q is there and no directory", name)
	case err == nil: // it keeps what it is
		return nil
	}
	if err != nil {
		return err
	}
	if u.to.Owners {
		if err := u.root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	u.dirs = append(u.dirs, made{name, bits, h.ModTime})
	return nil
}

// clear takes away what stands where a file goes.
func (u *unpacker) clear(name string) error {
	st, err := u.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.IsDir():
		return errdef.Errorf(errdef.Conflict, "unpack: %q is there and a directory", name)
	}
	return u.root.Remove(name)
}

func (u *unpacker) file(name string, r io.Reader) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// fifo makes a named pipe in a directory that was opened below the root.
func (u *unpacker) fifo(name string) error {
	dir, err := u.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Mkfifoat(int(dir.Fd()), path.Base(name), 0o600)
}
