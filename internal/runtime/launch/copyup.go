package launch

import (
	"os"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep copyUp follows directories; PATH_MAX allows 2048 components of one letter.
const maxDepth = 512

// copyUp copies what the directory from holds into the directory to, and closes both. Everything goes through descriptors and no link is
// followed, so that an image cannot name a file outside. Directories, regular files and symbolic links are copied with mode and owner;
// device nodes, FIFOs, sockets and extended attributes are not.
func copyUp(from, to int) error {
	defer unix.Close(from)
	defer unix.Close(to)
	var st unix.Stat_t
	err := unix.Fstat(to, &st)
	if err == nil {
		err = asOwner(int(st.Uid), int(st.Gid), func() error { return copyDir(from, to, 0) })
	}
	if err != nil {
		return errdef.Errorf(errdef.KindOf(err), "tmpcopyup: %w", err)
	}
	return nil
}

// asOwner calls what makes files as somebody else, and keeps its capabilities: a file system of a user namespace takes no file from a user
// whom that does not map (EOVERFLOW, open(2)). Only the file system ids of a thread of its own change, which ends (setfsuid(2)).
func asOwner(uid, gid int, what func() error) error {
	if uid == unix.Geteuid() && gid == unix.Getegid() {
		return what()
	}
	var err error
	thread.Spend(func() {
		err = func() error {
			hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			var caps [2]unix.CapUserData
			if err := unix.Capget(&hdr, &caps[0]); err != nil {
				return err
			}
			if err := unix.Setfsgid(gid); err != nil {
				return err
			}
			if err := unix.Setfsuid(uid); err != nil {
				return err
			}
			if err := unix.Capset(&hdr, &caps[0]); err != nil { // the change took some from the effective set (capabilities(7))
				return err
			}
			return what()
		}()
	})
	return err
}

func copyDir(from, to, depth int) error {
	if depth > maxDepth {
		return errdef.Errorf(errdef.Invalid, "directories are nested more than %d deep", maxDepth)
	}
	list, err := unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(list), "directory of the image")
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := copyEntry(from, to, name, depth); err != nil {
			return &os.PathError{Op: "copy", Path: name, Err: err}
		}
	}
	return nil
}

func copyEntry(from, to int, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(from, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		err = copySubdir(from, to, name, depth)
	case unix.S_IFREG:
		err = copyFile(from, to, name)
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		var n int
		if n, err = unix.Readlinkat(from, name, buf); err == nil {
			err = unix.Symlinkat(string(buf[:n]), to, name)
		}
	default:
		return nil
	}
	if err != nil {
		return err
	}
	// An owner that the container's user namespace does not map cannot be given to a file of its tmpfs; it stays root's then.
	_ = unix.Fchownat(to, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	return unix.Fchmodat(to, name, st.Mode&0o7777, 0)
}

func copySubdir(from, to int, name string, depth int) error {
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return err
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	src, err := unix.Openat(from, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := unix.Openat(to, name, flags, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	return copyDir(src, dst, depth+1)
}

func copyFile(from, to int, name string) error {
	src, err := unix.Openat(from, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(src)
	dst, err := unix.Openat(to, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(dst)
	for {
		n, err := unix.Sendfile(dst, src, nil, 1<<20)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
	}
}
