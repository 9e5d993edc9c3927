package netlink

import (
	"encoding/binary"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// A Prefix is an address and the length of its subnet, in bits: 4 or 16 bytes. It is not of net/netip, which brings more into the runtime than it needs.
type Prefix struct {
	IP   []byte
	Bits int
}

func (p Prefix) linkLocal() bool {
	return len(p.IP) == 4 && p.IP[0] == 169 && p.IP[1] == 254 || len(p.IP) == 16 && p.IP[0] == 0xfe && p.IP[1]&0xc0 == 0x80
}

// AddAddress gives a device an address. An IPv6 one may be used at once: nobody else has it, and nobody is asked. One that it has is fine.
func (h *Handle) AddAddress(index int, p Prefix) error {
	a := address{family: familyOf(p.IP), prefix: byte(p.Bits), local: p.IP, peer: p.IP}
	switch {
	case len(p.IP) == 16:
		a.flags = unix.IFA_F_NODAD
	case p.Bits < 31:
		n := binary.BigEndian.Uint32(p.IP) | uint32(1<<(32-p.Bits)-1)
		a.broadcast = binary.BigEndian.AppendUint32(nil, n)
	}
	if p.linkLocal() {
		a.scope = unix.RT_SCOPE_LINK
	}
	if err := h.c.addAddress(int32(index), a); err != unix.EEXIST {
		return wrap(err, "add address %x/%d", p.IP, p.Bits)
	}
	return nil
}

// Addresses returns those of all devices, by index, with the length of their subnets.
func (h *Handle) Addresses() (map[int][]Prefix, error) {
	replies, err := h.c.query(newMessage(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, 8)))
	if err != nil {
		return nil, wrap(err, "list addresses")
	}
	out := map[int][]Prefix{}
	for _, b := range replies {
		a, err := parseAddress(b)
		if err != nil {
			return nil, err
		}
		raw := a.local
		if raw == nil {
			raw = a.peer
		}
		if len(raw) == 4 || len(raw) == 16 {
			out[int(a.index)] = append(out[int(a.index)], Prefix{raw, int(a.prefix)})
		}
	}
	return out, nil
}

// A Route leads to where packets for a destination go.
type Route struct {
	To      Prefix // of length 0: the default route
	Gateway []byte // nil: the destination is on the device's own network
	Index   int    // of the device, 0: none
	Kind    byte   // as it is read: RTN_UNICAST and so on
	Table   uint32 // as it is read: RT_TABLE_MAIN and so on
}

// AddRoute adds a route in the main table. One that is there is fine.
func (h *Handle) AddRoute(r Route) error {
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	if r.Gateway == nil && len(r.To.IP) == 4 {
		scope = unix.RT_SCOPE_LINK
	}
	m := newMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, rtmsg(r.To, scope))
	if r.To.Bits > 0 {
		m.attr(unix.RTA_DST, r.To.IP)
	}
	if r.Gateway != nil {
		m.attr(unix.RTA_GATEWAY, r.Gateway)
	}
	m.uint32(unix.RTA_OIF, uint32(r.Index))
	if err := h.c.exec(m); err != unix.EEXIST {
		return wrap(err, "add a route to %x/%d", r.To.IP, r.To.Bits)
	}
	return nil
}

// DeleteRoute removes a route of the main table. One that is not there is fine.
func (h *Handle) DeleteRoute(r Route) error {
	m := newMessage(unix.RTM_DELROUTE, 0, rtmsg(r.To, unix.RT_SCOPE_NOWHERE))
	if r.To.Bits > 0 {
		m.attr(unix.RTA_DST, r.To.IP)
	}
	if r.Gateway != nil {
		m.attr(unix.RTA_GATEWAY, r.Gateway)
	}
	if r.Index != 0 {
		m.uint32(unix.RTA_OIF, uint32(r.Index))
	}
	if err := h.c.exec(m); err != unix.ESRCH && err != unix.ENOENT {
		return wrap(err, "remove the route to %x/%d", r.To.IP, r.To.Bits)
	}
	return nil
}

func rtmsg(to Prefix, scope byte) []byte {
	b := []byte{familyOf(to.IP), byte(to.Bits), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, unix.RTN_UNICAST}
	if scope == unix.RT_SCOPE_NOWHERE { // what is to be removed, whoever has made it
		b[5], b[7] = 0, 0
	}
	return append(b, 0, 0, 0, 0)
}

// Routes returns the routes of all tables, of both families.
func (h *Handle) Routes() ([]Route, error) {
	var out []Route
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		replies, err := h.c.query(newMessage(unix.RTM_GETROUTE, unix.NLM_F_DUMP, append([]byte{family}, make([]byte, 11)...)))
		if err != nil {
			return nil, wrap(err, "list routes")
		}
		for _, b := range replies {
			r, err := parseRoute(b)
			if err != nil {
				return nil, err
			}
			if r.To.IP != nil {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

func parseRoute(b []byte) (Route, error) {
	if len(b) < 12 {
		return Route{}, errdef.Errorf(errdef.Internal, "rtnetlink: route of %d bytes", len(b))
	}
	r := Route{Kind: b[7], Table: uint32(b[4])}
	size := map[byte]int{unix.AF_INET: 4, unix.AF_INET6: 16}[b[0]]
	if size == 0 || int(b[1]) > size*8 {
		return Route{}, nil
	}
	r.To = Prefix{make([]byte, size), int(b[1])}
	err := attributes(b[12:], func(kind uint16, v []byte) {
		switch {
		case kind == unix.RTA_DST && len(v) == size:
			r.To.IP = v
		case kind == unix.RTA_GATEWAY && len(v) == size:
			r.Gateway = v
		case kind == unix.RTA_OIF && len(v) == 4:
			r.Index = int(binary.NativeEndian.Uint32(v))
		case kind == unix.RTA_TABLE && len(v) == 4:
			r.Table = binary.NativeEndian.Uint32(v)
		}
	})
	return r, err
}
