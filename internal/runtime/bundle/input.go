package bundle

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
)

// inputTimeout is how long whoever writes to a pipe may take, altogether.
const inputTimeout = 10 * time.Second

// ReadInput reads a file that the caller names on the command line, at most limit bytes: a regular one, or a pipe, which is what a shell makes of
// <(command), and which must be complete within 10 seconds. "-" is standard input. A directory or a device is refused.
func ReadInput(path string, limit int) ([]byte, error) {
	if path == "-" {
		return readDescriptor(path, 0, limit, true)
	}
	return readFile(path, limit, true)
}

// readFile reads a file of at most limit bytes. O_NONBLOCK keeps a FIFO from holding us in open(2), O_NOCTTY a terminal from becoming ours.
func readFile(path string, limit int, pipes bool) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil { // not an os.File: that would set up the Go runtime's poller
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	return readDescriptor(path, fd, limit, pipes)
}

func readDescriptor(path string, fd, limit int, pipes bool) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	var data []byte
	var err error
	switch kind := st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFREG && st.Size > int64(limit):
		err = unix.EFBIG
	case kind == unix.S_IFREG:
		data, err = sys.ReadAll(fd, limit)
	case pipes && (kind == unix.S_IFIFO || kind == unix.S_IFSOCK):
		data, err = readPipe(fd, limit, inputTimeout)
	case pipes:
		return nil, errdef.Errorf(errdef.Invalid, "read %q: neither a regular file nor a pipe", path)
	default:
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "read %q: not a regular file", path), "write the configuration to a file")
	}
	switch {
	case errors.Is(err, unix.EFBIG):
		return nil, errdef.Errorf(errdef.Invalid, "read %q: larger than %d MiB", path, limit>>20)
	case errors.Is(err, unix.ETIMEDOUT):
		return nil, errdef.Errorf(errdef.Timeout, "read %q: whoever writes to it did not finish in %v", path, inputTimeout)
	case err != nil:
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data, nil
}

// readPipe reads to the end of a pipe, at most limit bytes (else EFBIG), for as long as wait (else ETIMEDOUT). A FIFO that was opened before
// anybody writes to it is not at its end: pipe(7), poll(2) does not report a hangup before there was a writer.
func readPipe(fd, limit int, wait time.Duration) ([]byte, error) {
	var data []byte
	buf := make([]byte, 16<<10)
	for end := time.Now().Add(wait); ; {
		left := time.Until(end)
		if left <= 0 {
			return nil, unix.ETIMEDOUT
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err == nil && n > 0 {
			n, err = unix.Read(fd, buf)
			if err == nil && n == 0 {
				return data, nil
			}
		} else {
			n = 0
		}
		if err != nil && err != unix.EINTR && err != unix.EAGAIN {
			return nil, err
		}
		data = append(data, buf[:max(n, 0)]...)
		if len(data) > limit {
			return nil, unix.EFBIG
		}
	}
}
