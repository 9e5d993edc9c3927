package firewall

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/nfnetlink_conntrack.h.
const (
	ctGet       = 1
	ctDelete    = 2
	ctTupleOrig = 1
	ctTupleRepl = 2
	ctTupleIP   = 1
	ctTupleProt = 2
	ctIPv4Src   = 1
	ctIPv4Dst   = 2
	ctIPv6Src   = 3
	ctIPv6Dst   = 4
	ctProtoNum  = 1
	ctProtoDst  = 3
	ctFilter    = 25
	ctFilterOf  = 1 // which parts of the tuple that began the flow are looked at
	ctFilterSrc = 1 // its sender
)

// A flow is a connection that the kernel tracks.
type flow struct {
	orig, reply tuple
	rawOrig     []byte
}

type tuple struct {
	src, dst netip.Addr
	proto    proto
	dport    uint16
}

// forgetFlows has the kernel forget the flows of UDP that have to do with an end: those with its addresses, which somebody else may get, and those to its published ports, which began when
// nobody published them or somebody else did. A flow of UDP has no end of its own: a client that goes on sending would keep it for ever.
func forgetFlows(a network.Attached) error {
	ports := map[uint16]bool{}
	for _, p := range a.Endpoint.Ports {
		if p.Protocol == network.UDP {
			ports[p.First] = true
		}
	}
	if len(ports) == 0 {
		return nil
	}
	own := map[netip.Addr]bool{}
	for _, addr := range a.Endpoint.Addresses() {
		own[addr] = true
	}
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "connections: %w", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(kernelTime))
	for _, fam := range []byte{unix.AF_INET, unix.AF_INET6} {
		replies, err := c.Execute(ctMessage(ctGet, netlink.Dump, fam, nil))
		if err != nil {
			return errdef.Errorf(kindOf(err), "list connections: %w", err)
		}
		for _, m := range replies {
			f, ok := parseFlow(m.Data)
			if !ok || f.orig.proto != protocols[network.UDP] || !own[f.reply.src] && !own[f.orig.src] && !ports[f.orig.dport] {
				continue
			}
			if _, err := c.Execute(ctMessage(ctDelete, netlink.Acknowledge, fam, f.rawOrig)); err != nil && kindOf(err) != errdef.NotFound {
				return errdef.Errorf(kindOf(err), "forget a connection: %w", err)
			}
		}
	}
	return nil
}

// Forget has the kernel forget all flows that an end has begun, or that somebody who had its addresses before has: what belongs to a flow that was allowed once is not judged again, so the
// next who has the address would reach what its own policy does not let it. The end must not have a device, or none yet.
func Forget(a network.Attached) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "connections: %w", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(kernelTime))
	for _, addr := range a.Endpoint.Addresses() {
		fam := byte(unix.AF_INET)
		if addr.Is6() {
			fam = unix.AF_INET6
		}
		ask := ctMessage(ctGet, netlink.Dump, fam, nil)
		if addr.Is4() { // by IPv6 kernels tell, asked like that, all but those: 6.18 too
			ask.Data = append(ask.Data, attribute(ctTupleOrig|unix.NLA_F_NESTED, attribute(ctTupleIP|unix.NLA_F_NESTED, attribute(ctIPv4Src, addr.AsSlice())))...)
			ask.Data = append(ask.Data, attribute(ctFilter|unix.NLA_F_NESTED, attribute(ctFilterOf, binary.NativeEndian.AppendUint32(nil, ctFilterSrc)))...)
		}
		replies, err := c.Execute(ask) // a kernel before 5.8 knows no filter, and tells all
		if err != nil {
			return errdef.WithHint(errdef.Errorf(kindOf(err), "list connections of %s: %w", addr, err), "the kernel has to have CONFIG_NF_CT_NETLINK (modprobe nf_conntrack_netlink)")
		}
		for _, m := range replies {
			f, ok := parseFlow(m.Data)
			if !ok || f.orig.src != addr {
				continue
			}
			if _, err := c.Execute(ctMessage(ctDelete, netlink.Acknowledge, fam, f.rawOrig)); err != nil && kindOf(err) != errdef.NotFound {
				return errdef.Errorf(kindOf(err), "forget a connection of %s: %w", addr, err)
			}
		}
	}
	return nil
}

// attribute is one of a message to the kernel.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, padded(value)...)
}

func ctMessage(kind uint16, flags netlink.HeaderFlags, fam byte, orig []byte) netlink.Message {
	data := []byte{fam, unix.NFNETLINK_V0, 0, 0}
	if orig != nil {
		data = binary.NativeEndian.AppendUint16(data, uint16(4+len(orig)))
		data = binary.NativeEndian.AppendUint16(data, ctTupleOrig|unix.NLA_F_NESTED)
		data = append(data, padded(orig)...)
	}
	return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | kind), Flags: netlink.Request | flags}, Data: data}
}

func parseFlow(b []byte) (f flow, ok bool) {
	if len(b) < 4 {
		return f, false
	}
	attributes(b[4:], func(kind uint16, v []byte) {
		switch kind {
		case ctTupleOrig:
			f.orig, f.rawOrig = parseTuple(v), v
		case ctTupleRepl:
			f.reply = parseTuple(v)
		}
	})
	return f, f.orig.src.IsValid() && f.reply.src.IsValid()
}

func parseTuple(b []byte) (t tuple) {
	attributes(b, func(kind uint16, v []byte) {
		attributes(v, func(inner uint16, v []byte) {
			addr, _ := netip.AddrFromSlice(v)
			switch {
			case kind == ctTupleIP && (inner == ctIPv4Src || inner == ctIPv6Src):
				t.src = addr
			case kind == ctTupleIP && (inner == ctIPv4Dst || inner == ctIPv6Dst):
				t.dst = addr
			case kind == ctTupleProt && inner == ctProtoNum && len(v) > 0:
				t.proto = proto(v[0])
			case kind == ctTupleProt && inner == ctProtoDst && len(v) >= 2:
				t.dport = binary.BigEndian.Uint16(v)
			}
		})
	})
	return t
}

// attributes calls f for each attribute of a message of the kernel's.
func attributes(b []byte, f func(kind uint16, value []byte)) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}
