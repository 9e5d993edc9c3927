package procfs

import (
	"strconv"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// rootInode is the inode number of a procfs root: PROC_ROOT_INO in the kernel's include/linux/proc_fs.h.
const rootInode = 1

// Limit is the most that is read of a file under /proc, in bytes. Mountinfo of a host with tens of thousands of mounts fits.
const Limit = 16 << 20

// A Proc is a handle of a procfs. Its methods may be used at once from several goroutines.
type Proc struct{ fd int }

// Host returns the handle of /proc in the mount namespace of this process. It is opened once and stays open.
var Host = sync.OnceValues(func() (*Proc, error) { return Open("/proc") })

// Open opens and verifies the procfs root at path. Errors are of kind Unavailable: not there, not a procfs, not its root.
func Open(path string) (*Proc, error) {
	fd := -1
	err := sys.Retry(func() (err error) {
		fd, err = unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "open procfs %q: %w", path, err)
	}
	if err := verify(fd); err != nil {
		unix.Close(fd)
		return nil, errdef.Errorf(errdef.Unavailable, "procfs %q: %w", path, err)
	}
	return &Proc{fd}, nil
}

func verify(fd int) error {
	magic, err := sys.FSType(fd)
	if err != nil {
		return err
	}
	if magic != unix.PROC_SUPER_MAGIC {
		return errdef.Errorf(errdef.Unavailable, "file system is of type %#x, not procfs", magic)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Ino != rootInode {
		return errdef.Errorf(errdef.Unavailable, "inode %d is not the root of a procfs", st.Ino)
	}
	return nil
}

// Close closes the handle. The one of Host is never closed.
func (p *Proc) Close() error { return unix.Close(p.fd) }

// FD returns the descriptor (O_PATH) for calls that take a directory; it is p's.
func (p *Proc) FD() int { return p.fd }

// Path returns the text of a path of process pid under /proc, for Open and the like: "42/status". pid 0 is this process.
func Path(pid int, file string) string {
	if pid == 0 {
		return "self/" + file
	}
	return strconv.Itoa(pid) + "/" + file
}

// Open opens a file below the root of p with open(2) flags (O_CLOEXEC is added). No symbolic link but "self" and "thread-self" at the
// start of a path is followed, no magic link, no mount. Errors carry the errno: ENOENT or ESRCH for a process that is gone; EXDEV or
// ELOOP if something was put in the way.
func (p *Proc) Open(path string, flags int) (int, error) {
	if flags&unix.O_PATH == 0 {
		flags |= unix.O_NOCTTY // openat2(2) refuses it beside O_PATH
	}
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd := -1
	err := sys.Retry(func() (err error) {
		fd, err = unix.Openat2(p.fd, path, &how)
		if err == unix.EAGAIN { // a rename raced with the lookup, openat2(2)
			err = unix.EINTR
		}
		return err
	})
	if err != nil {
		return -1, errdef.WithKind(kindOf(err), pathError{"open", path, err})
	}
	return fd, nil
}

// OpenLink opens the object behind a magic link of a process, such as "ns/net" or "exe". The directory is resolved as in Open; only
// the last step jumps.
func (p *Proc) OpenLink(pid int, link string, flags int) (int, error) {
	dir, name := splitLast(Path(pid, link))
	d, err := p.Open(dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer unix.Close(d)
	// The link itself must lie on the same procfs: a bind mount over it would be followed by openat(2) as well.
	l := -1
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH}
	if err := sys.Retry(func() (err error) { l, err = unix.Openat2(d, name, &how); return err }); err != nil {
		return -1, errdef.WithKind(kindOf(err), pathError{"open", Path(pid, link), err})
	}
	unix.Close(l)
	fd := -1
	err = sys.Retry(func() (err error) { fd, err = unix.Openat(d, name, flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0); return err })
	if err != nil {
		return -1, errdef.WithKind(kindOf(err), pathError{"open", Path(pid, link), err})
	}
	return fd, nil
}

// Read reads a whole file, at most Limit bytes.
func (p *Proc) Read(path string) ([]byte, error) {
	fd, err := p.Open(path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b, err := sys.ReadAll(fd, Limit)
	if err != nil {
		return nil, errdef.WithKind(kindOf(err), pathError{"read", path, err})
	}
	return b, nil
}

// Write writes data to a file that exists with one write(2).
func (p *Proc) Write(path string, data []byte) error {
	fd, err := p.Open(path, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n := 0
	err = sys.Retry(func() (err error) { n, err = unix.Write(fd, data); return err })
	if err == nil && n < len(data) {
		err = unix.EIO
	}
	if err != nil {
		return errdef.WithKind(kindOf(err), pathError{"write", path, err})
	}
	return nil
}

// Stat reads /proc/PID/stat.
func (p *Proc) Stat(pid int) (Stat, error) {
	b, err := p.Read(Path(pid, "stat"))
	if err != nil {
		return Stat{}, err
	}
	return ParseStat(b)
}

// Status reads /proc/PID/status.
func (p *Proc) Status(pid int) (Status, error) {
	b, err := p.Read(Path(pid, "status"))
	if err != nil {
		return Status{}, err
	}
	return ParseStatus(b)
}

// Mountinfo reads /proc/PID/mountinfo.
func (p *Proc) Mountinfo(pid int) ([]Mount, error) {
	b, err := p.Read(Path(pid, "mountinfo"))
	if err != nil {
		return nil, err
	}
	return ParseMountinfo(b)
}

// Cgroups reads /proc/PID/cgroup.
func (p *Proc) Cgroups(pid int) ([]Cgroup, error) {
	b, err := p.Read(Path(pid, "cgroup"))
	if err != nil {
		return nil, err
	}
	return ParseCgroups(b)
}

// A Namespace identifies a namespace: namespaces(7), "The /proc/pid/ns/ directory".
type Namespace struct{ Dev, Ino uint64 }

// Namespace returns the identity of a namespace of a process; name is a file of /proc/PID/ns such as "mnt".
func (p *Proc) Namespace(pid int, name string) (Namespace, error) {
	fd, err := p.OpenLink(pid, "ns/"+name, unix.O_RDONLY)
	if err != nil {
		return Namespace{}, err
	}
	defer unix.Close(fd)
	return NamespaceOf(fd)
}

// NamespaceOf returns the identity of the namespace behind a descriptor. An object that is no namespace is of kind Invalid.
func NamespaceOf(fd int) (Namespace, error) {
	magic, err := sys.FSType(fd)
	if err != nil {
		return Namespace{}, err
	}
	if magic != unix.NSFS_MAGIC {
		return Namespace{}, errdef.Errorf(errdef.Invalid, "descriptor %d: not a namespace", fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Namespace{}, err
	}
	return Namespace{st.Dev, st.Ino}, nil
}

type pathError struct {
	op, path string
	err      error
}

func (e pathError) Error() string { return e.op + " /proc/" + e.path + ": " + e.err.Error() }
func (e pathError) Unwrap() error { return e.err }

func kindOf(err error) errdef.Kind {
	switch err {
	case unix.ENOENT, unix.ESRCH:
		return errdef.NotFound
	case unix.EACCES, unix.EPERM, unix.EXDEV, unix.ELOOP:
		return errdef.Denied
	case unix.ENOSYS:
		return errdef.Unsupported
	}
	return errdef.Internal
}

func splitLast(path string) (dir, name string) {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i], path[i+1:]
		}
	}
	return ".", path
}
