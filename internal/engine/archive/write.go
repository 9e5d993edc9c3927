package archive

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"golang.org/x/sys/unix"
)

const (
	maxDepth = 512      // directories in each other: each costs a descriptor
	maxNames = 64 << 20 // bytes of the names in one directory
	maxFirst = 16 << 20 // bytes of names of files that have several: the others are written as files of their own
)

// kernelOwn are file systems that show the kernel and not files.
var kernelOwn = []int64{
	unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.SECURITYFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC,
	unix.BPF_FS_MAGIC, 0x19800202, // mqueue
}

// Write writes what a path names, with all that is below it.
func (r *Root) Write(ctx context.Context, name string, w io.Writer) error {
	fd, base, err := r.lookup(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if base == "/" {
		base = "."
	}
	t := &writer{ctx: ctx, root: r, tar: tar.NewWriter(w), first: map[inode]string{}}
	if err := t.entry(fd, base, 0); err != nil {
		return err
	}
	if err := t.tar.Close(); err != nil {
		return errdef.Errorf(errdef.Unavailable, "write the archive: %w", err)
	}
	return nil
}

type inode struct{ dev, ino uint64 }

// A writer writes one archive.
type writer struct {
	ctx   context.Context
	root  *Root
	tar   *tar.Writer
	first map[inode]string // names of files that have several
	size  int              // bytes of first
}

// entry writes what an O_PATH descriptor is, and what is below it.
func (t *writer) entry(fd int, name string, depth int) error {
	if err := t.ctx.Err(); err != nil {
		return errdef.Errorf(errdef.Timeout, "archive: %w", context.Cause(t.ctx))
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return wrap(err, "%.256q", name)
	}
	h := &tar.Header{
		Name: name, Mode: int64(st.Mode & 0o7777), Uid: inside(t.root.IDs.UIDs, st.Uid), Gid: inside(t.root.IDs.GIDs, st.Gid), ModTime: time.Unix(st.Mtim.Unix()).Truncate(time.Second),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return t.file(fd, h, &st)
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		if err := t.header(h); err != nil {
			return err
		}
		return t.directory(fd, name, depth)
	case unix.S_IFLNK:
		var err error
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = readlink(fd); err != nil {
			return err
		}
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	default:
		return nil // a socket, which no archive can hold
	}
	return t.header(h)
}

// inside is an id as the container sees it; one that it does not have is nobody's.
func inside(ranges []idmap.Range, id uint32) int {
	if len(ranges) == 0 {
		return int(id)
	}
	if n, ok := idmap.ToInside(ranges, id); ok {
		return int(n)
	}
	return 65534
}

func (t *writer) header(h *tar.Header) error {
	if err := t.tar.WriteHeader(h); err != nil {
		return errdef.Errorf(errdef.Unavailable, "write the archive: %.256q: %w", h.Name, err)
	}
	return nil
}

// reopen opens for reading what an O_PATH descriptor is: that very file, whatever its name is by now.
func (r *Root) reopen(fd, flags int) (*os.File, error) {
	f, err := unix.Openat(r.Self, strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(f), "file"), nil
}

// file writes a regular file: as many bytes as it had at first.
func (t *writer) file(fd int, h *tar.Header, st *unix.Stat_t) error {
	at := inode{st.Dev, st.Ino}
	if first, seen := t.first[at]; st.Nlink > 1 && seen {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		return t.header(h)
	}
	f, err := t.root.reopen(fd, 0)
	if err != nil {
		return wrap(err, "read %.256q", h.Name)
	}
	defer f.Close()
	if st.Nlink > 1 && t.size < maxFirst {
		t.first[at] = h.Name
		t.size += len(h.Name)
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if err := t.header(h); err != nil {
		return err
	}
	n, err := io.Copy(t.tar, io.LimitReader(f, st.Size))
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "archive of %.256q: %w", h.Name, err)
	}
	if n < st.Size {
		return errdef.Errorf(errdef.Conflict, "archive of %.256q: the file became shorter while it was read", h.Name)
	}
	return nil
}

// directory writes what is in a directory, in order. What goes away meanwhile is not there.
func (t *writer) directory(fd int, name string, depth int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return wrap(err, "%.256q", name)
	}
	if slices.Contains(kernelOwn, fs.Type) {
		return nil
	}
	if depth == maxDepth {
		return errdef.Errorf(errdef.Invalid, "archive: more than %d directories in each other", maxDepth)
	}
	names, err := t.root.list(fd)
	if err != nil {
		return wrap(err, "list %.256q", name)
	}
	for _, n := range names {
		child, err := unix.Openat(fd, n, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return wrap(err, "%.256q", name+"/"+n)
		}
		err = t.entry(child, name+"/"+n, depth+1)
		_ = unix.Close(child)
		if err != nil {
			return err
		}
	}
	return nil
}

// list returns the names in a directory, sorted.
func (r *Root) list(fd int) ([]string, error) {
	f, err := r.reopen(fd, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	size := 0
	for {
		names, err := f.Readdirnames(1024)
		out = append(out, names...)
		for _, n := range names {
			size += len(n)
		}
		if size > maxNames {
			return nil, unix.EOVERFLOW
		}
		if err == io.EOF {
			slices.Sort(out)
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
