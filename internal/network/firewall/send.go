package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// errCollected stops the library where it would send.
var errCollected = errors.New("collected")

// collecting returns a connection of the library that hands over the messages of a batch, in place of sending them. The library asks the kernel for an answer to each message, and for each rule
// to be repeated, and reads all of that one by one, which takes longer than what the kernel does for a start; its hook for dialling is its only way out.
func collecting(take func([]netlink.Message)) (*nftables.Conn, error) {
	return nftables.New(nftables.WithTestDial(func(m []netlink.Message) ([]netlink.Message, error) {
		take(m)
		return nil, errCollected
	}))
}

// send has the kernel carry out a batch. Only failures are answered, and the last message: the kernel has done all of it, and queued its answers, when the call returns.
func send(messages []netlink.Message) error {
	var b []byte
	last := uint32(0)
	for i := range messages {
		m := &messages[i]
		m.Header.PID = 0
		m.Header.Flags &^= unix.NLM_F_ECHO
		if i == len(messages)-2 { // the last one before the end of the batch
			last = m.Header.Sequence
		} else {
			m.Header.Flags &^= netlink.Acknowledge
		}
		raw, err := m.MarshalBinary()
		if err != nil {
			return err
		}
		b = append(b, raw...)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if len(b) > 64<<10 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, longest); err != nil {
			return fmt.Errorf("a batch of %d bytes: %w", len(b), err)
		}
	}
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return answers(fd, last)
}

// answers reads what the kernel has to say: nil if it is only that the last message went well.
func answers(fd int, last uint32) error {
	buf := make([]byte, 32<<10)
	done := false
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN && done:
			return nil
		case err == unix.EAGAIN:
			return errors.New("the kernel does not answer")
		case err != nil:
			return err
		}
		for m := buf[:n]; len(m) >= unix.SizeofNlMsghdr+4; {
			size := int(binary.NativeEndian.Uint32(m))
			if size < unix.SizeofNlMsghdr+4 || size > len(m) {
				break
			}
			if binary.NativeEndian.Uint16(m[4:]) == unix.NLMSG_ERROR {
				if no := int32(binary.NativeEndian.Uint32(m[unix.SizeofNlMsghdr:])); no != 0 {
					return unix.Errno(-no)
				}
				done = done || binary.NativeEndian.Uint32(m[8:]) == last
			}
			m = m[min((size+3)&^3, len(m)):]
		}
	}
}
