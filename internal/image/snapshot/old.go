package snapshot

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

// errOld says that the kernel's overlayfs is from before 6.5: what fsconfig(2) sets is put together to one line of options as mount(2) takes it, unread until the
// mount is made, and its lower directories stand in one of them.
var errOld = errors.New("overlayfs from before 6.5")

// detachedLayers is the version from which overlayfs takes directories of detached mounts. Aside works everywhere, so that a wrong version costs time only.
var detachedLayers = sys.Version{Major: 6, Minor: 15}

// errAside says that the mount has to be made in a mount namespace of its own.
var errAside = errors.New("overlayfs wants layers that are mounted somewhere")

// takesAnything reports whether the options of a file system are not looked at when they are set. The descriptor is then of no more use.
func takesAnything(fs int) bool {
	return unix.FsconfigSetString(fs, "bulkhead_no_such_option", "x") == nil
}

// Bounds of the old ways, in bytes with the zero at the end (fs/fsopen.c, fs/namespace.c).
const (
	maxString  = 256
	maxOptions = 4096
)

// old makes the mount on such a kernel: by fsconfig(2), if one string has room for all lower directories, or else by mount(2).
func (m *mounting) old() (int, error) {
	var paths []string
	for _, fd := range m.lower {
		paths = append(paths, byFD(fd))
	}
	lower := strings.Join(paths, ":")
	if len(lower) < maxString {
		return m.configured(func(fs int) error { return unix.FsconfigSetString(fs, "lowerdir", lower) })
	}
	if !m.aside {
		return -1, errAside
	}
	list := []string{"lowerdir=" + lower}
	for i, fd := range m.dirs {
		list = append(list, [...]string{"upperdir=", "workdir="}[i]+byFD(fd))
	}
	for _, set := range m.settings() {
		switch {
		case set.key == "source":
		case set.value == "":
			list = append(list, set.key)
		case set.key == labelOption: // a label has a comma between its categories
			list = append(list, set.key+`="`+set.value+`"`)
		default:
			list = append(list, set.key+"="+set.value)
		}
	}
	options := strings.Join(list, ",")
	if len(options) >= maxOptions {
		err := errdef.Errorf(errdef.Unsupported, "mount of layers: this kernel has no room for the names of %d", len(m.lower))
		return -1, errdef.WithHint(err, "a kernel from 6.7 on has; or make an image with fewer layers: bulkhead export, bulkhead import")
	}
	return m.mount(options)
}

// mount calls mount(2), on a directory that nobody else sees it on, and takes the mount from there.
func (m *mounting) mount(options string) (int, error) {
	at := m.o.empty()
	if err := unix.Mount("bulkhead", at, "overlay", 0, options); err != nil {
		return -1, errdef.Errorf(errdef.Internal, "mount of %d layers: %w", len(m.lower), err)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, at, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, errdef.Errorf(errdef.Internal, "mount of layers: open_tree: %w", err)
	}
	if attr := m.attr(); attr != 0 {
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: uint64(attr)}); err != nil {
			unix.Close(fd)
			return -1, errdef.Errorf(errdef.Internal, "mount of layers: mount_setattr: %w", err)
		}
	}
	return fd, nil
}

// aside makes the mount in a mount namespace of a thread of its own, which ends with it. There the layers can be mounted without anybody seeing it: before Linux 6.15
// overlayfs takes no directory of a mount that is in another mount namespace than the caller's, as a detached one is, and layers with mapped ids are.
func aside(o *MountOptions) (int, error) {
	fd := -1
	var err error
	thread.Spend(func() {
		if e := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); e != nil {
			err = errdef.Errorf(errdef.Denied, "mount of layers: a mount namespace: %w", e)
			return
		}
		if e := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); e != nil {
			err = errdef.Errorf(errdef.Internal, "mount of layers: a private tree: %w", e)
			return
		}
		m := &mounting{o: o, aside: true}
		fd, err = m.make()
	})
	return fd, err
}

// attach mounts layers that are detached, each on a directory of a small file system.
func (m *mounting) attach() error {
	if m.o.IDs.Empty() && m.o.Dirs == nil {
		return nil
	}
	at := m.o.empty()
	if err := unix.Mount("bulkhead", at, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		return errdef.Errorf(errdef.Internal, "mount of layers: a place for them: %w", err)
	}
	for i, fd := range m.lower {
		dir := filepath.Join(at, strconv.Itoa(i))
		if err := unix.Mkdir(dir, 0o700); err != nil {
			return errdef.Errorf(errdef.Internal, "mount of layers: %w", err)
		}
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return errdef.Errorf(errdef.Internal, "mount of layers: %s: %w", dir, err)
		}
	}
	return nil
}
