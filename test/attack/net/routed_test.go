package net

import "net/netip"

// by sends a packet by way of the gateway.
func by(e *end, p packet) [][]byte { return one(p.frame(e.gate, e.mac)) }

// routedAttacks go by way of the host to somebody else.
func routedAttacks() []attack {
	to := func(name, from string, at []string, make func(w *world, e *end, mark []byte) packet) attack {
		return attack{name: name, from: from, at: at, frames: func(w *world, e *end, mark []byte) [][]byte { return by(e, make(w, e, mark)) }}
	}
	proof := func(a attack) attack {
		a.only = true
		return a
	}
	other := func(w *world) *end { return w.ends["other"] }
	lan4, lan6 := addr("192.0.2.2"), addr("2001:db8::2")
	outside := func(name string, dst netip.Addr) attack {
		return to(name, "evil", []string{"lan"}, func(w *world, e *end, mark []byte) packet {
			src := e.ip4
			if dst.Is6() {
				src = e.ip6
			}
			return udp(src, dst, 1000, 80, mark)
		})
	}
	fromLAN := func(name string, at []string, make func(w *world, mark []byte) packet) attack {
		return attack{name: name, from: "lan", at: at, frames: func(w *world, _ *end, mark []byte) [][]byte { return one(make(w, mark).frame(w.hostMAC, w.lanMAC)) }}
	}
	list := []attack{
		proof(outside("proof: the other host is reached", lan4)),
		proof(outside("proof: the other host is reached by IPv6", lan6)),
		to("a neighbour on the default network, by the gateway", "alone", []string{"peer"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip4, w.ends["peer"].ip4, 1, 2, mark) }),
		to("a neighbour on the default network, by the gateway, IPv6", "alone", []string{"peer"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip6, w.ends["peer"].ip6, 1, 2, mark) }),
		to("another segment", "evil", []string{"other"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip4, other(w).ip4, 1, 80, mark) }),
		to("another segment, IPv6", "evil", []string{"other"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip6, other(w).ip6, 1, 80, mark) }),
		to("another segment, as if it had begun long ago", "evil", []string{"other"}, func(w *world, e *end, mark []byte) packet { return tcp(e.ip4, other(w).ip4, 80, 1, 0x18, mark) }),
		to("another segment, an echo", "evil", []string{"other"}, func(w *world, e *end, mark []byte) packet {
			return icmp(e.ip4, other(w).ip4, 8, 0, join(make([]byte, 4), mark))
		}),
		to("another segment, GRE", "evil", []string{"other"}, func(w *world, e *end, mark []byte) packet {
			return packet{src: e.ip4, dst: other(w).ip4, proto: 47, payload: join([]byte{0, 0, 8, 0}, mark)}
		}),
		to("another segment, IP in IP", "evil", []string{"other"}, func(w *world, e *end, mark []byte) packet {
			return packet{src: e.ip4, dst: other(w).ip4, proto: 4, payload: udp(e.ip4, other(w).ip4, 1, 2, mark).bytes()}
		}),
		to("an internal network from a segment", "evil", []string{"inner"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip4, w.ends["inner"].ip4, 1, 2, mark) }),
		to("out of an internal network", "inner", []string{"lan"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip4, lan4, 1, 2, mark) }),
		to("out of an internal network, IPv6", "inner", []string{"lan"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip6, lan6, 1, 2, mark) }),
		to("out of an internal network into a segment", "inner", []string{"other"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip4, other(w).ip4, 1, 2, mark) }),
		outside("metadata", addr("169.254.169.254")),
		outside("metadata of Amazon, IPv6", addr("fd00:ec2::254")),
		outside("metadata of Alibaba", addr("100.100.100.200")),
		outside("metadata by NAT64", addr("64:ff9b::a9fe:a9fe")),
		outside("metadata by 6to4", addr("2002:a9fe:a9fe::1")),
		to("an address of nobody", "evil", []string{"lan"}, func(w *world, e *end, mark []byte) packet { return udp(addr("198.51.100.9"), lan4, 1, 2, mark) }),
		to("the host's own address as the sender", "evil", []string{"lan", "bridge of seg"}, func(w *world, e *end, mark []byte) packet { return udp(addr("192.0.2.1"), lan4, 1, 2, mark) }),
		to("a source route", "evil", []string{"lan"}, func(w *world, e *end, mark []byte) packet {
			p := udp(e.ip4, addr("192.0.2.1"), 1, 2, mark)
			p.options = join([]byte{0x83, 7, 4}, lan4.AsSlice(), []byte{0}) // loose: by the host
			return p
		}),
		to("an error about a neighbour's connection", "alone", []string{"lan"}, func(w *world, e *end, mark []byte) packet {
			peer := w.ends["peer"]
			peer.send(udp(peer.ip4, lan4, 4000, 4001, []byte("begin")).frame(peer.gate, peer.mac)) // which begins here
			return icmp(e.ip4, lan4, 3, 4, join(make([]byte, 4), udp(lan4, peer.ip4, 4001, 4000, mark).bytes()))
		}),
		fromLAN("a container from another host, by a route", []string{"alone"}, func(w *world, mark []byte) packet { return udp(lan4, w.ends["alone"].ip4, 1, 80, mark) }),
		fromLAN("a container from another host, by a route, IPv6", []string{"alone"}, func(w *world, mark []byte) packet { return udp(lan6, w.ends["alone"].ip6, 1, 80, mark) }),
		fromLAN("a port published for the host alone, from another host", []string{"other"}, func(w *world, mark []byte) packet { return udp(lan4, addr("192.0.2.1"), 1, 8080, mark) }),
		fromLAN("a port published for the host alone, from another host, IPv6", []string{"other"}, func(w *world, mark []byte) packet { return udp(lan6, addr("2001:db8::1"), 1, 8080, mark) }),
		fromLAN("a port published for the host alone, by its loopback address", []string{"other", "host's loopback"}, func(w *world, mark []byte) packet { return udp(lan4, addr("127.0.0.1"), 1, 8080, mark) }),
		to("a port published for the host alone, from a container", "evil", []string{"other"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip4, e.gw4, 1, 8080, mark) }),
		to("a port published for the host alone, from a container, IPv6", "evil", []string{"other"}, func(w *world, e *end, mark []byte) packet { return udp(e.ip6, e.gw6, 1, 8080, mark) }),
	}
	return list
}

// hostAttacks are for the host itself.
func hostAttacks() []attack {
	services := []string{"host's services"}
	to := func(name, from string, at []string, dst func(w *world, e *end) netip.Addr, port uint16) attack {
		return attack{name: name, from: from, at: at, frames: func(w *world, e *end, mark []byte) [][]byte {
			d := dst(w, e)
			src := e.ip4
			if d.Is6() {
				src = e.ip6
			}
			return by(e, udp(src, d, 1000, port, mark))
		}}
	}
	is := func(s string) func(*world, *end) netip.Addr { return func(*world, *end) netip.Addr { return addr(s) } }
	gw4 := func(_ *world, e *end) netip.Addr { return e.gw4 }
	gw6 := func(_ *world, e *end) netip.Addr { return e.gw6 }
	lan := func(name, dst string, port uint16, at []string) attack {
		return attack{name: name, from: "lan", at: at, only: true, frames: func(w *world, _ *end, mark []byte) [][]byte {
			return one(udp(addr("192.0.2.2"), addr(dst), 1, port, mark).frame(w.hostMAC, w.lanMAC))
		}}
	}
	return []attack{
		lan("proof: the host's services are heard", "192.0.2.1", 7777, services),
		to("the host's services by the gateway", "evil", services, gw4, 7777),
		to("the host's services by the gateway, IPv6", "evil", services, gw6, 7777),
		to("the host's services by the gateway, from the default network", "alone", services, gw4, 7777),
		to("the host's services from an internal network", "inner", services, gw4, 7777),
		to("the host's services by its address outside", "evil", services, is("192.0.2.1"), 7777),
		to("the host's services by its address outside, IPv6", "evil", services, is("2001:db8::1"), 7777),
		to("the host's services by the gateway of another network", "evil", services, is("10.9.3.1"), 7777),
		to("the host's loopback", "evil", []string{"host's loopback"}, is("127.0.0.1"), 7778),
		{name: "the host's services by the bridge's link-local address", from: "evil", at: services, frames: func(w *world, e *end, mark []byte) [][]byte {
			return by(e, udp(e.local, w.linkLocal(w.host, e.at.Network.Bridge), 1, 7777, mark))
		}},
		{name: "the host's services by broadcast", from: "evil", at: services, frames: func(w *world, e *end, mark []byte) [][]byte {
			return [][]byte{udp(e.ip4, addr("10.9.2.255"), 1, 7777, mark).frame(everybody, e.mac), udp(e.ip4, addr("255.255.255.255"), 1, 7777, mark).frame(everybody, e.mac)}
		}},
		{name: "the host's services by multicast", from: "evil", at: services, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(e.local, addr("ff02::1"), 1, 7777, mark).frame(allNodes, e.mac))
		}},
		{name: "the host's services in fragments", from: "evil", at: services, frames: func(w *world, e *end, mark []byte) [][]byte {
			whole := udp(e.ip4, e.gw4, 1, 7777, mark)
			first, second := whole, whole
			first.fragment, first.payload = 0x2000, whole.payload[:8]
			second.fragment, second.payload = 1, whole.payload[8:]
			return [][]byte{first.frame(e.gate, e.mac), second.frame(e.gate, e.mac)}
		}},
	}
}
