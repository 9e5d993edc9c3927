// Package labelpipe makes pipes for a container's standard streams that carry the SELinux label of the container's files.
//
//	dir, err := labelpipe.Room()
//	read, write, err := labelpipe.New(dir, spec.Linux.MountLabel)
//	theirs, ours, err := labelpipe.Files(spec.Linux.MountLabel, false) // both in one, as files
//
// A pipe of pipe(2) has the label of the process that makes it, which no policy seen so far lets it change (pipefs takes its labels from tasks), and many
// policies let no container read or write those of an engine that is not confined itself (Debian's, for unconfined_t): the kernel puts /dev/null in their
// place when the container's program is executed, and what it prints is lost without a word. What this package makes is a FIFO in a file system that keeps
// labels. It has no name any more when New returns; in a Room it never had one that anybody else could see, so that nothing of it is left whenever the
// caller is killed.
//
// Labels are not parsed here: the kernel's policy knows which there are.
package labelpipe

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// Attribute is the extended attribute that holds the label of a file.
const Attribute = "security.selinux"

// maxLabel bounds a label, in bytes: a page with its NUL, as the kernel's own files of labels do.
const maxLabel = 4096

// Room is a directory for New: the root of a tmpfs of its own that is mounted nowhere. The caller closes it; pipes outlive it. Errors: Denied for who may
// not mount.
func Room() (int, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, errdef.Errorf(kindOf(err), "fsopen tmpfs: %w", err)
	}
	defer unix.Close(fs)
	for _, option := range [][2]string{{"mode", "0700"}, {"size", "64k"}} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return -1, errdef.Errorf(kindOf(err), "fsconfig tmpfs %s: %w", option[0], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, errdef.Errorf(kindOf(err), "fsconfig tmpfs: %w", err)
	}
	dir, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, errdef.Errorf(kindOf(err), "fsmount tmpfs: %w", err)
	}
	return dir, nil
}

// New makes a pipe with a label in a directory that only the caller may write and that keeps labels: a Room, or one below /run. With an empty label it is one
// of pipe(2).
//
// Both ends are blocking and close-on-exec. Errors: Denied and Invalid for a label that may not be given, Unsupported where dir keeps none.
func New(dir int, label string) (read, write int, err error) {
	if label == "" {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return -1, -1, errdef.Errorf(errdef.Unavailable, "pipe: %w", err)
		}
		return p[0], p[1], nil
	}
	name := ".pipe." + strconv.FormatUint(rand.Uint64(), 36)
	if err := unix.Mknodat(dir, name, unix.S_IFIFO|0o600, 0); err != nil {
		return -1, -1, errdef.Errorf(kindOf(err), "make a FIFO: %w", err)
	}
	defer func() { _ = unix.Unlinkat(dir, name, 0) }()
	fds := [2]int{-1, -1}
	defer func() {
		if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
			read, write = -1, -1
		}
	}()
	for i, flags := range []int{unix.O_RDONLY | unix.O_NONBLOCK, unix.O_WRONLY} { // a reader need not wait, and then a writer need not
		flags |= unix.O_CLOEXEC | unix.O_NOFOLLOW
		if err := sys.Retry(func() (err error) { fds[i], err = unix.Openat(dir, name, flags, 0); return err }); err != nil {
			fds[i] = -1
			return -1, -1, errdef.Errorf(kindOf(err), "open a FIFO: %w", err)
		}
	}
	if err := unix.Fsetxattr(fds[0], Attribute, []byte(label), 0); err != nil {
		return -1, -1, errdef.Errorf(kindOf(err), "label a FIFO %q: %w", label, err)
	}
	if err := unix.SetNonblock(fds[0], false); err != nil {
		return -1, -1, errdef.Errorf(errdef.Internal, "fcntl of a FIFO: %w", err)
	}
	return fds[0], fds[1], nil
}

// Files makes a pipe between this process and a program that is to have one end: which reads if in is set, and else writes. Its end blocks, as a program expects; ours is polled, so that it
// takes deadlines. With an empty label it is one of pipe(2). Both ends are one inode: who owns it may open it again.
func Files(label string, in bool) (theirs, ours *os.File, err error) {
	room := -1
	if label != "" {
		if room, err = Room(); err != nil {
			return nil, nil, err
		}
		defer unix.Close(room)
	}
	read, write, err := New(room, label)
	if err != nil {
		return nil, nil, err
	}
	its, own := write, read
	if in {
		its, own = read, write
	}
	if err := unix.SetNonblock(own, true); err != nil {
		unix.Close(its)
		unix.Close(own)
		return nil, nil, errdef.Errorf(errdef.Internal, "fcntl of a pipe: %w", err)
	}
	return os.NewFile(uintptr(its), "pipe"), os.NewFile(uintptr(own), "pipe"), nil
}

// LabelOf is the label of what a descriptor names; empty where it has none or none can be read.
func LabelOf(fd int) string {
	buf := make([]byte, maxLabel)
	// fgetxattr(2) does not answer for pipes of pipe(2) and sockets on all kernels; by the link in /proc it is the same object
	n, err := unix.Getxattr("/proc/self/fd/"+strconv.Itoa(fd), Attribute, buf)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(buf[:n]), "\x00")
}

func kindOf(err error) errdef.Kind {
	switch err {
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return errdef.Denied
	case unix.EINVAL:
		return errdef.Invalid
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.ENODEV:
		return errdef.Unsupported
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSPC:
		return errdef.Unavailable
	}
	return errdef.Internal
}
