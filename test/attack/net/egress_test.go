package net

// egressAttacks are those of a container that may reach 203.0.113.1:443, and the same port of 203.0.113.2, which a name was resolved to.
func egressAttacks() []attack {
	lan := []string{"lan"}
	to := func(name string, make func(w *world, e *end, mark []byte) packet) attack {
		return attack{name: "egress: " + name, from: "held", at: lan, frames: func(w *world, e *end, mark []byte) [][]byte { return by(e, make(w, e, mark)) }}
	}
	dst := func(name, d string, port uint16) attack {
		return to(name, func(w *world, e *end, mark []byte) packet {
			a, src := addr(d), e.ip4
			if a.Is6() {
				src = e.ip6
			}
			return udp(src, a, 1000, port, mark)
		})
	}
	proof := func(a attack) attack {
		a.only = true
		return a
	}
	raw := func(name string, proto byte, payload []byte) attack {
		return to(name, func(w *world, e *end, mark []byte) packet {
			return packet{src: e.ip4, dst: addr("203.0.113.1"), proto: proto, payload: join(payload, mark)}
		})
	}
	return []attack{
		proof(dst("proof: what is allowed", "203.0.113.1", 443)),
		proof(dst("proof: what was learned", "203.0.113.2", 443)),
		dst("an address", "203.0.113.3", 443),
		dst("another port of what is allowed", "203.0.113.1", 80),
		dst("another port of what was learned", "203.0.113.2", 22),
		dst("another resolver", "192.0.2.2", 53),
		to("another resolver by TCP", func(w *world, e *end, mark []byte) packet { return tcp(e.ip4, addr("192.0.2.2"), 1000, 53, 2, mark) }),
		dst("DNS over TLS", "192.0.2.2", 853),
		to("DNS over HTTPS by its address", func(w *world, e *end, mark []byte) packet { return tcp(e.ip4, addr("203.0.113.3"), 1000, 443, 2, mark) }),
		dst("IPv6", "2001:db8::2", 443),
		dst("IPv4 within IPv6, by 6to4", "2002:a9fe:a9fe::1", 443),
		dst("metadata", "169.254.169.254", 80),
		to("what did not begin", func(w *world, e *end, mark []byte) packet {
			return tcp(e.ip4, addr("203.0.113.3"), 443, 1000, 0x18, mark)
		}),
		to("echo of what is not allowed", func(w *world, e *end, mark []byte) packet {
			return icmp(e.ip4, addr("203.0.113.3"), 8, 0, join(make([]byte, 4), mark))
		}),
		to("echo of what is allowed by port alone", func(w *world, e *end, mark []byte) packet {
			return icmp(e.ip4, addr("203.0.113.1"), 8, 0, join([]byte{0x03, 0xe8, 0x01, 0xbb}, mark))
		}),
		raw("GRE to what is allowed by port alone", 47, []byte{0, 0, 0x01, 0xbb}),
		raw("ESP to what is allowed by port alone", 50, []byte{3, 0xe8, 0x01, 0xbb, 0, 0, 0, 1}),
		raw("SCTP to what is allowed by port alone", 132, []byte{3, 0xe8, 0x01, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0}),
		raw("an unknown protocol", 253, []byte{3, 0xe8, 0x01, 0xbb}),
		to("as a neighbour who may", func(w *world, e *end, mark []byte) packet {
			return udp(w.ends["alone"].ip4, addr("203.0.113.3"), 1, 443, mark)
		}),
		{name: "egress: as a neighbour who may, by his hardware address too", from: "held", at: lan, frames: func(w *world, e *end, mark []byte) [][]byte {
			return one(udp(w.ends["alone"].ip4, addr("203.0.113.3"), 1, 443, mark).frame(e.gate, w.ends["alone"].mac))
		}},
		{name: "egress: in fragments", from: "held", at: lan, frames: func(w *world, e *end, mark []byte) [][]byte {
			whole := udp(e.ip4, addr("203.0.113.3"), 1000, 443, join(mark, make([]byte, 60))) // the mark stays in one piece
			first, second := whole, whole
			first.fragment, first.payload = 0x2000, whole.payload[:8]
			second.fragment, second.payload = 1, whole.payload[8:]
			return [][]byte{first.frame(e.gate, e.mac), second.frame(e.gate, e.mac)}
		}},
		{name: "egress: by the answer of an error", from: "held", at: lan, frames: func(w *world, e *end, mark []byte) [][]byte {
			allowed := udp(e.ip4, addr("203.0.113.1"), 7000, 443, []byte("begin"))
			e.send(allowed.frame(e.gate, e.mac))
			return by(e, icmp(e.ip4, addr("203.0.113.3"), 3, 3, join(make([]byte, 4), udp(addr("203.0.113.1"), e.ip4, 443, 7000, mark).bytes())))
		}},
	}
}
