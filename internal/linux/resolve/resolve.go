// Package resolve opens paths inside a directory that somebody else fills, such as a container's root, from the parent process.
//
// A path is resolved once, by the kernel, with openat2(2): links, "..", and absolute targets stay inside the root, magic links are
// refused, and what comes back is a descriptor. Nothing here returns a path, for a path resolved twice is the race of CVE-2018-15664
// and CVE-2021-30465.
//
//	fd, err := resolve.InRoot(root, "/etc/passwd", unix.O_PATH)
//	dir, err := resolve.MkdirAll(root, "/var/lib/data", 0o755)
//
// The starting child does the same through the plan (op.InRoot); this package serves the parent: copying, checking, preparing.
//
// Security: the descriptor names what was there at that moment. Compare its inode, mount and owner, then work with the descriptor.
// There is no fallback for kernels before 5.6, which have no openat2(2): a lookup in user space cannot be made safe against renames.
package resolve

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// attempts bounds the retries after EAGAIN, which openat2(2) returns when a rename or mount somewhere raced with "..". Runc and
// libpathrs found 128 enough under an attacker who renames in a loop; each attempt costs about a microsecond.
const attempts = 128

// openat2 opens path under root and retries EINTR and, bounded, EAGAIN.
func openat2(root int, path string, how *unix.OpenHow) (int, error) {
	var err error
	for range attempts {
		var fd int
		err = sys.Retry(func() (err error) { fd, err = unix.Openat2(root, path, how); return err })
		if err == nil {
			return fd, nil
		}
		if err != unix.EAGAIN {
			break
		}
	}
	return -1, err
}

// InRoot opens path as if the directory behind root were the root directory, with open(2) flags (O_CLOEXEC is added; O_NOFOLLOW
// refuses or, with O_PATH, names a link at the end). To create a file use CreateInRoot.
//
// Errors: NotFound (ENOENT, ENOTDIR), Denied (a magic link, too many links, permissions), Conflict (the tree kept changing), Unsupported
// (no openat2), each with the errno.
func InRoot(root int, path string, flags int) (int, error) {
	return open(root, path, &unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// Beneath opens path and refuses any link and any step out of root: for trees of our own making.
func Beneath(root int, path string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS,
	}
	return open(root, path, &how)
}

// CreateInRoot makes a regular file with mode (subject to the umask) that must not exist, and opens it for reading and writing. The
// directory of path must exist; MkdirAll makes it. A link at the end is not followed (O_EXCL). A file that exists is of kind Exists.
func CreateInRoot(root int, path string, mode uint32) (int, error) {
	dir, name := split(path)
	if name == "" || name == "." || name == ".." {
		return -1, errdef.Errorf(errdef.Invalid, "create %q: no file name", path)
	}
	d, err := InRoot(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer unix.Close(d)
	how := unix.OpenHow{
		Flags: unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC, Mode: uint64(mode & 0o7777),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	return open(d, name, &how)
}

func open(root int, path string, how *unix.OpenHow) (int, error) {
	if path == "" {
		path = "."
	}
	fd, err := openat2(root, path, how)
	if err != nil {
		return -1, wrap("open", path, err)
	}
	return fd, nil
}

// MkdirAll makes the directories of path that are missing, with mode (subject to the umask), and returns a descriptor (O_PATH) of the
// last one. Links inside the root that exist are followed, inside the root; a dangling link, or something that is no directory, is an
// error (runc makes the target of a dangling link; here the image does not choose where directories appear). ".." after a missing
// component is of kind Invalid, because its meaning would depend on what another process makes meanwhile.
func MkdirAll(root int, path string, mode uint32) (int, error) {
	cur, err := InRoot(root, ".", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	// The longest part that exists is resolved from the root in one go, so that ".." and absolute links cannot leave it.
	done := 0
	for n := len(names); n > 0; n-- {
		fd, err := InRoot(root, strings.Join(names[:n], "/"), unix.O_PATH|unix.O_DIRECTORY)
		if err == nil {
			unix.Close(cur)
			cur, done = fd, n
			break
		}
		if !errdef.Is(err, errdef.NotFound) {
			unix.Close(cur)
			return -1, err
		}
	}
	for _, name := range names[done:] {
		next, err := mkdirOne(cur, name, mode)
		unix.Close(cur)
		if err != nil {
			return -1, wrap("make directory", path, err)
		}
		cur = next
	}
	return cur, nil
}

// mkdirOne makes and opens one directory; that somebody else made it first is fine, that it is a link is not.
func mkdirOne(dir int, name string, mode uint32) (int, error) {
	switch name {
	case ".":
		return unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 3)
	case "..":
		return -1, unix.EINVAL
	}
	err := sys.Retry(func() error { return unix.Mkdirat(dir, name, mode&0o7777) })
	if err != nil && err != unix.EEXIST {
		return -1, err
	}
	return openat2(dir, name, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
}

// Same reports whether two descriptors are the same file on the same mount: the check after resolving for "is it still what I meant".
func Same(a, b int) (bool, error) {
	var x, y unix.Stat_t
	if err := unix.Fstat(a, &x); err != nil {
		return false, err
	}
	if err := unix.Fstat(b, &y); err != nil {
		return false, err
	}
	if x.Dev != y.Dev || x.Ino != y.Ino {
		return false, nil
	}
	p, _, err := sys.MountID(a)
	if err != nil {
		return false, err
	}
	q, _, err := sys.MountID(b)
	return p == q, err
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ".", path
	}
	return path[:i+1], path[i+1:]
}

func wrap(step, path string, err error) error {
	kind := errdef.Internal
	switch err {
	case unix.ENOENT, unix.ENOTDIR:
		kind = errdef.NotFound
	case unix.ELOOP, unix.EXDEV, unix.EACCES, unix.EPERM, unix.EROFS:
		kind = errdef.Denied
	case unix.EEXIST:
		kind = errdef.Exists
	case unix.EAGAIN:
		kind = errdef.Conflict
	case unix.EINVAL, unix.ENAMETOOLONG:
		kind = errdef.Invalid
	case unix.ENOSYS:
		kind = errdef.Unsupported
	}
	return errdef.Errorf(kind, "%s %q: %w", step, path, err)
}
