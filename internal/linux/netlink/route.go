package netlink

import (
	"encoding/binary"
	"net/netip"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// AddAddress gives a device an address. An IPv6 one may be used at once: nobody else has it, and nobody is asked. One that it has is fine.
func (h *Handle) AddAddress(index int, p netip.Prefix) error {
	a := address{family: familyOf(p.Addr()), prefix: byte(p.Bits()), local: p.Addr().AsSlice()}
	a.peer = a.local
	switch {
	case p.Addr().Is6():
		a.flags = unix.IFA_F_NODAD
	case p.Bits() < 31:
		last := last4(p)
		a.broadcast = last[:]
	}
	if p.Addr().IsLinkLocalUnicast() {
		a.scope = unix.RT_SCOPE_LINK
	}
	if err := h.c.addAddress(int32(index), a); err != unix.EEXIST {
		return wrap(err, "add address %s", p)
	}
	return nil
}

func last4(p netip.Prefix) [4]byte {
	b := p.Addr().As4()
	n := binary.BigEndian.Uint32(b[:]) | uint32(1<<(32-p.Bits())-1)
	binary.BigEndian.PutUint32(b[:], n)
	return b
}

// Addresses returns those of all devices, by index, with the length of their subnets.
func (h *Handle) Addresses() (map[int][]netip.Prefix, error) {
	replies, err := h.c.query(newMessage(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, 8)))
	if err != nil {
		return nil, wrap(err, "list addresses")
	}
	out := map[int][]netip.Prefix{}
	for _, b := range replies {
		a, err := parseAddress(b)
		if err != nil {
			return nil, err
		}
		raw := a.local
		if raw == nil {
			raw = a.peer
		}
		if ip, ok := netip.AddrFromSlice(raw); ok {
			out[int(a.index)] = append(out[int(a.index)], netip.PrefixFrom(ip, int(a.prefix)))
		}
	}
	return out, nil
}

// A Route leads to where packets for a destination go.
type Route struct {
	To      netip.Prefix // of length 0: the default route
	Gateway netip.Addr   // the zero value: the destination is on the device's own network
	Index   int          // of the device, 0: none
	Kind    byte         // of the route, RTN_UNICAST and so on; 0 is RTN_UNICAST when added
	Table   uint32       // RT_TABLE_*; 0 is the main one when added
}

// AddRoute adds a route in the main table. One that is there is fine.
func (h *Handle) AddRoute(r Route) error {
	scope := byte(unix.RT_SCOPE_UNIVERSE)
	if !r.Gateway.IsValid() && r.To.Addr().Is4() {
		scope = unix.RT_SCOPE_LINK
	}
	m := newMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, rtmsg(r.To, scope))
	if r.To.Bits() > 0 {
		m.attr(unix.RTA_DST, r.To.Addr().AsSlice())
	}
	if r.Gateway.IsValid() {
		m.attr(unix.RTA_GATEWAY, r.Gateway.AsSlice())
	}
	m.uint32(unix.RTA_OIF, uint32(r.Index))
	if err := h.c.exec(m); err != unix.EEXIST {
		return wrap(err, "add a route to %s", r.To)
	}
	return nil
}

// DeleteRoute removes a route of the main table. One that is not there is fine.
func (h *Handle) DeleteRoute(r Route) error {
	m := newMessage(unix.RTM_DELROUTE, 0, rtmsg(r.To, unix.RT_SCOPE_NOWHERE))
	if r.To.Bits() > 0 {
		m.attr(unix.RTA_DST, r.To.Addr().AsSlice())
	}
	if r.Gateway.IsValid() {
		m.attr(unix.RTA_GATEWAY, r.Gateway.AsSlice())
	}
	if r.Index != 0 {
		m.uint32(unix.RTA_OIF, uint32(r.Index))
	}
	if err := h.c.exec(m); err != unix.ESRCH && err != unix.ENOENT {
		return wrap(err, "remove the route to %s", r.To)
	}
	return nil
}

func rtmsg(to netip.Prefix, scope byte) []byte {
	b := []byte{familyOf(to.Addr()), byte(to.Bits()), 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, scope, unix.RTN_UNICAST}
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
			if r.To.IsValid() {
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
	to := netip.IPv6Unspecified()
	if b[0] == unix.AF_INET {
		to = netip.IPv4Unspecified()
	} else if b[0] != unix.AF_INET6 {
		return Route{}, nil
	}
	err := attributes(b[12:], func(kind uint16, v []byte) {
		switch a, ok := netip.AddrFromSlice(v); {
		case kind == unix.RTA_DST && ok:
			to = a
		case kind == unix.RTA_GATEWAY && ok:
			r.Gateway = a
		case kind == unix.RTA_OIF && len(v) == 4:
			r.Index = int(binary.NativeEndian.Uint32(v))
		case kind == unix.RTA_TABLE && len(v) == 4:
			r.Table = binary.NativeEndian.Uint32(v)
		}
	})
	if int(b[1]) <= to.BitLen() {
		r.To = netip.PrefixFrom(to, int(b[1]))
	}
	return r, err
}
