// Package archive carries files into a container's root and out of it, as tar archives: what `cp` does.
//
//	r := &archive.Root{FD: fd, Self: self, IDs: ids}   // an open directory, and how its ids are seen inside
//	stat, err := r.Stat("/etc/passwd")
//	err = r.Write(ctx, "/etc", w)                      // etc/, etc/passwd ...
//	err = r.Extract(ctx, "/data", archive, archive.Options{})
//
// Paths are Docker's: absolute, links are followed but for one at the end, and that too where the path ends with a slash or with "/.". An archive of a directory has its name in
// front of all names, an archive of something else is one entry.
//
// Security: whoever lives in the container is hostile, may have made everything in it, and goes on changing it while we look (CVE-2018-15664). So a path is resolved by the kernel
// inside the root (openat2, RESOLVE_IN_ROOT without magic links), to a descriptor; what is found is looked at through it and opened again only by it. Nothing but regular files is opened
// for reading: a FIFO does not hold us up and a device is not woken. File systems that are the kernel's own (proc, sysfs, cgroup ...) are left out below their mount points, as they have no end.
// No program, library or name service of the container is used (CVE-2019-14271), owners are numbers. Depth is bounded.
//
// The caller decides with which rights all this is done: the engine does it on a thread that makes files as the container's root.
package archive

import (
	"os"
	"path"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/resolve"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

// A Root is the root of a container.
type Root struct {
	FD   int           // O_PATH is enough
	Self int           // /proc/self/fd of the host, for descriptors that are opened again
	IDs  idmap.Mapping // empty: ids are the same inside and outside
}

// A place is what a path names: the last name of it in its directory, or, with no name, the directory itself.
type place struct {
	dir  int // O_PATH
	name string
	base string // what the caller calls it
}

// find resolves the path but for its last name.
func (r *Root) find(name string) (place, error) {
	if strings.Contains(name, "\x00") {
		return place{}, errdef.Errorf(errdef.Invalid, "path %.256q: NUL", name)
	}
	clean := path.Clean("/" + name)
	p := place{base: path.Base(clean)}
	dir := path.Dir(clean)
	if p.name = p.base; clean == "/" || strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.") || name == "." {
		dir, p.name = clean, ""
	}
	var err error
	p.dir, err = resolve.InRoot(r.FD, dir, unix.O_PATH|unix.O_DIRECTORY)
	return p, err
}

// open opens what a place is, without following a link.
func (p *place) open() (int, error) {
	if p.name == "" {
		return unix.FcntlInt(uintptr(p.dir), unix.F_DUPFD_CLOEXEC, 3)
	}
	fd, err := unix.Openat(p.dir, p.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, wrap(err, "%.256q", p.base)
	}
	return fd, nil
}

// lookup resolves a path to a descriptor, and to what it is called.
func (r *Root) lookup(name string) (fd int, base string, err error) {
	p, err := r.find(name)
	if err != nil {
		return -1, "", err
	}
	defer unix.Close(p.dir)
	fd, err = p.open()
	return fd, p.base, err
}

// Stat describes what a path names: a link itself, with the path inside the root that it leads to.
func (r *Root) Stat(name string) (container.PathStat, error) {
	fd, base, err := r.lookup(name)
	if err != nil {
		return container.PathStat{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return container.PathStat{}, wrap(err, "%.256q", name)
	}
	out := container.PathStat{Name: base, Size: st.Size, Mode: mode(&st), Mtime: time.Unix(st.Mtim.Unix()).UTC()}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		out.LinkTarget = r.canonical(name)
	}
	return out, nil
}

// maxLinks is how many links a path may go through, as for the kernel.
const maxLinks = 40

// canonical returns a path inside the root without links, for the eyes of the caller: what is done with it resolves it anew. What does not exist stays as it is.
func (r *Root) canonical(name string) string {
	rest := strings.Split(path.Clean("/"+name), "/")
	at, links := "/", 0
	for len(rest) > 0 {
		next := rest[0]
		rest = rest[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		full := path.Join(at, next)
		target := ""
		if fd, err := resolve.InRoot(r.FD, full, unix.O_PATH|unix.O_NOFOLLOW); err == nil {
			target, _ = readlink(fd) // an error is no link
			_ = unix.Close(fd)
		}
		if target == "" {
			at = full
			continue
		}
		if links++; links > maxLinks {
			return full
		}
		if strings.HasPrefix(target, "/") {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at
}

// mode is a file's, as Go has it.
func mode(st *unix.Stat_t) os.FileMode {
	m := os.FileMode(st.Mode & 0o777)
	for bit, is := range map[uint32]os.FileMode{unix.S_ISUID: os.ModeSetuid, unix.S_ISGID: os.ModeSetgid, unix.S_ISVTX: os.ModeSticky} {
		if st.Mode&bit != 0 {
			m |= is
		}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= os.ModeDir
	case unix.S_IFLNK:
		m |= os.ModeSymlink
	case unix.S_IFIFO:
		m |= os.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= os.ModeSocket
	case unix.S_IFBLK:
		m |= os.ModeDevice
	case unix.S_IFCHR:
		m |= os.ModeDevice | os.ModeCharDevice
	}
	return m
}

// readlink reads an open link.
func readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", wrap(err, "read link")
	}
	return string(buf[:n]), nil
}

// wrap gives an error of the kernel its kind.
func wrap(err error, format string, args ...any) error {
	kind := errdef.Internal
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		kind = errdef.NotFound
	case unix.EACCES, unix.EPERM, unix.EROFS, unix.ELOOP:
		kind = errdef.Denied
	case unix.EEXIST, unix.EISDIR, unix.ENOTEMPTY, unix.EBUSY, unix.EXDEV:
		kind = errdef.Conflict
	case unix.ENOSPC, unix.EDQUOT:
		kind = errdef.Unavailable
	case unix.ENAMETOOLONG:
		kind = errdef.Invalid
	}
	return errdef.Errorf(kind, format+": %w", append(args, err)...)
}
