package container

import (
	"context"
	"os"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// layers are those of a container's image, locked against removal; nil for a container whose files are a directory of the host.
func (s *Service) layers(ctx context.Context, r *Record, what string) (*snapshot.Use, error) {
	if r.Rootfs != nil {
		return nil, nil
	}
	use, err := s.o.Images.UseChain(ctx, r.Chain)
	if err == nil && use == nil {
		return nil, errdef.Errorf(errdef.Unsupported, "%s: an image without layers cannot run", what)
	}
	return use, err
}

// openRootfs opens the directory of --rootfs.
func openRootfs(r *assemble.Rootfs) (int, error) {
	fd, err := unix.Open(r.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errdef.Errorf(errdef.NotFound, "rootfs %s: %w", r.Path, err)
	}
	return fd, nil
}

// checkRootfs looks at the directory of a container that is to be made.
func checkRootfs(r *assemble.Rootfs) error {
	if r == nil {
		return nil
	}
	fd, err := openRootfs(r)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	real, err := filepath.EvalSymlinks(r.Path)
	if err != nil {
		return errdef.Errorf(errdef.NotFound, "rootfs %s: %w", r.Path, err)
	}
	if !r.Overlay && assemble.Dangerous(real) {
		err := errdef.Errorf(errdef.Invalid, "rootfs %s: it is the host itself, and the container would write there", r.Path)
		return errdef.WithHint(err, r.Path+":O has the container write into a layer of its own")
	}
	return nil
}

// rootfsMount mounts the directory of --rootfs, without what is mounted in it, shown with the container's ids: itself, or below the container's writable layer.
func (s *Service) rootfsMount(r *Record, upper bool) (*os.File, error) {
	at, err := openRootfs(r.Rootfs)
	if err != nil {
		return nil, err
	}
	defer unix.Close(at)
	fd, err := unix.OpenTree(at, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "rootfs %s: open_tree: %w", r.Rootfs.Path, err)
	}
	fail := func(err error) (*os.File, error) {
		_ = unix.Close(fd)
		return nil, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	maps, err := rootfsIDs(r)
	if err != nil {
		return fail(err)
	}
	if !maps.Empty() {
		users, err := idmap.UserNS(maps)
		if err != nil {
			return fail(err)
		}
		defer unix.Close(users)
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(users)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fail(errdef.WithHint(errdef.Errorf(errdef.Unsupported, "rootfs %s: show it with the container's ids: %w", r.Rootfs.Path, err), "its file system cannot: --userns host shows it as it is"))
	}
	if !r.Rootfs.Overlay || !upper {
		return os.NewFile(uintptr(fd), "root"), nil
	}
	defer unix.Close(fd)
	place := filepath.Join(s.dir(r.ID), "fs", "place")
	if err := os.MkdirAll(place, 0o700); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "rootfs: %w", err)
	}
	over, err := snapshot.Mount(&snapshot.MountOptions{
		Dirs: &snapshot.Dirs{Mounts: []int{fd}, Place: place}, Upper: s.upper(r.ID), Work: filepath.Join(s.dir(r.ID), "fs", "work"), Label: r.mountLabel(),
	})
	if err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "rootfs %s: %w", r.Rootfs.Path, err)
	}
	return os.NewFile(uintptr(over), "root"), nil
}

// rootfsIDs are those that the directory is shown with.
func rootfsIDs(r *Record) (idmap.Mapping, error) {
	m := r.Rootfs.IDs
	if m == nil {
		return ids(r), nil
	}
	var uids, gids []specs.LinuxIDMapping
	if h := host(r); !userNSOff(r) {
		uids, gids = h.UIDs, h.GIDs
	}
	uids, gids, err := m.Of(uids, gids)
	if err != nil {
		return idmap.Mapping{}, err
	}
	return idmap.FromSpec(uids, gids), nil
}
