package container

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Prepared mounts. What a container is to see and no path can say is mounted by the engine, detached, and handed to the monitor by descriptor, which mounts it in its own namespace for the
// runtime to bind: a directory within a volume, which is looked up once and whose name somebody may change meanwhile (CVE-2017-1002101, CVE-2021-25741); an overlay whose upper layer is
// thrown away; the files of another image.

// overlays is where the upper layers of a container's overlays are, each below the number of its point.
func (s *Service) overlays(id string) string { return filepath.Join(s.dir(id), "fs", "overlays") }

// placed fills in where prepared mounts will be.
func (s *Service) placed(id string, points []assemble.Point) []assemble.Point {
	out := append([]assemble.Point{}, points...)
	n := 0
	for i := range out {
		if out[i].Prepared() {
			out[i].Place = filepath.Join(s.runDir(id), control.MountsDir, strconv.Itoa(n))
			n++
		}
	}
	return out
}

// prepared are detached mounts, in the order of the points, and locks that last as long as the container runs.
type prepared struct{ mounts, held []*os.File }

func (p *prepared) close() {
	for _, f := range append(p.mounts, p.held...) {
		_ = f.Close()
	}
}

// countPrepared is how many there will be of both.
func countPrepared(points []assemble.Point) (mounts, held int) {
	for i := range points {
		if points[i].Prepared() {
			mounts++
			if points[i].Type == mount.TypeImage {
				held++
			}
		}
	}
	return mounts, held
}

// prepare makes them for a start: what was written into overlays before is thrown away.
func (s *Service) prepared(ctx context.Context, c *Container) (*prepared, error) {
	if err := os.RemoveAll(s.overlays(c.ID)); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "start: overlays: %w", err)
	}
	out := &prepared{}
	for i := range c.Points {
		if !c.Points[i].Prepared() {
			continue
		}
		fd, use, err := s.preparePoint(ctx, c, i)
		if err != nil {
			out.close()
			if errdef.Is(err, errdef.NotFound) || errdef.Is(err, errdef.Denied) { // it is the request that cannot be, not a program that is missing or may not run
				err = errdef.WithHint(errdef.Errorf(errdef.Invalid, "%w", err), errdef.Hint(err))
			}
			return nil, flagged(c.Points[i].Flag, err)
		}
		out.mounts = append(out.mounts, os.NewFile(uintptr(fd), "mount"))
		if use != nil {
			out.held = append(out.held, use.File())
		}
	}
	return out, nil
}

// preparePoint makes one mount. With the files of an image comes the lock that keeps them, which is the caller's.
func (s *Service) preparePoint(ctx context.Context, c *Container, i int) (fd int, use *snapshot.Use, err error) {
	p := &c.Points[i]
	whole := -1
	switch {
	case p.Type == mount.TypeImage:
		whole, use, err = s.imageMount(ctx, c, i)
	default:
		whole, err = unix.Open(p.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			err = errdef.Errorf(errdef.NotFound, "%s: %w", p.Source, err)
		}
	}
	if err != nil {
		return -1, nil, err
	}
	if p.Type == mount.TypeImage && p.Subpath == "" {
		return whole, use, nil
	}
	defer unix.Close(whole)
	fail := func(err error) (int, *snapshot.Use, error) {
		if use != nil {
			_ = use.Close()
		}
		return -1, nil, err
	}
	at := whole
	if p.Subpath != "" {
		if at, err = resolve.InRoot(whole, p.Subpath, unix.O_PATH); err != nil {
			if errdef.Is(err, errdef.NotFound) {
				err = errdef.Errorf(errdef.Invalid, "%q is not in the %s", p.Subpath, p.Type)
			}
			return fail(errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "subpath: %w", err), "it must be there when the container starts"))
		}
		defer unix.Close(at)
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if p.Recursive && !p.Overlay {
		flags |= unix.AT_RECURSIVE
	}
	fd, err = unix.OpenTree(at, "", flags)
	if err == unix.EINVAL && p.Type == mount.TypeImage {
		fd, err = openAside(whole, at, flags)
	}
	if err != nil {
		return fail(errdef.Errorf(errdef.Internal, "open_tree: %w", err))
	}
	if p.Overlay && p.Type != mount.TypeImage {
		lower := fd
		defer unix.Close(lower)
		if fd, err = s.overlay(c, i, lower); err != nil {
			return fail(err)
		}
	}
	return fd, use, nil
}

// openAside opens a directory of a detached mount as a mount of its own where the kernel wants it mounted somewhere for that (before Linux 6.15): in the mount namespace
// of a thread, which ends with it.
func openAside(whole, at int, flags uint) (fd int, err error) {
	thread.Spend(func() {
		if err = unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return
		}
		if err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return
		}
		if err = unix.MoveMount(whole, "", unix.AT_FDCWD, "/", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return
		}
		fd, err = unix.OpenTree(at, "", flags)
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// imageMount mounts the files of another image below a layer that is thrown away.
func (s *Service) imageMount(ctx context.Context, c *Container, i int) (int, *snapshot.Use, error) {
	p := &c.Points[i]
	use, err := s.o.Images.UseChain(ctx, digest.Digest(p.Chain))
	if err != nil {
		return -1, nil, err
	}
	if use == nil {
		return -1, nil, errdef.Errorf(errdef.Unsupported, "an image without layers has no files")
	}
	if err := s.labelLayers(ctx, use.Layers()); err != nil {
		_ = use.Close()
		return -1, nil, err
	}
	// There is an upper layer in any case: what is read-only, nosuid and nodev is the bind. The child of a runtime may not take a mount over that is so by itself (mount_namespaces(7), locked
	// flags), and the runtime does not take it for it, so that one behind directories that are closed to the container's root would be out of reach.
	o := &snapshot.MountOptions{Use: use, IDs: ids(&c.Record), Label: c.mountLabel(), Volatile: true}
	if err = s.upperOf(c, i, o); err != nil {
		_ = use.Close()
		return -1, nil, err
	}
	fd, err := snapshot.Mount(o)
	if err != nil {
		_ = use.Close()
		return -1, nil, err
	}
	return fd, use, nil
}

// overlay puts a layer that is thrown away over a directory, shown with the container's ids.
func (s *Service) overlay(c *Container, i, lower int) (int, error) {
	p := &c.Points[i]
	var st unix.Stat_t
	if err := unix.Fstat(lower, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return -1, errdef.Errorf(errdef.Invalid, "option O: %s is no directory", p.Source)
	}
	if m := ids(&c.Record); p.Idmap && !m.Empty() {
		users, err := idmap.UserNS(m)
		if err != nil {
			return -1, err
		}
		defer unix.Close(users)
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users)}
		if err := unix.MountSetattr(lower, "", unix.AT_EMPTY_PATH, &attr); err != nil {
			return -1, errdef.WithHint(errdef.Errorf(errdef.Unsupported, "option O: map the ids of %s: %w", p.Source, err), "its file system cannot; :noidmap shows the files as they are")
		}
	}
	o := &snapshot.MountOptions{Dirs: &snapshot.Dirs{Mounts: []int{lower}}, Label: c.mountLabel(), Volatile: true}
	if err := s.upperOf(c, i, o); err != nil {
		return -1, err
	}
	return snapshot.Mount(o)
}

// upperOf makes the upper directories of an overlay. Its root is what the lower one's is, which overlayfs shows no more: owner and mode are the container's root's.
func (s *Service) upperOf(c *Container, i int, o *snapshot.MountOptions) error {
	dir := filepath.Join(s.overlays(c.ID), strconv.Itoa(i))
	o.Upper, o.Work = filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	place := filepath.Join(dir, "place")
	uid, gid, mode := 0, 0, os.FileMode(0o755)
	m := ids(&c.Record)
	if o.Dirs != nil {
		o.Dirs.Place = place
		var st unix.Stat_t
		if err := unix.Fstat(o.Dirs.Mounts[0], &st); err == nil { // shown with the ids that it has on the host
			uid, gid, mode = int(st.Uid), int(st.Gid), os.FileMode(st.Mode&0o777)
		}
	} else if !m.Empty() {
		u, _ := idmap.ToOutside(m.UIDs, 0)
		g, _ := idmap.ToOutside(m.GIDs, 0)
		uid, gid = int(u), int(g)
	}
	// Mounted again, by cp: overlayfs asks for a word that nothing was lost.
	if err := os.RemoveAll(filepath.Join(o.Work, "work", "incompat", "volatile")); err != nil {
		return errdef.Errorf(errdef.Unavailable, "overlay: %w", err)
	}
	for _, d := range []string{o.Upper, o.Work, place} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return errdef.Errorf(errdef.Unavailable, "overlay: %w", err)
		}
	}
	err := os.Chown(o.Upper, uid, gid)
	if err == nil {
		err = os.Chmod(o.Upper, mode)
	}
	if err == nil {
		err = os.Chown(o.Work, uid, gid)
	}
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "overlay: %w", err)
	}
	return nil
}

// findImages finds the images that are mounted into a container.
func (s *Service) findImages(r *Record) error {
	for i := range r.Points {
		p := &r.Points[i]
		if p.Type != mount.TypeImage || p.Image != "" {
			continue
		}
		img, err := s.o.Images.Find(p.Source, nil)
		if err != nil {
			return flagged(p.Flag, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "image %s: %w", p.Source, err), "bulkhead pull "+p.Source))
		}
		p.Image, p.Chain = img.ID.String(), img.Chain().String()
	}
	return nil
}

// others returns what is mounted into another container, for --volumes-from.
func (s *Service) others(name string) ([]assemble.Point, error) {
	c, err := s.Get(name)
	if err != nil {
		return nil, err
	}
	return c.Points, nil
}
