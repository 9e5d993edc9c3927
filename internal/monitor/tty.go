package monitor

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// bind makes a socket in a directory. The path goes through a descriptor: an address takes 107 bytes (unix(7)).
func bind(dir, name string) (*net.UnixListener, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	defer unix.Close(fd)
	short := "/proc/self/fd/" + strconv.Itoa(fd) + "/" + name
	_ = os.Remove(short)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: socket %s: %w", name, err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(short, 0o600); err != nil {
		_ = l.Close()
		return nil, errdef.Errorf(errdef.Unavailable, "monitor: %w", err)
	}
	return l, nil
}

// listen makes the socket to which the runtime sends a terminal.
func (s *streams) listen(run string) error {
	const name = "tty"
	l, err := bind(run, name)
	if err != nil {
		return err
	}
	path := filepath.Join(run, name)
	s.tty = path
	s.take = func() (*os.File, error) {
		defer l.Close()
		_ = l.SetDeadline(time.Now().Add(10 * time.Second))
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, errdef.Errorf(errdef.Internal, "monitor: no terminal came: %w", err)
		}
		defer conn.Close()
		return receive(conn)
	}
	return nil
}

// receive takes one descriptor.
func receive(conn *net.UnixConn) (*os.File, error) {
	data, space := make([]byte, 128), make([]byte, unix.CmsgSpace(4))
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, n, _, _, err := conn.ReadMsgUnix(data, space)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "monitor: no terminal came: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(space[:n])
	if err != nil || len(messages) != 1 {
		return nil, errdef.Errorf(errdef.Internal, "monitor: no terminal came: %v", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errdef.Errorf(errdef.Internal, "monitor: no terminal came: %v", err)
	}
	unix.CloseOnExec(fds[0])
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "monitor: terminal: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

// resize tells a terminal its size.
func resize(f *os.File, height, width uint16) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var ioctlErr error
	err = raw.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	})
	if err == nil {
		err = ioctlErr
	}
	return err
}
