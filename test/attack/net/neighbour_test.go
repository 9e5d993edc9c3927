package net

import (
	"fmt"
	"strings"
)

func (m mac) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// advert is a neighbour advertisement that overrides what was known: target is at m.
func advert(src, dst, target *end, m mac, flags byte) packet {
	return icmp(src.ip6, dst.ip6, 136, 0, join([]byte{flags, 0, 0, 0}, target.ip6.AsSlice(), []byte{2, 1}, m[:]))
}

// routerAdvert says that the sender is the router.
func routerAdvert(e *end, mark []byte) packet {
	return icmp(e.local, addr("ff02::1"), 134, 0, join([]byte{64, 0}, be16(1800), make([]byte, 8), []byte{1, 1}, e.mac[:], []byte{3, 4, 64, 0xc0, 0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, addr("2001:db8:bad::").AsSlice(), padOption(mark)))
}

// padOption is an option of neighbour discovery that nobody knows, with a mark.
func padOption(mark []byte) []byte {
	b := append([]byte{253, 4}, mark...)
	for len(b) < 32 {
		b = append(b, 0)
	}
	return b
}

// neighbourAttacks say who is where.
func neighbourAttacks() []attack {
	mate := func(w *world) *end { return w.ends["mate"] }
	gateway := func(e *end) *end { return &end{ip4: e.gw4, ip6: e.gw6} }
	believes := func(at func(w *world) interface{ Run(...string) string }, ip func(w *world) string) func(w *world) bool {
		return func(w *world) bool {
			return strings.Contains(at(w).Run("ip", "neigh", "show", ip(w)), w.ends["evil"].mac.String())
		}
	}
	atMate := func(w *world) interface{ Run(...string) string } { return mate(w) }
	atHost := func(w *world) interface{ Run(...string) string } { return w.host }
	return []attack{
		{name: "ARP: the gateway is here", from: "evil", frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(mate(w).mac, e.mac, typeARP, arp(1, e.mac, e.gw4, mac{}, mate(w).ip4, mark)))
		}, seen: believes(atMate, func(w *world) string { return mate(w).gw4.String() })},
		{name: "ARP: the neighbour is here", from: "evil", frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(e.gate, e.mac, typeARP, arp(1, e.mac, mate(w).ip4, mac{}, e.gw4, mark)))
		}, seen: believes(atHost, func(w *world) string { return mate(w).ip4.String() })},
		{name: "ARP: an answer that nobody asked for", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(mate(w).mac, e.mac, typeARP, arp(2, e.mac, e.gw4, mate(w).mac, mate(w).ip4, mark)))
		}},
		{name: "ARP: another hardware address inside", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(mate(w).mac, e.mac, typeARP, arp(2, mac{2, 9, 9, 9, 9, 9}, e.ip4, mate(w).mac, mate(w).ip4, mark)))
		}},
		{name: "ARP: of another kind of network", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			a := arp(1, e.mac, e.ip4, mac{}, mate(w).ip4, mark)
			a[1] = 6
			return one(eth(mate(w).mac, e.mac, typeARP, a))
		}},
		{name: "neighbour advertisement: the gateway is here", from: "evil", frames: func(w *world, e *end, mark []byte) [][]byte {
			mate(w).Try("bash", "-c", "printf x > /dev/udp/"+e.gw6.String()+"/9") // that there is an entry to overwrite
			return one(advert(e, mate(w), gateway(e), e.mac, 0x60).frame(mate(w).mac, e.mac))
		}, seen: believes(atMate, func(w *world) string { return mate(w).gw6.String() })},
		{name: "neighbour solicitation from the gateway's address", from: "evil", frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(icmp(e.gw6, mate(w).ip6, 135, 0, join(make([]byte, 4), mate(w).ip6.AsSlice(), []byte{1, 1}, e.mac[:])).frame(mate(w).mac, e.mac))
		}, seen: believes(atMate, func(w *world) string { return mate(w).gw6.String() })},
		{name: "neighbour solicitation from the neighbour's address, to the host", from: "evil", frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(icmp(mate(w).ip6, e.gw6, 135, 0, join(make([]byte, 4), e.gw6.AsSlice(), []byte{1, 1}, e.mac[:])).frame(e.gate, e.mac))
		}, seen: believes(atHost, func(w *world) string { return mate(w).ip6.String() })},
		{name: "router advertisement to a neighbour", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(routerAdvert(e, mark).frame(allNodes, e.mac))
		}},
		{name: "router advertisement to the host", from: "evil", at: []string{"bridge of seg"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(routerAdvert(e, mark).frame(e.gate, e.mac))
		}},
		{name: "router advertisement behind options", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			p := routerAdvert(e, mark)
			p.next, p.options = 60, []byte{58, 0, 1, 4, 0, 0, 0, 0}
			return one(p.frame(allNodes, e.mac))
		}},
		{name: "router advertisement behind hop-by-hop options", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			p := routerAdvert(e, mark)
			p.next, p.options = 0, []byte{58, 0, 1, 4, 0, 0, 0, 0}
			return one(p.frame(allNodes, e.mac))
		}},
		{name: "router advertisement in fragments", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			p := routerAdvert(e, mark)
			whole := p.payload
			first, second := p, p
			first.next, first.options, first.payload = 44, []byte{58, 0, 0, 1, 1, 2, 3, 4}, whole[:48]
			second.next, second.options, second.payload = 44, []byte{58, 0, 0, 48, 1, 2, 3, 4}, whole[48:]
			return [][]byte{first.frame(allNodes, e.mac), second.frame(allNodes, e.mac)}
		}},
		{name: "router solicitation to a neighbour", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(icmp(e.local, addr("ff02::2"), 133, 0, join(make([]byte, 4), padOption(mark))).frame(mac{0x33, 0x33, 0, 0, 0, 2}, e.mac))
		}},
		{name: "multicast listener query", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(icmp(e.local, addr("ff02::1"), 130, 0, join(make([]byte, 20), mark)).frame(allNodes, e.mac))
		}},
		{name: "redirect", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(icmp(e.ip4, mate(w).ip4, 5, 1, join(e.ip4.AsSlice(), udp(mate(w).ip4, addr("192.0.2.2"), 1, 2, mark).bytes())).frame(mate(w).mac, e.mac))
		}},
		{name: "redirect of IPv6", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(icmp(e.local, mate(w).ip6, 137, 0, join(make([]byte, 4), e.local.AsSlice(), addr("2001:db8::2").AsSlice(), padOption(mark))).frame(mate(w).mac, e.mac))
		}},
	}
}
