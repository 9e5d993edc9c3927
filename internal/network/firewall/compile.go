package firewall

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"golang.org/x/sys/unix"
)

// tables are all that are wanted: routed, framed, and the two of published ports.
type tables struct{ routed, framed, first4, first6 *table }

func empty() *tables {
	return &tables{routed(), framed(), first(false), first(true)}
}

func (t *tables) list() []*table { return []*table{t.routed, t.framed, t.first4, t.first6} }

// first is the table of a family's published ports.
func (t *tables) first(v6 bool) *table {
	if v6 {
		return t.first6
	}
	return t.first4
}

// compile is what is wanted for ends of networks. It makes no system call.
func compile(all []network.Attached) (*tables, error) {
	t := empty()
	for _, a := range all {
		if err := t.add(a); err != nil {
			return nil, err
		}
	}
	for _, x := range t.list() {
		for _, s := range x.sets {
			s.unique()
		}
	}
	return t, nil
}

// unique drops elements that are there twice: two ends share a bridge.
func (s *set) unique() {
	slices.SortStableFunc(s.elements, func(a, b element) int {
		return strings.Compare(string(a.first)+string(a.last), string(b.first)+string(b.last))
	})
	s.elements = slices.CompactFunc(s.elements, func(a, b element) bool {
		return string(a.first) == string(b.first) && string(a.last) == string(b.last)
	})
}

func (t *table) put(name string, e ...element) {
	s := t.set(name)
	s.elements = append(s.elements, e...)
}

// add adds an end of a network.
func (t *tables) add(a network.Attached) error {
	n, e := a.Network, a.Endpoint
	hw, err := parseMAC(e.MAC)
	if err != nil {
		return err
	}
	r, bridge := t.routed, device(n.Bridge)
	r.put("bridges", key(bridge))
	if n.Outside {
		r.put("outside", key(bridge))
	}
	if n.Between {
		r.put("between", key(bridge, bridge))
	}
	for _, s := range n.Subnets {
		if s.Gateway.IsValid() {
			r.put("gateways"+digit(s.Gateway), key(bridge, s.Gateway))
		}
	}
	port := device(e.Device)
	t.framed.put("ports", key(port).of(e.Name))
	t.framed.put("macs", key(port, hw).of(e.Name))
	for _, addr := range sources(e, hw) {
		t.framed.put("ends"+digit(addr), key(port, addr).of(e.Name))
		t.framed.put("sure"+digit(addr), key(port, hw, addr).of(e.Name))
		r.put("ends"+digit(addr), key(bridge, addr).of(e.Name))
		if !addr.Is6() || !addr.IsLinkLocalUnicast() { // which are nowhere routed, and may be the same on two networks
			t.addAddress(a, addr)
		}
	}
	r.chains = append(r.chains, container(e))
	return t.addPorts(a)
}

// addAddress adds what holds for one address of a container.
func (t *tables) addAddress(a network.Attached, addr netip.Addr) {
	r, d := t.routed, digit(addr)
	refused := key(addr)
	refused.chain = container(a.Endpoint).name
	r.put("refused"+d, refused)
	if a.Network.Masquerade && a.Network.Outside && !addr.IsLinkLocalUnicast() {
		r.put("masquerade"+d, key(addr))
	}
	own, net := a.Endpoint.Policy, a.Network.Policy
	if opened(own, net, func(p network.Policy) bool { return p.Metadata }) {
		r.put("openmeta"+d, key(addr))
	}
	if opened(own, net, func(p network.Policy) bool { return p.Host }) {
		r.put("openhost"+d, key(addr))
	}
	if own.Open && net.Open {
		return
	}
	r.put("held"+d, key(addr).of(a.Endpoint.Name))
	for _, p := range static(own, net) {
		if p.prefix.Addr().Is6() == addr.Is6() {
			for _, e := range p.elements(addr) {
				r.put(e.set+d, e.element.of(a.Endpoint.Name))
			}
		}
	}
}

// container is the chain of what is refused to one: it is told, and the container gets an answer.
func container(e *network.Endpoint) *chain {
	c := plainChain("end-" + short(e.ID))
	if e.Group != 0 {
		c.rules = append(c.rules, when(sparing, toLog(e.Group)).because(e.Name))
	}
	c.rules = append(c.rules, when(number(l4proto, unix.IPPROTO_TCP, "tcp"), counter, reset).because(e.Name), when(counter, reject).because(e.Name))
	return c
}

func short(id string) string { return id[:min(len(id), 12)] }

func digit(a netip.Addr) string {
	if a.Is6() {
		return "6"
	}
	return "4"
}

// sources are the addresses that an end sends from: those that it was given, and the link-local one that the kernel makes.
func sources(e *network.Endpoint, hw mac) []netip.Addr {
	out := e.Addresses()
	if slices.ContainsFunc(out, netip.Addr.Is6) {
		own := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: hw[0] ^ 2, 9: hw[1], 10: hw[2], 11: 0xff, 12: 0xfe, 13: hw[3], 14: hw[4], 15: hw[5]})
		if !slices.Contains(out, own) {
			out = append(out, own)
		}
	}
	return out
}

func parseMAC(s string) (out mac, err error) {
	parts := strings.Split(s, ":")
	bad := errdef.Errorf(errdef.Invalid, "hardware address %.64q: is none", s)
	if len(parts) != 6 {
		return out, bad
	}
	for i, p := range parts {
		n := strings.IndexByte("0123456789abcdef", lower(p, 0))
		m := strings.IndexByte("0123456789abcdef", lower(p, 1))
		if len(p) != 2 || n < 0 || m < 0 {
			return out, bad
		}
		out[i] = byte(n<<4 | m)
	}
	return out, nil
}

func lower(s string, i int) byte {
	if i >= len(s) {
		return 0
	}
	if 'A' <= s[i] && s[i] <= 'F' {
		return s[i] + 'a' - 'A'
	}
	return s[i]
}

var protocols = map[string]proto{network.TCP: 6, network.UDP: 17, network.SCTP: 132}

// addPorts adds the published ports of an end.
func (t *tables) addPorts(a network.Attached) error {
	e := a.Endpoint
	for _, p := range e.Ports {
		pr, ok := protocols[p.Protocol]
		v6 := p.Host.Is6()
		target := e.IPv4
		if v6 {
			target = e.IPv6
		}
		if !ok || !p.Host.IsValid() || p.First == 0 || p.First != p.Last || p.Container == 0 {
			return errdef.Errorf(errdef.Internal, "published port %+v: is not a granted one", p)
		}
		if !target.IsValid() {
			continue // Publish has granted it for the other family
		}
		to := func(el element) element { return el.to(target.Addr(), port(p.Container)).of(e.Name) }
		d, outer := digit(p.Host), port(p.First)
		switch {
		case p.Host.IsUnspecified():
			t.routed.put("any"+d, to(key(pr, outer)))
			t.routed.put("publishedany"+d, key(pr, outer).of(e.Name))
			t.first(v6).put("publishedany", key(pr, outer).of(e.Name))
		case p.Host.IsLoopback():
			entry, err := loopEntry(p.Host)
			if err != nil {
				return err
			}
			t.routed.put("loop"+d, key(p.Host, pr, outer).to(entry, outer).of(e.Name))
			t.routed.put("ports"+d, to(key(entry, pr, outer)))
		default:
			t.routed.put("ports"+d, to(key(p.Host, pr, outer)))
			t.routed.put("published"+d, key(p.Host, pr, outer).of(e.Name))
			t.first(v6).put("published", key(p.Host, pr, outer).of(e.Name))
		}
	}
	return nil
}
