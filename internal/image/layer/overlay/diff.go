package overlay

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/wire"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"golang.org/x/sys/unix"
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	bufferSize     = 256 << 10
)

// Diff writes the layer of a tree, uncompressed, to w. The result has DiffID, Bytes and Entries; Skipped counts sockets among Meta, which no archive
// can hold.
func Diff(ctx context.Context, t *Tree, w io.Writer) (wire.Result, error) {
	sum := sha256.New()
	count := &counter{w: io.MultiWriter(w, sum)}
	buffered := bufio.NewWriterSize(count, bufferSize)
	a := &archiver{tree: t, tar: tar.NewWriter(buffered), links: map[inode]string{}, buf: make([]byte, bufferSize)}
	if err := t.walk(ctx, a.add, nil); err != nil {
		return wire.Result{}, err
	}
	if err := a.tar.Close(); err != nil {
		return wire.Result{}, written(err)
	}
	if err := buffered.Flush(); err != nil {
		return wire.Result{}, written(err)
	}
	a.result.DiffID, a.result.Bytes = "sha256:"+hex.EncodeToString(sum.Sum(nil)), count.n
	return a.result, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

type inode struct{ dev, ino uint64 }

type archiver struct {
	tree   *Tree
	tar    *tar.Writer
	links  map[inode]string
	buf    []byte
	result wire.Result
}

func (a *archiver) add(v *visit) error {
	if v.whiteout {
		dir, name := v.path[:len(v.path)-len(v.name)], v.name
		return a.mark(dir + whiteoutPrefix + name)
	}
	if strings.HasPrefix(v.name, whiteoutPrefix) {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s has the name of a whiteout, which a layer cannot carry", quote(v.path)), "rename or remove it in the container")
	}
	h, err := a.header(v)
	if h == nil || err != nil {
		return err
	}
	if h.Typeflag == tar.TypeReg {
		return a.file(v, h)
	}
	if v.fd >= 0 {
		if err := a.xattrs(v, v.fd, h); err != nil {
			return err
		}
	}
	if err := a.write(h); err != nil {
		return err
	}
	if v.opaque && (a.tree.Lower == nil || len(v.lower) > 0) {
		return a.mark(v.path + "/" + opaqueName)
	}
	return nil
}

// mark writes an empty file that stands for something missing.
func (a *archiver) mark(name string) error {
	return a.write(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, ModTime: time.Unix(0, 0)})
}

func (a *archiver) write(h *tar.Header) error {
	h.Format = tar.FormatPAX
	if h.ModTime.IsZero() {
		h.ModTime = time.Unix(0, 0)
	}
	if err := a.tar.WriteHeader(h); err != nil {
		return written(err)
	}
	a.result.Entries++
	return nil
}

func written(err error) error { return errdef.Errorf(errdef.KindOf(err), "write the layer: %w", err) }

// header describes what is no whiteout. nil: it is left out.
func (a *archiver) header(v *visit) (*tar.Header, error) {
	st := &v.stat
	uid, gid, err := a.tree.owner(st)
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "%s %w", quote(v.path), err)
	}
	h := &tar.Header{
		Name: v.path, Mode: int64(st.Mode & 0o7777), Uid: uid, Gid: gid, ModTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec),
	}
	isDir := false
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag, h.Name, isDir = tar.TypeDir, v.path+"/", true
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(v.dir, v.name, buf)
		if err != nil {
			return nil, errdef.Errorf(errdef.Internal, "read the link %s: %w", quote(v.path), err)
		}
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, string(buf[:n]), 0o777
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFCHR, unix.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	default: // a socket
		a.result.Skipped.Meta++
		return nil, nil
	}
	if st.Nlink > 1 && !isDir {
		key := inode{st.Dev, st.Ino}
		if first, ok := a.links[key]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return h, nil
		}
		a.links[key] = v.path
	}
	return h, nil
}

// owner returns the ids as the container sees them.
func (t *Tree) owner(st *unix.Stat_t) (uid, gid int, err error) {
	if t.IDs.Empty() {
		return int(st.Uid), int(st.Gid), nil
	}
	u, ok := idmap.ToInside(t.IDs.UIDs, st.Uid)
	g, ok2 := idmap.ToInside(t.IDs.GIDs, st.Gid)
	if !ok || !ok2 {
		return 0, 0, errdef.Errorf(errdef.Invalid, "belongs to %d:%d, which is none of the container's ids", st.Uid, st.Gid)
	}
	return int(u), int(g), nil
}

// file writes a regular file: as many bytes as it had when it was opened.
func (a *archiver) file(v *visit, h *tar.Header) error {
	fd, err := open(v.dir, v.name, 0)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "open %s: %w", quote(v.path), err)
	}
	f := os.NewFile(uintptr(fd), v.path)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return errdef.Errorf(errdef.Internal, "look at %s: %w", quote(v.path), err)
	}
	if st.Dev != v.stat.Dev || st.Ino != v.stat.Ino || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return changed(v)
	}
	h.Size = st.Size
	if err := a.xattrs(v, fd, h); err != nil {
		return err
	}
	if err := a.write(h); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{a.tar}, io.LimitReader(onlyReader{f}, st.Size), a.buf)
	if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "copy %s into the layer: %w", quote(v.path), err)
	}
	if n != st.Size {
		return changed(v)
	}
	return nil
}

func changed(v *visit) error {
	return errdef.WithHint(errdef.Errorf(errdef.Conflict, "%s changed while it was read", quote(v.path)), "pause or stop the container first")
}

// onlyWriter and onlyReader hide ReadFrom and WriteTo, which would not use the buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)
