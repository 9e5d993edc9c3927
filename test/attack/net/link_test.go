package net

import "slices"

// one makes a list of one frame.
func one(f []byte) [][]byte { return [][]byte{f} }

// linkAttacks are frames that a container on a segment sends to its neighbour, or one on the default network to somebody that it should not have there.
func linkAttacks() []attack {
	mate := func(w *world) *end { return w.ends["mate"] }
	return []attack{
		{name: "proof: a neighbour on a segment is reached", from: "evil", at: []string{"mate"}, only: true, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.ip4, mate(w).ip4, 1, 2, mark).frame(mate(w).mac, e.mac))
		}},
		{name: "proof: a neighbour is reached by IPv6", from: "evil", at: []string{"mate"}, only: true, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.ip6, mate(w).ip6, 1, 2, mark).frame(mate(w).mac, e.mac))
		}},
		{name: "hardware address of a neighbour as the sender", from: "evil", at: []string{"bridge of seg"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.ip4, e.gw4, 1, 2, mark).frame(e.gate, mate(w).mac))
		}},
		{name: "IPv4 address of a neighbour", from: "evil", at: []string{"bridge of seg", "mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(mate(w).ip4, e.gw4, 1, 2, mark).frame(e.gate, e.mac))
		}},
		{name: "IPv4 address of the gateway, to a neighbour", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.gw4, mate(w).ip4, 1, 2, mark).frame(mate(w).mac, e.mac))
		}},
		{name: "IPv6 address of a neighbour", from: "evil", at: []string{"bridge of seg"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(mate(w).ip6, e.gw6, 1, 2, mark).frame(e.gate, e.mac))
		}},
		{name: "IPv6 link-local address of a neighbour", from: "evil", at: []string{"bridge of seg"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(mate(w).local, e.gw6, 1, 2, mark).frame(e.gate, e.mac))
		}},
		{name: "no IPv4 address, by broadcast", from: "evil", at: []string{"mate", "bridge of seg"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(addr("0.0.0.0"), addr("255.255.255.255"), 1, 2, mark).frame(everybody, e.mac))
		}},
		{name: "VLAN", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			inner := eth(mate(w).mac, e.mac, typeVLAN, join(be16(7), be16(typeIP4), udp(e.ip4, mate(w).ip4, 1, 2, mark).bytes()))
			return one(inner)
		}},
		{name: "two VLANs", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(mate(w).mac, e.mac, 0x88a8, join(be16(7), be16(typeVLAN), be16(8), be16(typeIP4), udp(e.ip4, mate(w).ip4, 1, 2, mark).bytes())))
		}},
		{name: "another type of frame", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(mate(w).mac, e.mac, 0x88b5, join(mark, make([]byte, 50))))
		}},
		{name: "MPLS", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(mate(w).mac, e.mac, 0x8847, join([]byte{0, 0, 0x11, 64}, udp(e.ip4, mate(w).ip4, 1, 2, mark).bytes())))
		}},
		{name: "PPPoE", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(mate(w).mac, e.mac, 0x8863, join([]byte{0x11, 9, 0, 0}, be16(uint16(len(mark))), mark, make([]byte, 30))))
		}},
		{name: "LLDP to the host", from: "evil", at: []string{"host's LLDP"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(bridges, e.mac, 0x88cc, join(mark, make([]byte, 50))))
		}},
		{name: "the host's bridge gets IPv4 with options", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			p := udp(e.ip4, mate(w).ip4, 1, 2, mark)
			p.options = []byte{0x44, 4, 5, 0} // a timestamp
			return one(p.frame(mate(w).mac, e.mac))
		}},
		{name: "IPv6 routing header to a neighbour", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			p := udp(e.ip6, mate(w).ip6, 1, 2, mark)
			p.next, p.options = 43, join([]byte{17, 2, 0, 0, 0, 0, 0, 0}, mate(w).ip6.AsSlice())
			return one(p.frame(mate(w).mac, e.mac))
		}},
		{name: "DHCP answer to a neighbour", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.ip4, addr("255.255.255.255"), 67, 68, mark).frame(everybody, e.mac))
		}},
		{name: "DHCPv6 answer to a neighbour", from: "evil", at: []string{"mate"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.local, mate(w).local, 547, 546, mark).frame(mate(w).mac, e.mac))
		}},
		{name: "unicast to a neighbour on the default network", from: "alone", at: []string{"peer"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.ip4, w.ends["peer"].ip4, 1, 2, mark).frame(w.ends["peer"].mac, e.mac))
		}},
		{name: "unicast to a neighbour on the default network, IPv6", from: "alone", at: []string{"peer"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.local, w.ends["peer"].local, 1, 2, mark).frame(w.ends["peer"].mac, e.mac))
		}},
		{name: "broadcast on the default network", from: "alone", at: []string{"peer", "held"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.ip4, addr("10.9.1.255"), 1, 2, mark).frame(everybody, e.mac))
		}},
		{name: "multicast on the default network", from: "alone", at: []string{"peer", "held"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return slices.Concat(one(udp(e.ip4, addr("224.0.0.251"), 5353, 5353, mark).frame(mac{1, 0, 0x5e, 0, 0, 0xfb}, e.mac)), one(udp(e.local, addr("ff02::1"), 5353, 5353, mark).frame(allNodes, e.mac)))
		}},
		{name: "ARP to a neighbour on the default network", from: "alone", at: []string{"peer"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(eth(everybody, e.mac, typeARP, arp(1, e.mac, e.ip4, mac{}, w.ends["peer"].ip4, mark)))
		}},
		{name: "what is for a neighbour, whose entry is pushed out", from: "alone", at: []string{"alone"}, frames: func(w *world, e *end, mark []byte) [][]byte {
			// A frame from the neighbour's address teaches a careless bridge that he is here.
			peer := w.ends["peer"]
			defer w.host.Try("bash", "-c", "printf '"+string(mark)+"' > /dev/udp/"+peer.ip4.String()+"/9")
			e.send(eth(e.gate, peer.mac, typeIP4, udp(peer.ip4, e.gw4, 1, 2, nil).bytes()))
			return nil
		}},
	}
}
