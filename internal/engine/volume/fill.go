package volume

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/engine/archive"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"golang.org/x/sys/unix"
)

// A Source gives the root of an image's files, with the ids that they have in the image. It is called when a volume is to be filled, and closed after that.
type Source func(ctx context.Context) (*os.File, error)

// Ready makes a volume ready for a container that starts: a tmpfs is mounted, and a new volume filled with what the image has at dest. A nil source fills nothing.
func (s *Service) Ready(ctx context.Context, name string, from Source, dest string) error {
	r, err := s.read(name)
	if err != nil {
		return err
	}
	if isTmpfs(r.Options) && !mounted(s.path(name, dataDir)) {
		if err := s.mount(ctx, r); err != nil {
			return err
		}
		r.Fresh = true // what was in memory is gone
	}
	if !r.Fresh || from == nil {
		return nil
	}
	f, err := lock(ctx, s.path(name), atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer f.Close()
	again, err := s.read(name)
	if err != nil {
		return err
	}
	if !again.Fresh && !isTmpfs(r.Options) {
		return nil // another container was first
	}
	if err := s.fill(ctx, again, from, dest); err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "volume %s: fill it from the image: %w", name, err), errdef.Hint(err))
	}
	return nil
}

// fill copies, if nobody has put anything into the volume.
func (s *Service) fill(ctx context.Context, r *record, from Source, dest string) error {
	data := s.path(r.Name, dataDir)
	names, err := os.ReadDir(data)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	if len(names) == 0 || r.Filling {
		r.Filling = true
		if err := write(s.path(r.Name), r); err != nil {
			return err
		}
		root, err := from(ctx)
		if err != nil {
			return err
		}
		defer root.Close()
		if err := copyInto(ctx, root, dest, data); err != nil {
			return err
		}
	}
	r.Fresh, r.Filling = false, false
	return write(s.path(r.Name), r)
}

// copyInto copies a directory of an image, with owner and mode. One that is not there, or is none, has nothing to be copied.
func copyInto(ctx context.Context, root *os.File, dest, data string) error {
	dir, err := resolve.InRoot(int(root.Fd()), dest, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil //nolint:nilerr // as said
	}
	defer unix.Close(dir)
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil {
		return errdef.Errorf(errdef.Internal, "%w", err)
	}
	to, err := os.Open(data)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "%w", err)
	}
	defer to.Close()
	self, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "%w", err)
	}
	defer unix.Close(self)
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := (&archive.Root{FD: dir, Self: self}).Write(ctx, "/", w)
		_ = w.CloseWithError(err)
		written <- err
	}()
	filtered, fw := io.Pipe()
	go func() { _ = fw.CloseWithError(withoutDevices(r, fw)) }()
	err = (&archive.Root{FD: int(to.Fd()), Self: self}).Extract(ctx, "/", filtered, archive.Options{})
	_ = filtered.CloseWithError(err)
	_ = r.CloseWithError(err)
	if werr := <-written; err == nil && werr != nil && !errors.Is(werr, io.ErrClosedPipe) {
		err = werr
	}
	if err == nil {
		err = errors.Join(unix.Fchown(int(to.Fd()), int(st.Uid), int(st.Gid)), unix.Fchmod(int(to.Fd()), st.Mode&0o7777), syncfs(to))
	}
	return err
}

func syncfs(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// withoutDevices passes an archive on, but for device nodes: a volume has none, whatever the image has.
func withoutDevices(from io.Reader, to io.Writer) error {
	in, out := tar.NewReader(from), tar.NewWriter(to)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return out.Close()
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			continue
		}
		h.Name = strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if h.Name == "" {
			continue // the directory itself
		}
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
}

// mount mounts a tmpfs volume.
func (s *Service) mount(ctx context.Context, r *record) error {
	f, err := lock(ctx, s.path(r.Name), atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer f.Close()
	target := s.path(r.Name, dataDir)
	if mounted(target) {
		return nil
	}
	flags, data, err := tmpfs(r.Options["o"])
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", target, "tmpfs", flags, data); err != nil {
		return errdef.Errorf(errdef.Invalid, "volume %s: mount a tmpfs with %q: %w", r.Name, r.Options["o"], err)
	}
	return nil
}

func (s *Service) unmount(name string) error {
	target := s.path(name, dataDir)
	for mounted(target) {
		if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
			return errdef.Errorf(errdef.Unavailable, "remove %s: unmount: %w", name, err)
		}
	}
	return nil
}

// mounted reports whether something is mounted on a directory: it lies on another device than its parent.
func mounted(path string) bool {
	var a, b unix.Stat_t
	return unix.Lstat(path, &a) == nil && unix.Lstat(filepath.Dir(path), &b) == nil && a.Dev != b.Dev
}
