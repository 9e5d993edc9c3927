package wire

import (
	"io"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// maxFDs is how many descriptors a packet may bring.
const maxFDs = 2

// A Conn is one end of the socket. Send may be called by many at once, Receive by one.
type Conn struct {
	fd  int
	buf []byte
	oob []byte
	mu  sync.Mutex // of closing
}

// Pair makes a connected pair of sockets, both close-on-exec.
func Pair() (a, b int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, errdef.Errorf(errdef.Internal, "socketpair: %w", err)
	}
	return p[0], p[1], nil
}

// NewConn takes over the descriptor of a socket.
func NewConn(fd int) *Conn {
	return &Conn{fd: fd, buf: make([]byte, MaxMessage+1), oob: make([]byte, unix.CmsgSpace(4*maxFDs))}
}

// Send sends a packet with descriptors, which stay the caller's. An error of kind Unavailable: the other end is gone.
func (c *Conn) Send(m *Message, fds ...int) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for {
		err = unix.Sendmsg(c.fd, b, oob, nil, unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EPIPE, unix.ECONNRESET, unix.EBADF:
			return errdef.Errorf(errdef.Unavailable, "send to the unpacking process: %w", err)
		}
		return errdef.Errorf(errdef.Internal, "send to the unpacking process: %w", err)
	}
}

// Receive returns the next packet and its descriptors, io.EOF when the other end is gone. Descriptors that take is false for are closed.
func (c *Conn) Receive(take bool) (*Message, []int, error) {
	var n, oobn, flags int
	var err error
	for {
		n, oobn, flags, _, err = unix.Recvmsg(c.fd, c.buf, c.oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err == unix.ECONNRESET || err == nil && n == 0 && oobn == 0 {
		return nil, nil, io.EOF
	}
	if err != nil {
		return nil, nil, errdef.Errorf(errdef.Internal, "receive from the unpacking process: %w", err)
	}
	fds := rights(c.oob[:oobn])
	m, err := Decode(c.buf[:n])
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 && err == nil {
		err = errdef.Errorf(errdef.Invalid, "a message to or from the unpacking process is too long")
	}
	if err != nil || !take {
		closeAll(fds)
		fds = nil
	}
	return m, fds, err
}

func rights(oob []byte) []int {
	var fds []int
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range msgs {
		if got, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// Shutdown makes Receive of both ends return io.EOF.
func (c *Conn) Shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
}

// Close closes the descriptor; nobody may be in Receive or Send.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}
