package container

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/engine/archive"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/mount"
	"golang.org/x/sys/unix"
)

// inside calls do with the root of a container, as it sees it if it runs; else with its layers and its volumes.
//
// It does so on a thread of its own, which is thrown away: in the container's mount namespace, or in one where its mounts are made for the time, so that the kernel knows what is a mount point there; as
// the container's root for all that it makes, because a mapped mount takes no file of somebody whom it does not map; and with no capabilities but those that concern files.
func (s *Service) inside(ctx context.Context, c *Container, do func(*archive.Root) error) error {
	if os.Geteuid() != 0 {
		return errdef.Errorf(errdef.Unsupported, "copy: needs root")
	}
	self, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "copy: %w", err)
	}
	defer unix.Close(self)
	r := &archive.Root{Self: self, IDs: ids(&c.Record)}
	if c.Alive && c.State.Phase == control.Running {
		err = s.insideRunning(c, r, do)
		if !errdef.Is(err, errdef.Conflict) || s.running(c.ID) {
			return err
		}
	} else if c.Alive {
		return errdef.Errorf(errdef.Conflict, "copy: container %s is %s", c.Name, c.State.Phase)
	}
	return s.insideStopped(ctx, c, r, do)
}

// onThread runs steps on a thread of its own, which nobody uses afterwards.
func onThread(steps ...func() error) error {
	var err error
	thread.Spend(func() {
		for _, step := range steps {
			if err = step(); err != nil {
				return
			}
		}
	})
	return err
}

// running reports whether a container still runs.
func (s *Service) running(id string) bool {
	c, err := s.get(id)
	return err == nil && c.Alive && c.State.Phase == control.Running
}

// insideRunning works in the namespace of a container's first process.
func (s *Service) insideRunning(c *Container, r *archive.Root, do func(*archive.Root) error) error {
	before, err := s.rt.State(c.ID)
	if err != nil {
		return err
	}
	dir := "/proc/" + strconv.Itoa(before.PID)
	ns, err := unix.Open(dir+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Conflict, "copy: container %s does not run any more: %w", c.Name, err)
	}
	defer unix.Close(ns)
	if r.FD, err = unix.Open(dir+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return errdef.Errorf(errdef.Conflict, "copy: container %s does not run any more: %w", c.Name, err)
	}
	defer unix.Close(r.FD)
	if after, err := s.rt.State(c.ID); err != nil || after.PID != before.PID { // else the number may have been another's by then
		return errdef.Errorf(errdef.Conflict, "copy: container %s does not run any more", c.Name)
	}
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return errdef.Errorf(errdef.Internal, "copy: unshare: %w", err)
		}
		if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil {
			return errdef.Errorf(errdef.Internal, "copy: join the mount namespace: %w", err)
		}
		return become(r.IDs, 0)
	}, func() error { return do(r) })
}

// insideStopped mounts what the container would see, for this thread only.
func (s *Service) insideStopped(ctx context.Context, c *Container, r *archive.Root, do func(*archive.Root) error) error {
	lock, err := s.lock(ctx, c.ID)
	if err != nil {
		return err
	}
	defer lock.Close()
	use, err := s.layers(ctx, &c.Record, "copy")
	if err != nil {
		return err
	}
	defer use.Close()
	root, err := s.mount(c, use)
	if err != nil {
		return err
	}
	defer root.Close()
	r.FD = -1
	defer func() {
		if r.FD >= 0 {
			_ = unix.Close(r.FD)
		}
	}()
	return onThread(
		func() error { return s.assembleRoot(c, int(root.Fd()), r) },
		func() error { return do(r) },
	)
}

// assembleRoot makes a mount namespace in which the container's root covers the run directory, with its volumes in it.
func (s *Service) assembleRoot(c *Container, root int, r *archive.Root) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return errdef.Errorf(errdef.Internal, "copy: unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return errdef.Errorf(errdef.Internal, "copy: make / private: %w", err)
	}
	points, err := s.sources(c, r.IDs)
	defer func() {
		for _, p := range points {
			_ = unix.Close(p.fd)
		}
	}()
	if err != nil {
		return err
	}
	if err := unix.MoveMount(root, "", unix.AT_FDCWD, s.o.Run, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return errdef.Errorf(errdef.Internal, "copy: mount the root: %w", err)
	}
	if r.FD, err = unix.Open(s.o.Run, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return errdef.Errorf(errdef.Internal, "copy: %w", err)
	}
	const mounting = 1 << unix.CAP_SYS_ADMIN
	if err := become(r.IDs, mounting); err != nil { // what is made for a mount to go to belongs to the container
		return err
	}
	for _, p := range points {
		if err := attach(r.FD, p); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "copy: %s: %w", p.flag, err)
		}
	}
	if c.Host.ReadonlyRootfs {
		if err := unix.MountSetattr(r.FD, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return errdef.Errorf(errdef.Internal, "copy: %w", err)
		}
	}
	return become(idmap.Mapping{}, 0)
}

// A source is a detached mount of one, and where it goes.
type source struct {
	fd   int
	dir  bool
	dest string
	flag string
}

// sources opens the sources of what is mounted, before the root covers anything. One that is not there has nothing to be copied.
func (s *Service) sources(c *Container, m idmap.Mapping) ([]source, error) {
	users := -1
	if !m.Empty() {
		var err error
		if users, err = idmap.UserNS(m); err != nil {
			return nil, err
		}
		defer unix.Close(users)
	}
	var out []source
	for i, p := range append(append([]assemble.Point{}, c.Points...), s.files(&c.Record)...) {
		if p.Type == mount.TypeTmpfs || p.Destination == initPath {
			continue
		}
		fd, err := s.sourceOf(c, i, &p)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return out, errdef.Errorf(errdef.Unavailable, "copy: %s: %w", p.Flag, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			_ = unix.Close(fd)
			return out, errdef.Errorf(errdef.Unavailable, "copy: %s: %w", p.Flag, err)
		}
		out = append(out, source{fd, st.Mode&unix.S_IFMT == unix.S_IFDIR, p.Destination, p.Flag})
		attr := unix.MountAttr{}
		if p.ReadOnly {
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		}
		if p.Idmap && users >= 0 && !p.Overlay && p.Type != mount.TypeImage {
			attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
			attr.Userns_fd = uint64(users)
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
			return out, errdef.Errorf(errdef.Unavailable, "copy: %s: mount attributes: %w", p.Flag, err)
		}
	}
	return out, nil
}

// sourceOf opens one as a detached mount.
func (s *Service) sourceOf(c *Container, i int, p *assemble.Point) (int, error) {
	if p.Prepared() {
		fd, use, err := s.preparePoint(context.Background(), c, i)
		if use != nil {
			_ = use.Close() // who copies has the files open, and no image is removed that a container has
		}
		return fd, err
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if p.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	return unix.OpenTree(unix.AT_FDCWD, p.Source, flags)
}

// attach mounts a source where it goes, and makes the place if the image has none.
func attach(root int, p source) error {
	var at int
	var err error
	if p.dir {
		at, err = resolve.MkdirAll(root, p.dest, 0o755)
	} else {
		at, err = resolve.InRoot(root, p.dest, unix.O_PATH)
		if errdef.Is(err, errdef.NotFound) {
			dir, derr := resolve.MkdirAll(root, filepath.Dir(p.dest), 0o755)
			if derr != nil {
				return derr
			}
			_ = unix.Close(dir)
			at, err = resolve.CreateInRoot(root, p.dest, 0o644)
		}
	}
	if err != nil {
		return err
	}
	defer unix.Close(at)
	if err := unix.MoveMount(p.fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return errdef.Errorf(errdef.Internal, "mount: %w", err)
	}
	return nil
}

// files are the capabilities that concern files.
const files = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

// become makes this thread the container's root, for what it makes, with the capabilities that concern files and more.
func become(m idmap.Mapping, more uint32) error {
	if !m.Empty() {
		uid, ok := idmap.ToOutside(m.UIDs, 0)
		gid, ok2 := idmap.ToOutside(m.GIDs, 0)
		if !ok || !ok2 {
			return errdef.Errorf(errdef.Unsupported, "copy: the container has no root")
		}
		if err := unix.Setfsgid(int(gid)); err != nil {
			return errdef.Errorf(errdef.Internal, "copy: setfsgid: %w", err)
		}
		if err := unix.Setfsuid(int(uid)); err != nil { // takes the capabilities that concern files from those in effect
			return errdef.Errorf(errdef.Internal, "copy: setfsuid: %w", err)
		}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: files | more, Permitted: files | more}}
	if err := unix.Capset(&head, &data[0]); err != nil {
		return errdef.Errorf(errdef.Internal, "copy: drop capabilities: %w", err)
	}
	return nil
}
