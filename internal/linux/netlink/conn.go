// Package netlink is as much of rtnetlink(7) as a runtime and an engine need: bring the loopback device up, and move a network device of the host into
// a container's network namespace (runtime-spec config-linux.md, "Network Devices"); make bridges and pairs of devices, with addresses, routes and neighbours.
//
//	err := netlink.LoopbackUp(nsfd)
//	name, err := netlink.MoveDevice("eth1", nsfd, "eth0")
//	h, err := netlink.Open()
//	bridge, err := h.AddBridge(netlink.Bridge{Name: "bh-1234"})
//	err = h.AddVeth(netlink.Veth{Name: "bh5678", Master: bridge, Peer: "eth0", NS: nsfd})
//
// It is written here because a general library costs the start of every container, and the memory of each one's parent, more than these few messages do.
// Security: replies are taken from the kernel only (port 0), lengths are checked, and every call ends after five seconds at most.
package netlink

import (
	"encoding/binary"
	"runtime"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

const (
	headerLen = 16 // struct nlmsghdr
	attrLen   = 4  // struct rtattr
	timeout   = 5  // seconds
	dumpTries = 8  // of a dump that was interrupted by a change (NLM_F_DUMP_INTR)
)

// conn is a socket in one network namespace. It belongs to that namespace wherever the thread goes.
type conn struct {
	fd  int
	seq uint32
}

// dial opens a socket in the network namespace of the calling thread.
func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "open rtnetlink socket: %w", err)
	}
	tv := unix.Timeval{Sec: timeout}
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv); err != nil {
			unix.Close(fd)
			return nil, errdef.Errorf(errdef.Internal, "set timeout of rtnetlink socket: %w", err)
		}
	}
	// Acknowledgements without the request in them (kernel 4.3); only saves bytes.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	return &conn{fd: fd}, nil
}

// dialIn opens a socket in the network namespace behind ns. The thread goes there and back; if it cannot come back it is given up.
func dialIn(ns int) (*conn, error) {
	if _, err := procfs.NamespaceOf(ns); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "network namespace: %w", err)
	}
	runtime.LockOSThread()
	home, err := ownNamespace()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer unix.Close(home)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, errdef.Errorf(kindOf(err), "enter network namespace: %w", err)
	}
	c, err := dial()
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		// Not unlocked: the thread ends with this goroutine and never runs anything else.
		if err == nil {
			c.close()
		}
		return nil, errdef.Errorf(errdef.Internal, "return from network namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return c, err
}

// ownNamespace opens the network namespace of the calling thread, which must be locked.
func ownNamespace() (int, error) {
	proc, err := procfs.Host()
	if err != nil {
		return -1, err
	}
	return proc.OpenLink(0, "task/"+strconv.Itoa(unix.Gettid())+"/ns/net", unix.O_RDONLY)
}

func (c *conn) close() { unix.Close(c.fd) }

// message builds a request: nlmsghdr, a fixed header, attributes.
type message struct{ b []byte }

func newMessage(kind, flags uint16, fixed []byte) *message {
	m := &message{make([]byte, headerLen, 256)}
	binary.NativeEndian.PutUint16(m.b[4:], kind)
	binary.NativeEndian.PutUint16(m.b[6:], flags|unix.NLM_F_REQUEST)
	m.b = append(m.b, fixed...)
	return m
}

func (m *message) attr(kind uint16, value []byte) {
	m.b = binary.NativeEndian.AppendUint16(m.b, uint16(attrLen+len(value)))
	m.b = binary.NativeEndian.AppendUint16(m.b, kind)
	m.b = append(m.b, value...)
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *message) uint32(kind uint16, v uint32) {
	m.attr(kind, binary.NativeEndian.AppendUint32(nil, v))
}

func (m *message) string(kind uint16, s string) { m.attr(kind, append([]byte(s), 0)) }

// exec sends a request and waits for the acknowledgement.
func (c *conn) exec(m *message) error {
	_, err := c.roundTrip(m, unix.NLM_F_ACK)
	return err
}

// query sends a request and returns the bodies of the replies; with NLM_F_DUMP in the request, of all parts. A dump that changed under
// our hands is asked for again.
func (c *conn) query(m *message) ([][]byte, error) {
	for range dumpTries {
		replies, err := c.roundTrip(m, 0)
		if err != unix.EINTR {
			return replies, err
		}
	}
	return nil, errdef.Errorf(errdef.Conflict, "read network devices: they kept changing")
}

func (c *conn) roundTrip(m *message, flags uint16) ([][]byte, error) {
	c.seq++
	binary.NativeEndian.PutUint32(m.b[0:], uint32(len(m.b)))
	binary.NativeEndian.PutUint16(m.b[6:], binary.NativeEndian.Uint16(m.b[6:])|flags)
	binary.NativeEndian.PutUint32(m.b[8:], c.seq)
	err := sys.Retry(func() error { return unix.Sendto(c.fd, m.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) })
	if err != nil {
		return nil, err
	}
	r := reader{seq: c.seq, single: flags&unix.NLM_F_ACK == 0}
	buf := make([]byte, 64<<10) // dumps come in parts of at most 32 KiB
	for !r.done {
		n, err := c.receive(buf)
		if err != nil {
			return nil, err
		}
		if err := r.read(buf[:n]); err != nil {
			return nil, err
		}
	}
	if r.interrupted {
		return nil, unix.EINTR
	}
	return r.bodies, nil
}

func (c *conn) receive(buf []byte) (int, error) {
	for {
		n, _, flags, from, err := unix.Recvmsg(c.fd, buf, nil, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return 0, errdef.Errorf(errdef.Timeout, "rtnetlink: no reply within %d seconds", timeout)
		case err != nil:
			return 0, err
		case flags&unix.MSG_TRUNC != 0:
			return 0, errdef.Errorf(errdef.Internal, "rtnetlink: reply longer than %d bytes", len(buf))
		}
		if a, ok := from.(*unix.SockaddrNetlink); ok && a.Pid == 0 {
			return n, nil
		}
		// Some process sent us this; only the kernel has port 0.
	}
}

// reader collects the replies to one request.
type reader struct {
	seq               uint32
	single            bool // a reply that is not part of a dump ends it; else only an acknowledgement does
	done, interrupted bool
	bodies            [][]byte
}

func (r *reader) read(b []byte) error {
	for len(b) >= headerLen && !r.done {
		size := int(binary.NativeEndian.Uint32(b))
		if size < headerLen || size > len(b) {
			return errdef.Errorf(errdef.Internal, "rtnetlink: message of %d bytes in %d", size, len(b))
		}
		kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
		body := b[headerLen:size]
		mine := binary.NativeEndian.Uint32(b[8:]) == r.seq
		b = b[min(align(size), len(b)):]
		if !mine {
			continue
		}
		r.interrupted = r.interrupted || flags&unix.NLM_F_DUMP_INTR != 0
		switch kind {
		case unix.NLMSG_NOOP:
		case unix.NLMSG_ERROR, unix.NLMSG_DONE:
			r.done = true
			if len(body) < 4 {
				continue
			}
			if e := int32(binary.NativeEndian.Uint32(body)); e < 0 {
				return unix.Errno(-e)
			}
		default:
			r.bodies = append(r.bodies, append([]byte(nil), body...))
			r.done = r.single && flags&unix.NLM_F_MULTI == 0
		}
	}
	return nil
}

func align(n int) int { return (n + 3) &^ 3 }

// attributes calls f for each attribute in b, with the flag bits of its type taken off.
func attributes(b []byte, f func(kind uint16, value []byte)) error {
	for len(b) >= attrLen {
		size := int(binary.NativeEndian.Uint16(b))
		if size < attrLen || size > len(b) {
			return errdef.Errorf(errdef.Internal, "rtnetlink: attribute of %d bytes in %d", size, len(b))
		}
		const typeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
		f(binary.NativeEndian.Uint16(b[2:])&typeMask, b[attrLen:size])
		b = b[min(align(size), len(b)):]
	}
	return nil
}

func kindOf(err error) errdef.Kind {
	switch err {
	case unix.ENODEV, unix.ENOENT:
		return errdef.NotFound
	case unix.EEXIST:
		return errdef.Exists
	case unix.EPERM, unix.EACCES:
		return errdef.Denied
	case unix.EINVAL:
		return errdef.Invalid
	case unix.EOPNOTSUPP:
		return errdef.Unsupported
	case unix.EBUSY:
		return errdef.Conflict
	}
	return errdef.KindOf(err)
}
