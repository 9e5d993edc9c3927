package extract

import (
	"errors"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/tarstream"
	"golang.org/x/sys/unix"
)

// special deals with names that begin with ".wh.". done says that the entry is none of its own.
func (t *Tree) special(path string, h *tarstream.Header) (done bool, err error) {
	if !strings.Contains(path, whiteoutPrefix) {
		return false, nil
	}
	dir, name := split(path)
	if strings.HasPrefix(path, metaPrefix) && path != opaqueName { // AUFS kept its own state in the root of a layer; Docker's old layers have it
		t.result.Skipped.Meta++
		return true, nil
	}
	for part := range strings.SplitSeq(dir, "/") {
		if strings.HasPrefix(part, whiteoutPrefix) {
			return true, errdef.Errorf(errdef.Invalid, "its directory %s has the name of a whiteout", quote(part))
		}
	}
	if !strings.HasPrefix(name, whiteoutPrefix) {
		return false, nil
	}
	if h.Type == tarstream.Dir {
		return true, errdef.Errorf(errdef.Invalid, "a directory with the name of a whiteout")
	}
	if name == opaqueName {
		return true, t.setOpaque(dir)
	}
	victim := name[len(whiteoutPrefix):]
	switch {
	case victim == "" || victim == "." || victim == "..":
		return true, errdef.Errorf(errdef.Invalid, "a whiteout of nothing")
	case strings.HasPrefix(victim, whiteoutPrefix):
		return true, errdef.Errorf(errdef.Invalid, "a whiteout of a whiteout")
	}
	return true, t.whiteout(join(dir, victim))
}

// whiteout hides a name of lower layers. What this layer has under it stays; a directory becomes opaque.
func (t *Tree) whiteout(path string) error {
	at, err := t.place(path, true)
	if err != nil {
		return err
	}
	err = unix.Mknodat(at.dir, at.name, unix.S_IFCHR, 0)
	if err == unix.EEXIST {
		var st unix.Stat_t
		if err := unix.Fstatat(at.dir, at.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return failed("look at what is hidden", err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return t.markOpaque(at.path)
		}
		return nil
	}
	if err != nil {
		return failed("make the whiteout", err)
	}
	return nil
}

// setOpaque makes a directory hide that of lower layers.
func (t *Tree) setOpaque(dir string) error {
	if dir == "" {
		t.result.Opaque = true
		return nil
	}
	at, err := t.place(join(dir, "."), true)
	if err != nil {
		return err
	}
	real, _ := split(at.path)
	return t.markOpaque(real)
}

func (t *Tree) markOpaque(path string) error {
	if _, ok := t.opaque[path]; ok {
		return nil
	}
	t.opaque[path] = struct{}{}
	if !t.UserXattr {
		if err := t.Host.Opaque(path); err != nil {
			return err
		}
		return nil
	}
	fd, err := openBeneath(t.root, path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return failed("open the opaque directory", err)
	}
	defer unix.Close(fd)
	if err := unix.Fsetxattr(fd, overlayPrefix+"opaque", []byte("y"), 0); err != nil {
		return failed("mark the opaque directory", err)
	}
	return nil
}

func (t *Tree) isWhiteout(at place) bool {
	var st unix.Stat_t
	err := unix.Fstatat(at.dir, at.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// unwhiteout puts a directory in the place of a whiteout: it hides the lower one as the whiteout did.
func (t *Tree) unwhiteout(at place, mode uint32) error {
	if err := unix.Unlinkat(at.dir, at.name, 0); err != nil {
		return err
	}
	if err := unix.Mkdirat(at.dir, at.name, mode); err != nil {
		return err
	}
	return t.markOpaque(at.path)
}

func (t *Tree) link(at place, h *tarstream.Header) error {
	target, err := t.clean(h.Link)
	if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "a hard link to %s: %w", quote(h.Link), err)
	}
	if strings.HasPrefix(target, whiteoutPrefix) || strings.Contains(target, "/"+whiteoutPrefix) {
		return errdef.Errorf(errdef.Invalid, "a hard link to %s, which has the name of a whiteout", quote(h.Link))
	}
	if target == "" {
		return errdef.Errorf(errdef.Invalid, "a hard link to the root")
	}
	to, err := t.place(target, false)
	var st unix.Stat_t
	if err == nil {
		err = unix.Fstatat(to.dir, to.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	switch err {
	case nil:
	case unix.ENOENT, unix.ENOTDIR:
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "a hard link to %s, which this layer does not have", quote(h.Link)),
			"a hard link cannot reach into a lower layer; the layer must carry the file")
	default:
		return errdef.Errorf(errdef.KindOf(err), "a hard link to %s: %w", quote(h.Link), err)
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return errdef.Errorf(errdef.Invalid, "a hard link to the directory %s", quote(h.Link))
	case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0:
		return errdef.Errorf(errdef.Invalid, "a hard link to %s, which is a whiteout", quote(h.Link))
	case strings.HasPrefix(to.path, at.path+"/"):
		return errdef.Errorf(errdef.Invalid, "a hard link to %s in the place of a directory that holds it", quote(h.Link))
	}
	return t.linkTo(at, to, &st)
}

// linkTo links a place to another; a link to itself is there already.
func (t *Tree) linkTo(at, to place, want *unix.Stat_t) error {
	var have unix.Stat_t
	err := unix.Fstatat(at.dir, at.name, &have, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && have.Dev == want.Dev && have.Ino == want.Ino {
		return nil
	}
	// Both directories may be closed and opened again on the way.
	return t.make(&at, "make the hard link", func(dir int) error {
		from, _ := split(to.path)
		fd, err := t.dir(from)
		if err != nil {
			return err
		}
		if dir != t.root {
			to, _ := split(at.path)
			if dir, err = t.dir(to); err != nil {
				return err
			}
		}
		return unix.Linkat(fd, to.name, dir, at.name, 0)
	})
}

// node makes a FIFO or, with the engine's help, a device.
func (t *Tree) node(at place, h *tarstream.Header, kind uint32) error {
	mode := kind | uint32(h.Mode&0o777)
	if kind != unix.S_IFIFO {
		if h.Major < 0 || h.Major >= 1<<12 || h.Minor < 0 || h.Minor >= 1<<20 {
			return errdef.Errorf(errdef.Invalid, "a device %d:%d; numbers go to 4095:1048575", h.Major, h.Minor)
		}
		if kind == unix.S_IFCHR && h.Major == 0 && h.Minor == 0 {
			return t.whiteout(at.path) // the archive of an overlay's directory, made by something that knows no overlay
		}
		if !t.Devices {
			t.result.Skipped.Devices++
			return nil
		}
	}
	device := unix.Mkdev(uint32(h.Major), uint32(h.Minor))
	err := t.make(&at, "make the node", func(dir int) error {
		if kind == unix.S_IFIFO {
			return unix.Mknodat(dir, at.name, mode, 0)
		}
		return t.Host.Node(at.path, mode, device)
	})
	if kind != unix.S_IFIFO && errors.Is(err, unix.EPERM) { // root without CAP_MKNOD
		t.result.Skipped.Devices++
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.setNamed(at, h); err != nil {
		return err
	}
	if h.Mode&0o7000 != 0 || t.setgid || kind != unix.S_IFIFO { // the engine's umask is its own
		if err := unix.Fchmodat(at.dir, at.name, uint32(h.Mode&0o7777), 0); err != nil {
			return failed("set the mode", err)
		}
	}
	return nil
}
