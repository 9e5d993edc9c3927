package resolver

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

// Address is where a container finds its resolver, port 53. It is the one that Docker has, as some programs have learned it by heart.
var Address = netip.AddrFrom4([4]byte{127, 0, 0, 11})

// sockets are those in the container's namespace.
type sockets struct {
	packets *net.UDPConn
	streams *net.TCPListener
}

func (s *sockets) close() {
	_ = s.packets.Close()
	_ = s.streams.Close()
}

// listen makes the sockets in the namespace, and the way to them.
func listen(netns int) (s *sockets, err error) {
	thread.Spend(func() {
		if err = unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
			err = errdef.Errorf(errdef.Internal, "resolver: enter the network namespace: %w", err)
			return
		}
		s, err = open()
	})
	if err != nil {
		return nil, err
	}
	packets, streams := portOf(s.packets.LocalAddr()), portOf(s.streams.Addr())
	if err := redirect(netns, packets, streams); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func portOf(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.UDPAddr:
		return uint16(a.Port)
	case *net.TCPAddr:
		return uint16(a.Port)
	}
	return 0
}

// open makes the sockets in the namespace of the calling thread.
func open() (*sockets, error) {
	c := net.ListenConfig{Control: control, KeepAliveConfig: net.KeepAliveConfig{Enable: false}}
	c.SetMultipathTCP(false)
	at := netip.AddrPortFrom(Address, 0).String()
	packets, err := c.ListenPacket(context.Background(), "udp4", at)
	if err != nil {
		return nil, errdef.Errorf(errdef.Internal, "resolver: listen on %s: %w", Address, err)
	}
	streams, err := c.Listen(context.Background(), "tcp4", at)
	if err != nil {
		_ = packets.Close()
		return nil, errdef.Errorf(errdef.Internal, "resolver: listen on %s: %w", Address, err)
	}
	return &sockets{packets.(*net.UDPConn), streams.(*net.TCPListener)}, nil
}

// control binds a socket to the loopback device, so that nothing which comes from elsewhere reaches it; and lets it have its address before that device is up. What a client by TCP does not acknowledge
// is not kept for it after writeTime, not even by the kernel for a connection that was closed; connections have this from their listener.
func control(network, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr) {
		if err = unix.BindToDevice(int(fd), "lo"); err == nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		}
		if err == nil && network == "tcp4" {
			err = unix.SetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_USER_TIMEOUT, int(writeTime.Milliseconds()))
		}
	}
	if e := c.Control(set); e != nil {
		return e
	}
	return err
}
