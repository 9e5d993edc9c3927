package resolver

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// A Policy says what names a container may ask the world for, and is told of what it learns. Names are in lower case, without the last dot. Calls come from many goroutines.
type Policy interface {
	// Limits reports whether there is a policy now; without, nothing else is called.
	Limits() bool
	// Allowed reports whether a name may be asked for.
	Allowed(name string) bool
	// Learn is called before the container gets the addresses of an allowed name; they must be open to it when it returns, for that long at least. An error keeps the answer from the container.
	Learn(name string, addrs []netip.Addr, lasts time.Duration) error
	// Closed reports whether an address stays closed although an allowed name has it. Loopback, link-local, multicast and unspecified addresses, and those of the metadata services of
	// clouds, are closed without being asked for.
	Closed(addr netip.Addr) bool
	// Refused is told what was refused. It must not block.
	Refused(Refusal)
}

// A Refusal is something that a container was not told.
type Refusal struct {
	Name   string
	Type   uint16     // of RFC 1035: 1 is A, 28 is AAAA
	Addr   netip.Addr // the address that is closed; the zero value: the name itself was refused
	Client netip.AddrPort
	Stream bool // the client's socket is one of TCP
}

// before decides about a query that would leave the machine; ok is false if it may.
func before(q *query, p Policy) (a answer, ok bool) {
	if !p.Allowed(q.name) {
		p.Refused(Refusal{Name: q.name, Type: q.typ, Client: q.client, Stream: q.stream})
		return answer{code: codeName, ede: edeBlocked, text: "egress policy"}, true
	}
	switch q.typ {
	case typeHTTPS, typeSVCB:
		return answer{}, true
	case typeANY:
		return answer{code: codeNotImpl}, true
	}
	return answer{}, false
}

// after holds an answer to the policy, and has it learned; ok is false if the answer may go.
func after(q *query, r *response, p Policy) (a answer, ok bool) {
	for _, list := range [][]record{r.answer, r.other} {
		for i := range list {
			addr, isAddr := list[i].addr(r.msg)
			if isAddr && (closed(addr) || p.Closed(addr)) {
				p.Refused(Refusal{Name: q.name, Type: q.typ, Addr: addr, Client: q.client, Stream: q.stream})
				return answer{code: codeName, ede: edeBlocked, text: "egress policy: closed address"}, true
			}
		}
	}
	r.shorten(uint32(learnRoof / time.Second))
	addrs, ttl := r.addresses(q)
	if len(addrs) == 0 {
		return answer{}, false
	}
	lasts := max(time.Duration(ttl)*time.Second+learnGrace, learnFloor)
	if p.Learn(q.name, addrs, lasts) != nil {
		return answer{code: codeServer}, true
	}
	return answer{}, false
}

// addresses returns those that the name leads to, by aliases or directly, and the longest TTL among them: a client may keep each by itself.
func (r *response) addresses(q *query) (addrs []netip.Addr, ttl uint32) {
	name := q.name
	for range maxChain {
		next := ""
		for i := range r.answer {
			rec := &r.answer[i]
			if rec.name != name {
				continue
			}
			if addr, ok := rec.addr(r.msg); ok {
				addrs = append(addrs, addr)
				ttl = max(ttl, rec.ttl)
			} else if rec.typ == typeCNAME && rec.class == classIN {
				next = rec.target(r.msg)
			}
		}
		if next == "" || len(addrs) > 0 {
			break
		}
		name = next
	}
	return addrs, ttl
}

// shorten makes no TTL longer than most, in seconds. One with the highest bit set counts as zero: RFC 2181, section 8.
func (r *response) shorten(most uint32) {
	for _, list := range [][]record{r.answer, r.other} {
		for i := range list {
			rec := &list[i]
			if rec.typ == typeOPT || rec.ttl <= most {
				continue
			}
			if rec.ttl >= 1<<31 {
				rec.ttl = 0
			} else {
				rec.ttl = most
			}
			binary.BigEndian.PutUint32(r.msg[rec.ttlAt:], rec.ttl)
		}
	}
}

// metadata are the addresses of metadata services that are not link-local: of Amazon by IPv6, Alibaba, Azure's host, Oracle.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"),
}

var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
	sixto4  = netip.MustParsePrefix("2002::/16")
	thisNet = netip.MustParsePrefix("0.0.0.0/8")
	site    = netip.MustParsePrefix("fec0::/10")
	compat  = netip.MustParsePrefix("::/96")
)

// closed reports whether no name of the world's may have an address.
func closed(a netip.Addr) bool {
	a = a.Unmap()
	b := a.As16()
	switch {
	case a.Is6() && (nat64.Contains(a) || compat.Contains(a) && a != loopback6): // IPv4 in disguise
		return closed(netip.AddrFrom4([4]byte(b[12:])))
	case a.Is6() && sixto4.Contains(a):
		return closed(netip.AddrFrom4([4]byte(b[2:6])))
	}
	for _, m := range metadata {
		if a == m {
			return true
		}
	}
	return a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || thisNet.Contains(a) || site.Contains(a)
}
