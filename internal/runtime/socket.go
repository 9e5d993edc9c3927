package runtime

import (
	"path/filepath"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// What runc sends along with a descriptor, and receivers may look at: the name of the file, and which kind of process a pidfd is of.
const (
	masterName   = "/dev/ptmx"
	initPidfd    = "standard"
	joinedPidfd  = "setns"
	maxSocketLen = 107 // bytes of sun_path without the NUL: unix(7)
)

// dial connects to a unix stream socket. A path too long for an address is reached through its directory.
func dial(path string) (int, error) {
	fd, err := connect(path, unix.SOCK_STREAM)
	if err != nil {
		return -1, errdef.Errorf(errdef.Unavailable, "connect to socket %q: %w", path, err)
	}
	return fd, nil
}

func connect(path string, kind int) (int, error) {
	addr := path
	if len(path) > maxSocketLen {
		dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		defer unix.Close(dir)
		addr = "/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: addr})
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// sendFD sends a descriptor with its name as the data: the protocol of --console-socket and --pidfd-socket.
func sendFD(socket, fd int, name string) error {
	for {
		err := unix.Sendmsg(socket, []byte(name), unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return errdef.Errorf(errdef.Unavailable, "send a descriptor over the socket: %w", err)
		}
	}
}
