package snapshot

import (
	"errors"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// MaxLayers is how many lower layers overlayfs takes (fs/overlayfs/params.h, OVL_MAX_STACK).
const MaxLayers = 500

// MountOptions say what to mount.
type MountOptions struct {
	Use         *Use
	Dirs        *Dirs         // instead of the layers
	Upper, Work string        // absolute, empty directories of one file system at first; both "": the mount is read-only
	Target      string        // absolute; "": it stays detached, and the descriptor is all there is of it
	IDs         idmap.Mapping // of the container: the layers' ids are shown as these; empty: as they are
	Volatile    bool          // the upper directory is never synced and must not be used again after a crash (overlayfs' volatile)
	Attr        int           // MOUNT_ATTR_* of the mount
	Label       string        // SELinux: of all files in it, for good, whatever their own are (context=); "": they keep their own
}

// Dirs are other directories than layers.
type Dirs struct {
	Mounts []int  // detached mounts of them, the uppermost first, shown with the ids that they are to have; they stay the caller's
	Place  string // an empty directory, for kernels that want them mounted somewhere
}

// empty is a directory that nothing is in.
func (o *MountOptions) empty() string {
	if o.Dirs != nil {
		return o.Dirs.Place
	}
	return o.Use.empty
}

// Mount mounts a chain of layers and returns a descriptor of the mount, which is the caller's. The caller needs CAP_SYS_ADMIN in the user namespace of
// its mount namespace. The upper directory holds ids as the container's processes have them on the host.
//
// overlayfs is told not to follow redirects and metadata-only copies: attributes that make it show a file somewhere else, which no layer of ours has.
func Mount(o *MountOptions) (int, error) {
	if (o.Upper == "") != (o.Work == "") {
		return -1, errdef.Errorf(errdef.Invalid, "mount of layers: an upper directory and a work directory go together")
	}
	// No attempt first: one that fails may leave the work directory marked as never synced, which no mount takes again (overlayfs' volatile).
	var fd int
	err := errAside
	if o.IDs.Empty() && o.Dirs == nil || sys.KernelVersion().AtLeast(detachedLayers) {
		fd, err = (&mounting{o: o}).make()
	}
	if errors.Is(err, errAside) {
		fd, err = aside(o)
	}
	if err != nil {
		return -1, err
	}
	if o.Target == "" {
		return fd, nil
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, o.Target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		unix.Close(fd)
		return -1, errdef.Errorf(errdef.Internal, "mount layers on %s: %w", o.Target, err)
	}
	return fd, nil
}

// Unmount unmounts what Mount mounted on a path, and detaches it if it is busy.
func Unmount(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if err == unix.EBUSY {
		err = unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err != nil {
		return errdef.Errorf(errdef.Internal, "unmount %s: %w", target, err)
	}
	return nil
}

// A mounting is one call of Mount.
type mounting struct {
	o         *MountOptions
	lower     []int // directories, the uppermost first
	dirs      []int // the upper one and its work directory
	userXattr bool
	aside     bool // this thread has a mount namespace of its own
}

// make makes the mount, detached.
func (m *mounting) make() (int, error) {
	defer m.close()
	if err := m.layers(); err != nil {
		return -1, err
	}
	if m.aside {
		if err := m.attach(); err != nil {
			return -1, err
		}
	}
	return m.overlay()
}

func (m *mounting) close() {
	for _, fd := range append(m.lower, m.dirs...) {
		unix.Close(fd)
	}
}

// layers opens the lower directories, mapped if ids are.
func (m *mounting) layers() error {
	if m.o.Dirs != nil {
		return m.others()
	}
	dirs := m.o.Use.Layers()
	if len(dirs) > MaxLayers {
		return errdef.Errorf(errdef.Unsupported, "mount of layers: there are %d, and overlayfs takes %d", len(dirs), MaxLayers)
	}
	for n, i := range m.o.Use.Infos() {
		if n > 0 && i.UserXattr != m.userXattr {
			return errdef.WithHint(errdef.Errorf(errdef.Conflict, "mount of layers: some were unpacked by root and some without"), "give each user a store of his own")
		}
		m.userXattr = i.UserXattr
	}
	users := -1
	if !m.o.IDs.Empty() {
		var err error
		if users, err = idmap.UserNS(m.o.IDs); err != nil {
			return err
		}
		defer unix.Close(users)
	}
	if len(dirs) == 1 && m.o.Upper == "" {
		dirs = append(dirs, m.o.Use.empty) // overlayfs wants two directories at least
	}
	for _, dir := range dirs {
		fd, err := openLayer(dir, users)
		if err != nil {
			return err
		}
		m.lower = append(m.lower, fd)
	}
	return nil
}

// others takes directories that are mounted already.
func (m *mounting) others() error {
	for _, fd := range m.o.Dirs.Mounts {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "mount of layers: %w", err)
		}
		m.lower = append(m.lower, own)
	}
	return nil
}

func openLayer(dir string, users int) (int, error) {
	if users < 0 {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, errdef.Errorf(errdef.Internal, "open layer %s: %w", dir, err)
		}
		return fd, nil
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return -1, errdef.Errorf(errdef.Internal, "open_tree of layer %s: %w", dir, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users)}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return -1, errdef.WithHint(errdef.Errorf(errdef.Unsupported, "map the ids of layer %s: %w", dir, err), "this needs root, a kernel from 5.19 on, and a file system that supports it")
	}
	return fd, nil
}

// overlay makes the mount, detached.
func (m *mounting) overlay() (int, error) {
	for _, dir := range []string{m.o.Upper, m.o.Work} {
		if dir == "" {
			continue
		}
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, errdef.Errorf(errdef.Internal, "mount of layers: %s: %w", dir, err)
		}
		m.dirs = append(m.dirs, fd)
	}
	fd, err := m.configured(m.lowers)
	if errors.Is(err, errOld) {
		return m.old()
	}
	return fd, err
}

// configured makes the mount by fsconfig(2).
func (m *mounting) configured(lowers func(fs int) error) (int, error) {
	fs, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, errdef.Errorf(errdef.Unsupported, "fsopen overlay: %w", err)
	}
	defer unix.Close(fs)
	if err := lowers(fs); err != nil {
		return -1, explained("lower directories", fs, err)
	}
	for _, set := range m.settings() {
		if set.value == "" {
			err = unix.FsconfigSetFlag(fs, set.key)
		} else {
			err = unix.FsconfigSetString(fs, set.key, set.value)
		}
		if err != nil {
			return -1, explained(set.key, fs, err)
		}
	}
	for i, fd := range m.dirs {
		key := [...]string{"upperdir", "workdir"}[i]
		if unix.FsconfigSetFd(fs, key, fd) != nil { // before 6.13
			path := [...]string{m.o.Upper, m.o.Work}[i] // which the mount table then shows
			if len(path) >= maxString || strings.ContainsAny(path, `\,:`) {
				path = byFD(fd)
			}
			if err := unix.FsconfigSetString(fs, key, path); err != nil {
				return -1, explained(key, fs, err)
			}
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, explained("create", fs, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, m.attr())
	if err != nil {
		return -1, errdef.Errorf(errdef.Internal, "fsmount of layers: %w", err)
	}
	return fd, nil
}

func (m *mounting) attr() int {
	if m.o.Upper == "" {
		return m.o.Attr | unix.MOUNT_ATTR_RDONLY
	}
	return m.o.Attr
}

// byFD is the path of a descriptor of ours: a string of fsconfig(2) ends at 255 bytes, and a directory's own path may be longer.
func byFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// lowers adds the lower directories: by descriptor (kernel 6.13) or by the path of a descriptor (6.7). errOld: this kernel takes one string with all of them.
func (m *mounting) lowers(fs int) error {
	described := true
	for i, fd := range m.lower {
		if described {
			err := unix.FsconfigSetFd(fs, "lowerdir+", fd)
			if err == nil {
				continue
			}
			if i > 0 {
				return err
			}
			if described = false; takesAnything(fs) {
				return errOld
			}
		}
		if err := unix.FsconfigSetString(fs, "lowerdir+", byFD(fd)); err != nil {
			return err
		}
	}
	return nil
}

type setting struct{ key, value string }

// labelOption is SELinux's option for the label of a whole mount.
const labelOption = "context"

func (m *mounting) settings() []setting {
	list := []setting{{"source", "bulkhead"}, {"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"index", "off"}}
	if m.userXattr {
		list = append(list, setting{"userxattr", ""})
	}
	if m.o.Volatile && m.o.Upper != "" {
		list = append(list, setting{"volatile", ""})
	}
	if m.o.Label != "" { // the kernel's SELinux takes it before overlayfs sees it, on every kernel
		list = append(list, setting{labelOption, m.o.Label})
	}
	return list
}

// explained adds what the kernel says in words (fsopen(2), reading from the descriptor).
func explained(step string, fs int, err error) error {
	var text []string
	for range 8 {
		buf := make([]byte, 512)
		n, rerr := unix.Read(fs, buf)
		if rerr != nil || n <= 0 {
			break
		}
		text = append(text, strings.TrimSpace(string(buf[:n])))
	}
	kind := errdef.Internal
	if err == unix.EPERM {
		kind = errdef.Denied
	}
	if len(text) > 0 {
		return errdef.Errorf(kind, "mount of layers: %s: %w (%s)", step, err, strings.Join(text, "; "))
	}
	return errdef.Errorf(kind, "mount of layers: %s: %w", step, err)
}
