package net

import (
	"encoding/binary"
	"net/netip"
)

type mac [6]byte

var (
	everybody = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes  = mac{0x33, 0x33, 0, 0, 0, 1}
	bridges   = mac{0x01, 0x80, 0xc2, 0, 0, 0x0e}
)

const (
	typeIP4  = 0x0800
	typeARP  = 0x0806
	typeVLAN = 0x8100
	typeIP6  = 0x86dd
)

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func eth(dst, src mac, typ uint16, payload []byte) []byte {
	return join(dst[:], src[:], be16(typ), payload)
}

func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		s += uint32(b[len(b)-1]) << 8
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// A packet of IP, in parts that a test may change before it is put together.
type packet struct {
	src, dst netip.Addr
	proto    byte
	payload  []byte
	options  []byte // of IPv4, or extension headers of IPv6
	next     byte   // of IPv6: the first extension header, if there are some
	fragment uint16 // the field of IPv4
	ttl      byte
}

func (p packet) bytes() []byte {
	if p.ttl == 0 {
		p.ttl = 64
	}
	if p.dst.Is6() {
		if p.options == nil {
			p.next = p.proto
		}
		body := join(p.options, p.payload)
		return join([]byte{0x60, 0, 0, 0}, be16(uint16(len(body))), []byte{p.next, p.ttl}, p.src.AsSlice(), p.dst.AsSlice(), body)
	}
	h := join([]byte{0x45 + byte(len(p.options)/4), 0}, be16(uint16(20+len(p.options)+len(p.payload))), be16(7), be16(p.fragment), []byte{p.ttl, p.proto, 0, 0}, p.src.AsSlice(), p.dst.AsSlice(), p.options)
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(h, p.payload...)
}

// frame is the packet on the wire.
func (p packet) frame(dst, src mac) []byte {
	typ := uint16(typeIP4)
	if p.dst.Is6() {
		typ = typeIP6
	}
	return eth(dst, src, typ, p.bytes())
}

func checked(src, dst netip.Addr, proto byte, at int, b []byte) []byte {
	pseudo := join(src.AsSlice(), dst.AsSlice(), be16(0), be16(uint16(len(b))), []byte{0, proto})
	binary.BigEndian.PutUint16(b[at:], sum(append(pseudo, b...)))
	return b
}

func udp(src, dst netip.Addr, sport, dport uint16, data []byte) packet {
	b := join(be16(sport), be16(dport), be16(uint16(8+len(data))), be16(0), data)
	return packet{src: src, dst: dst, proto: 17, payload: checked(src, dst, 17, 6, b)}
}

// tcp is a segment; flags: 2 is SYN, 0x10 ACK, 0x18 with data.
func tcp(src, dst netip.Addr, sport, dport uint16, flags byte, data []byte) packet {
	b := join(be16(sport), be16(dport), []byte{0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags}, be16(1024), be16(0), be16(0), data)
	return packet{src: src, dst: dst, proto: 6, payload: checked(src, dst, 6, 16, b)}
}

func icmp(src, dst netip.Addr, typ, code byte, body []byte) packet {
	b := join([]byte{typ, code, 0, 0}, body)
	if dst.Is6() {
		return packet{src: src, dst: dst, proto: 58, payload: checked(src, dst, 58, 2, b), ttl: 255}
	}
	binary.BigEndian.PutUint16(b[2:], sum(b))
	return packet{src: src, dst: dst, proto: 1, payload: b}
}

// arp is a message of ARP with a mark behind it.
func arp(op uint16, sender mac, ip netip.Addr, target mac, tip netip.Addr, mark []byte) []byte {
	return join(be16(1), be16(typeIP4), []byte{6, 4}, be16(op), sender[:], ip.AsSlice(), target[:], tip.AsSlice(), mark)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
