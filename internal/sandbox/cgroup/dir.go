package cgroup

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// strictWalk is how every path below a mount point is resolved: no link of any kind, no mount on the way, no way up.
const strictWalk = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// openMount opens the directory on which a hierarchy is mounted, and refuses what is no cgroup file system.
func openMount(mount string, unified bool) (int, error) {
	fd, err := retryFD(func() (int, error) {
		return unix.Open(mount, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, errdef.Errorf(kindOf(err), "cgroup mount %s: %w", mount, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		unix.Close(fd)
		return -1, errdef.Errorf(errdef.Internal, "cgroup mount %s: statfs: %w", mount, err)
	}
	want := int64(unix.CGROUP_SUPER_MAGIC)
	if unified {
		want = unix.CGROUP2_SUPER_MAGIC
	}
	if int64(fs.Type) != want {
		unix.Close(fd)
		return -1, errdef.Errorf(errdef.Denied, "cgroup mount %s: it is no cgroup file system (magic %#x)", mount, fs.Type)
	}
	return fd, nil
}

// openBelow opens what stands at the relative path below the directory, walking strictly. Without openat2 (Linux before 5.6, or a
// seccomp filter of a container that hides it) it walks component by component, which for a file system without links is the same.
func openBelow(dirfd int, path string, flags int) (int, error) {
	if path == "" || path == "." {
		path = "."
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW), Resolve: strictWalk}
	fd, err := retryFD(func() (int, error) { return unix.Openat2(dirfd, path, &how) })
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return fd, err
	}
	return walkBelow(dirfd, path, flags)
}

func walkBelow(dirfd int, path string, flags int) (int, error) {
	cur, own := dirfd, false
	parts := strings.Split(path, "/")
	for i, part := range parts {
		how := unix.O_PATH | unix.O_DIRECTORY
		if i == len(parts)-1 {
			how = flags
		}
		next, err := -1, error(unix.EXDEV)
		if part != ".." {
			next, err = retryFD(func() (int, error) {
				return unix.Openat(cur, part, how|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
			})
		}
		if own {
			unix.Close(cur)
		}
		if err != nil {
			return -1, err
		}
		cur, own = next, true
	}
	return cur, nil
}

// openFile opens a control file right in the directory. The name has no slash: callers build it or check it.
func openFile(dirfd int, name string, flags int) (int, error) {
	return retryFD(func() (int, error) { return unix.Openat(dirfd, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0) })
}

// writeFile writes value into a control file with one write(2), as the kernel wants it.
func writeFile(dirfd int, name, value string) error {
	fd, err := openFile(dirfd, name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return writeFD(fd, value)
}

func writeFD(fd int, value string) error {
	for {
		_, err := unix.Write(fd, []byte(value))
		if err != unix.EINTR {
			return err
		}
	}
}

// readFile reads a control file to its end. It gives up at 16 MiB, which no control file has.
func readFile(dirfd int, name string) (string, error) {
	fd, err := openFile(dirfd, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readFD(fd)
}

func readFD(fd int) (string, error) { return readInto(fd, make([]byte, 4096)) }

// readProc reads a file of procfs without Go's poller, which costs a third of it.
func readProc(name string) (string, error) {
	fd, err := openFile(unix.AT_FDCWD, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readInto(fd, make([]byte, 16384))
}

// readInto reads to the end, into the buffer as long as that is large enough.
func readInto(fd int, buf []byte) (string, error) {
	n := 0
	for {
		if n == len(buf) {
			if n >= 16<<20 {
				return "", io.ErrShortBuffer
			}
			buf = append(buf, make([]byte, n)...)
		}
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", err
		}
		if m == 0 {
			return string(buf[:n]), nil
		}
		n += m
	}
}

// childDirs lists the directories in the directory, maxTree of them at most.
func childDirs(dirfd int) ([]string, error) { return entries(dirfd, true, maxTree) }

// dirNames lists all that is in the directory.
func dirNames(dirfd int) ([]string, error) { return entries(dirfd, false, maxTree) }

// entries stops reading when it has the number of names.
func entries(dirfd int, onlyDirs bool, enough int) ([]string, error) {
	fd, err := openFile(dirfd, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 || len(names) >= enough {
			return names, err
		}
		for rest := buf[:n]; len(rest) > 19; { // struct linux_dirent64 of getdents64(2): ino 8, off 8, reclen 2, type 1, name
			size := int(binary.NativeEndian.Uint16(rest[16:]))
			if size < 20 || size > len(rest) {
				return names, errors.New("getdents64: malformed entry")
			}
			name := unix.ByteSliceToString(rest[19:size])
			if (rest[18] == unix.DT_DIR || !onlyDirs) && name != "." && name != ".." {
				names = append(names, name)
			}
			rest = rest[size:]
		}
	}
}

func retryFD(f func() (int, error)) (int, error) {
	for {
		fd, err := f()
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
}

// kindOf classes the error of a system call.
func kindOf(err error) errdef.Kind {
	switch {
	case errors.Is(err, unix.ENOENT):
		return errdef.NotFound
	case errors.Is(err, unix.EEXIST):
		return errdef.Exists
	case denied(err):
		return errdef.Denied
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE), errors.Is(err, unix.ENAMETOOLONG):
		return errdef.Invalid
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTEMPTY):
		return errdef.Conflict
	}
	return errdef.Internal
}

// denied reports whether err means that the caller may not, in the loose sense that a read-only mount of the hierarchy has.
func denied(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS)
}

// gone reports whether err means that the cgroup or its file is not there (any more). An open file of a removed cgroup gives ENODEV.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) }
