package nflog

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network/refusal"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/nfnetlink_log.h.
const (
	logPacket  = 0
	logConfig  = 1
	cfgCommand = 1
	cfgMode    = 2
	cfgThresh  = 5
	cmdBind    = 1
	copyPacket = 2

	attrHeader  = 1
	attrIn      = 4
	attrOut     = 5
	attrPayload = 9

	hookInput = 1 // NF_INET_LOCAL_IN
)

const (
	firstGroup = 1024 // lower ones are for people
	groups     = 1<<16 - firstGroup
	attempts   = 512
	copied     = 128             // bytes of a packet: headers
	startTime  = 5 * time.Second // for the kernel to answer
)

// A Listener hears what is refused to one container.
type Listener struct {
	conn  *netlink.Conn
	group uint16
}

// Listen takes a log group for a container.
func Listen(container string) (*Listener, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "listen to refusals: %w", err)
	}
	_ = c.SetDeadline(time.Now().Add(startTime))
	h := uint32(2166136261) // FNV-1a
	for i := range len(container) {
		h = (h ^ uint32(container[i])) * 16777619
	}
	for i := range uint32(attempts) {
		group := uint16(firstGroup + (h+i)%groups)
		err = configure(c, group, cfgCommand, []byte{cmdBind})
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM) && i < attempts-1 {
			continue
		}
		if err == nil {
			err = errors.Join(configure(c, group, cfgMode, []byte{0, 0, 0, copied, copyPacket, 0}), configure(c, group, cfgThresh, []byte{0, 0, 0, 1}))
		}
		if err == nil {
			_ = c.SetDeadline(time.Time{})
			return &Listener{c, group}, nil
		}
		break
	}
	_ = c.Close()
	err = errdef.Errorf(errdef.Unsupported, "listen to refusals: %w", err)
	return nil, errdef.WithHint(err, "the kernel's configuration has to have CONFIG_NETFILTER_NETLINK_LOG (modprobe nfnetlink_log)")
}

func configure(c *netlink.Conn, group uint16, kind uint16, value []byte) error {
	data := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, group)
	data = binary.NativeEndian.AppendUint16(data, uint16(4+len(value)))
	data = binary.NativeEndian.AppendUint16(data, kind)
	data = append(data, value...)
	for len(data)%4 != 0 {
		data = append(data, 0)
	}
	_, err := c.Execute(netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_ULOG<<8 | logConfig), Flags: netlink.Request | netlink.Acknowledge}, Data: data})
	return err
}

// Group is the number of the log group, for the rules.
func (l *Listener) Group() uint16 { return l.group }

// Close gives the group back.
func (l *Listener) Close() error { return l.conn.Close() }

// Run calls f for each refused packet, until ctx is done or the listener is closed.
func (l *Listener) Run(ctx context.Context, f func(refusal.Packet)) error {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	defer stop()
	for {
		messages, err := l.conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS): // some were lost: that there are many is said by the others
			continue
		case err != nil:
			return errdef.Errorf(errdef.Unavailable, "listen to refusals: %w", err)
		}
		for _, m := range messages {
			if uint16(m.Header.Type) != unix.NFNL_SUBSYS_ULOG<<8|logPacket || len(m.Data) < 4 {
				continue
			}
			if p, ok := parse(m.Data[4:]); ok {
				p.Time = time.Now()
				f(p)
			}
		}
	}
}

// parse reads a message of the kernel's.
func parse(b []byte) (p refusal.Packet, ok bool) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		v := b[4:n]
		switch kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER); {
		case kind == attrHeader && len(v) >= 3:
			p.ToHost = v[2] == hookInput
		case kind == attrIn && len(v) >= 4:
			p.In = int(binary.BigEndian.Uint32(v))
		case kind == attrOut && len(v) >= 4:
			p.Out = int(binary.BigEndian.Uint32(v))
		case kind == attrPayload:
			ok = headers(&p, v)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return p, ok
}

// headers reads those of IP and of ports.
func headers(p *refusal.Packet, b []byte) bool {
	var src, dst netip.Addr
	var rest []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		p.Protocol = b[9]
		if first := binary.BigEndian.Uint16(b[6:])&0x1fff == 0; first {
			rest = b[min(int(b[0]&15)*4, len(b)):]
		}
	case len(b) >= 40 && b[0]>>4 == 6:
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		p.Protocol, rest = b[6], b[40:]
	default:
		return false
	}
	var sport, dport uint16
	switch p.Protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE:
		if len(rest) >= 4 {
			sport, dport = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
		}
	}
	p.Src, p.Dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return true
}
