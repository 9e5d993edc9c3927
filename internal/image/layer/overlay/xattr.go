package overlay

import (
	"archive/tar"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"golang.org/x/sys/unix"
)

const (
	fileCaps  = "security.capability"
	aclAccess = "system.posix_acl_access"
	aclDeflt  = "system.posix_acl_default"
	record    = "SCHILY.xattr."
)

// carried reports whether a layer carries an attribute; it is what package extract takes.
func carried(name string) bool {
	switch name {
	case fileCaps, aclAccess, aclDeflt:
		return true
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

// xattrs puts the attributes of an open file into its header.
func (a *archiver) xattrs(v *visit, fd int, h *tar.Header) error {
	names, err := listXattrs(fd)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "list the attributes of %s: %w", quote(v.path), err)
	}
	for _, name := range names {
		if !carried(name) {
			continue
		}
		buf := make([]byte, unix.PathMax*16) // XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(fd, name, buf)
		if err == unix.ENODATA {
			continue
		}
		if err != nil {
			return errdef.Errorf(errdef.Internal, "read the attribute %.100q of %s: %w", name, quote(v.path), err)
		}
		value, ok := a.tree.inside(name, buf[:n])
		if !ok {
			a.result.Skipped.Xattrs++
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[record+name] = string(value)
	}
	return nil
}

func listXattrs(fd int) ([]string, error) {
	buf := make([]byte, 1024)
	for {
		n, err := unix.Flistxattr(fd, buf)
		if err == unix.ERANGE {
			buf = make([]byte, 64<<10) // XATTR_LIST_MAX
			n, err = unix.Flistxattr(fd, buf)
		}
		if err == unix.ENOTSUP || n == 0 {
			return nil, nil
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
		slices.Sort(names)
		return names, nil
	}
}

// inside turns an attribute that holds ids into what the container sees. ok is false for one that means nothing there.
func (t *Tree) inside(name string, value []byte) ([]byte, bool) {
	switch name {
	case fileCaps:
		return t.capability(value)
	case aclAccess, aclDeflt:
		return t.acl(value)
	}
	return value, true
}

// capability makes file capabilities of a user namespace's root (revision 3, capabilities(7)) those of root.
func (t *Tree) capability(value []byte) ([]byte, bool) {
	const revision, revision2, revision3 = 0xff000000, 0x02000000, 0x03000000
	if len(value) < 4 {
		return nil, false
	}
	magic := binary.LittleEndian.Uint32(value)
	if magic&revision != revision3 {
		return value, true
	}
	if len(value) != 24 {
		return nil, false
	}
	root := binary.LittleEndian.Uint32(value[20:])
	if id, ok := idmap.ToInside(t.IDs.UIDs, root); root != 0 && (!ok || id != 0) {
		return nil, false
	}
	out := binary.LittleEndian.AppendUint32(nil, magic&^uint32(revision)|revision2)
	return append(out, value[4:20]...), true
}

// acl maps the ids in an access control list (acl(5); linux/posix_acl_xattr.h: version 2, then tag, permissions and id of each entry).
func (t *Tree) acl(value []byte) ([]byte, bool) {
	const user, group = 0x02, 0x08
	if len(value)%8 != 4 {
		return nil, false
	}
	out := slices.Clone(value)
	if t.IDs.Empty() {
		return out, true
	}
	for e := out[4:]; len(e) > 0; e = e[8:] {
		ranges := t.IDs.UIDs
		switch binary.LittleEndian.Uint16(e) {
		case user:
		case group:
			ranges = t.IDs.GIDs
		default:
			continue
		}
		id, ok := idmap.ToInside(ranges, binary.LittleEndian.Uint32(e[4:]))
		if !ok {
			return nil, false
		}
		binary.LittleEndian.PutUint32(e[4:], id)
	}
	return out, true
}
