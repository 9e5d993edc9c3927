package firewall

import (
	"net/netip"

	"github.com/bulkhead-engine/bulkhead/internal/network"
)

// A permit is a subnet and what of it may be reached.
type permit struct {
	prefix   netip.Prefix
	protocol string // "": with a port tcp and udp, without one all
	port     uint16 // 0: all
}

// static are the subnets that two policies both allow, whatever names come to mean.
func static(own, net network.Policy) []permit {
	var out []permit
	for _, a := range grants(own) {
		for _, b := range grants(net) {
			if p, ok := meet(a, b); ok {
				out = append(out, p)
			}
		}
	}
	return out
}

// grants are the subnets that a policy allows by their addresses.
func grants(p network.Policy) []permit {
	if p.Open {
		return everything()
	}
	var out []permit
	for _, d := range p.Allow {
		if d.Host == "" && d.Prefix.IsValid() {
			out = append(out, permit{d.Prefix.Masked(), d.Protocol, d.Port})
		}
	}
	return out
}

func everything() []permit {
	return []permit{{prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, {prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0)}}
}

// meet is what two permits have in common.
func meet(a, b permit) (permit, bool) {
	if !a.prefix.Overlaps(b.prefix) {
		return permit{}, false
	}
	if a.prefix.Bits() < b.prefix.Bits() {
		a, b = b, a
	}
	switch { // a has the smaller subnet
	case b.protocol == "":
	case a.protocol == "" || a.protocol == b.protocol:
		a.protocol = b.protocol
	default:
		return permit{}, false
	}
	switch {
	case b.port == 0:
	case a.port == 0 || a.port == b.port:
		a.port = b.port
	default:
		return permit{}, false
	}
	return a, true
}

// named are the destinations of the two policies of an end that hold for an address of a name: those for the name, those for the address. It is what may be learned.
func named(own, net network.Policy, matches func(network.Destination) bool, addr netip.Addr) []permit {
	one := netip.PrefixFrom(addr, addr.BitLen())
	list := func(p network.Policy) (out []permit, byName bool) {
		out = grants(p)
		for _, d := range p.Allow {
			if d.Host != "" && matches(d) {
				out, byName = append(out, permit{one, d.Protocol, d.Port}), true
			}
		}
		return out, byName
	}
	a, named1 := list(own)
	b, named2 := list(net)
	if !named1 && !named2 {
		return nil
	}
	var out []permit
	for _, x := range a {
		for _, y := range b {
			if p, ok := meet(x, y); ok && p.prefix.Contains(addr) {
				p.prefix = one
				out = append(out, p)
			}
		}
	}
	return out
}

// A placed element is one with the set, without the digit of its family, that it belongs to.
type placed struct {
	set     string
	element element
}

// elements are those of a permit for one source.
func (p permit) elements(src netip.Addr) []placed {
	if p.protocol == "" && p.port == 0 {
		return []placed{{"allow", key(src, p.prefix)}}
	}
	ports := span{p.port, p.port}
	if p.port == 0 {
		ports = span{0, 65535}
	}
	var out []placed
	for _, pr := range p.protocols() {
		out = append(out, placed{"allowport", key(src, p.prefix, pr, ports)})
	}
	return out
}

// learned are the elements of a permit for one source whose subnet is one address that a name has. All ports of one protocol cannot be said of a name.
func (p permit) learned(src netip.Addr) []placed {
	if p.protocol == "" && p.port == 0 {
		return []placed{{"name", key(src, p.prefix.Addr())}}
	}
	var out []placed
	for _, pr := range p.protocols() {
		if p.port != 0 {
			out = append(out, placed{"nameport", key(src, p.prefix.Addr(), pr, port(p.port))})
		}
	}
	return out
}

func (p permit) protocols() []proto {
	if p.protocol == "" {
		return []proto{protocols[network.TCP], protocols[network.UDP]}
	}
	return []proto{protocols[p.protocol]}
}

// opened reports whether something that is closed to everybody is opened by one of two policies, and not kept closed by the other.
func opened(own, net network.Policy, flag func(network.Policy) bool) bool {
	return (flag(own) || flag(net)) && (flag(own) || own.Open) && (flag(net) || net.Open)
}
