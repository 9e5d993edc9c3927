package selinux

import (
	"crypto/rand"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// Pipe makes a pipe for a container's standard input, output or error that has the label of the container's files. A pipe of pipe(2) has the label of
// the process that makes it, which no policy seen so far lets it change, and many let no container write into those of an engine that is not
// confined itself (Debian's, for unconfined_t): what the container prints is lost without a word. This one is a FIFO, made in a directory that only
// the caller may write and that keeps labels, such as one below /run; it has no name any more when the call returns. With an empty label it is one of pipe(2).
//
// Both ends are blocking and close-on-exec. Errors: Denied and Invalid for a label that may not be given, Unsupported where dir keeps none.
func Pipe(dir int, label string) (read, write int, err error) {
	if label == "" {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return -1, -1, errdef.Errorf(errdef.Unavailable, "pipe: %w", err)
		}
		return p[0], p[1], nil
	}
	name := ".pipe." + rand.Text()
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
	if err := unix.Fsetxattr(fds[0], attribute, []byte(label), 0); err != nil {
		return -1, -1, errdef.Errorf(kindOf(err), "label a FIFO %q: %w", label, err)
	}
	if err := unix.SetNonblock(fds[0], false); err != nil {
		return -1, -1, errdef.Errorf(errdef.Internal, "fcntl of a FIFO: %w", err)
	}
	return fds[0], fds[1], nil
}
