package resolver

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
)

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// local answers what nobody outside is asked for; ok is false for the rest.
func local(q *query, names Names) (a answer, ok bool) {
	if q.class != classIN {
		return answer{code: codeRefused}, true
	}
	if q.name == "" {
		return answer{}, false // the root of the world
	}
	if addrs, known := names.Lookup(q.name); known {
		return q.addresses(addrs), true
	}
	last := q.name[strings.LastIndexByte(q.name, '.')+1:]
	switch last {
	case "localhost": // RFC 6761, section 6.3
		return q.addresses([]netip.Addr{loopback4, loopback6}), true
	case "invalid", "onion", "alt": // RFC 6761, section 6.4; RFC 7686; RFC 9476
		return answer{code: codeName, flags: flagAA}, true
	case "arpa":
		if addr, isAddr := arpa(q.name); isAddr {
			return q.reverse(addr, names)
		}
	}
	if last == q.name || inNetwork(q.name, names.Networks()) {
		return answer{code: codeName, flags: flagAA}, true
	}
	return answer{}, false
}

// addresses answers with those of the family that was asked for, in random order.
func (q *query) addresses(all []netip.Addr) answer {
	a := answer{flags: flagAA, ttl: localTTL}
	for _, addr := range all {
		if q.typ == typeANY || q.typ == typeA && addr.Is4() || q.typ == typeAAAA && addr.Is6() {
			a.addrs = append(a.addrs, addr)
		}
	}
	rand.Shuffle(len(a.addrs), func(i, k int) { a.addrs[i], a.addrs[k] = a.addrs[k], a.addrs[i] })
	return a
}

func (q *query) reverse(addr netip.Addr, names Names) (answer, bool) {
	list, mine := names.Reverse(addr)
	if addr.IsLoopback() {
		list, mine = []string{"localhost"}, true
	}
	a := answer{flags: flagAA, ttl: localTTL}
	switch {
	case len(list) > 0:
		if q.typ == typePTR || q.typ == typeANY {
			a.names = list
		}
	case mine:
		a.code = codeName
	default:
		return answer{}, false
	}
	return a, true
}

// inNetwork reports whether a name is below that of a network which is no name of the world's. A top-level domain has letters only, or begins with xn-- (RFC 3696, section 2); a network whose
// name is such a one ("app", "dev") owns the names of its containers, and the rest is the world's.
func inNetwork(name string, networks []string) bool {
	return slices.ContainsFunc(networks, func(n string) bool {
		top := n[strings.LastIndexByte(n, '.')+1:]
		return strings.HasSuffix(name, "."+n) && !strings.HasPrefix(top, "xn--") && strings.ContainsAny(top, "0123456789-_")
	})
}
