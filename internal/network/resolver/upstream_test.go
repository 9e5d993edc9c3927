package resolver

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A peer is a server outside, by UDP and TCP on the same port, which answers as a test wants: with any number of messages.
type peer struct {
	addr            netip.AddrPort
	packets, stream atomic.Int32 // queries that came
}

func newPeer(t testing.TB, packet, stream func(query []byte) [][]byte) *peer {
	t.Helper()
	p := &peer{}
	var udp net.PacketConn
	var tcp net.Listener
	for try := 0; ; try++ { // the same port of both kinds
		var err error
		if udp, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if tcp, err = net.Listen("tcp4", udp.LocalAddr().String()); err == nil {
			break
		}
		udp.Close()
		if try == 100 {
			t.Fatal(err)
		}
	}
	p.addr = netip.MustParseAddrPort(udp.LocalAddr().String())
	t.Cleanup(func() { udp.Close(); tcp.Close() })
	go func() {
		buf := make([]byte, maxMessage)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			p.packets.Add(1)
			if packet == nil {
				continue
			}
			for _, msg := range packet(slices.Clone(buf[:n])) {
				_, _ = udp.WriteTo(msg, from)
			}
		}
	}()
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			p.stream.Add(1)
			go func() {
				defer c.Close()
				msg, err := readFramed(c, maxMessage)
				if err != nil || stream == nil {
					return
				}
				for _, msg := range stream(msg) {
					_, _ = c.Write(msg)
				}
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return p
}

// good answers a query with an address.
func good(t testing.TB, query []byte, edit ...func(*dnsmessage.Message)) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Errorf("what the resolver sent: %v", err)
		return nil
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	m.Answers = []dnsmessage.Resource{resource(m.Questions[0].Name.String(), 60, a4("192.0.2.1"))}
	for _, f := range edit {
		f(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func code(c dnsmessage.RCode) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) { m.RCode, m.Answers = c, nil }
}

func up(options string, peers ...*peer) *upstream {
	u := &upstream{path: "/nonexistent/resolv.conf", options: strings.Fields(options), free: make(chan struct{}, maxExchanges), given: []netip.AddrPort{}}
	for _, p := range peers {
		u.given = append(u.given, p.addr)
	}
	return u
}

// answered asks, and returns the first address or the code of the answer.
func answered(t testing.TB, u *upstream, q *query) string {
	t.Helper()
	r := u.ask(context.Background(), q)
	if r == nil {
		return "nothing"
	}
	m := parse(t, r.forClient(q))
	if m.ID != q.id || len(m.Questions) == 1 && m.Questions[0].Name.String() != "wWw.example." {
		t.Errorf("not the client's: %+v", m)
	}
	switch {
	case m.Truncated:
		return "cut"
	case m.RCode != 0:
		return m.RCode.String()
	case len(m.Answers) > 0:
		return netip.AddrFrom4(m.Answers[0].Body.(*dnsmessage.AResource).A).String()
	}
	return "no data"
}

// TestHostileServers: whatever a server sends, an answer that is none is not taken for one, and a good one after it is.
func TestHostileServers(t *testing.T) {
	forge := func(m *dnsmessage.Message) { m.Answers[0].Body = a4("6.6.6.6") }
	q := query1(t, "wWw.example.", dnsmessage.TypeA, opt(4096, false))
	for what, bad := range map[string]func(query []byte) []byte{
		"another id": func(b []byte) []byte { return good(t, b, forge, func(m *dnsmessage.Message) { m.ID ^= 1 }) },
		"another name": func(b []byte) []byte {
			return good(t, b, forge, func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("www.exampel.") })
		},
		"another type": func(b []byte) []byte {
			return good(t, b, forge, func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeAAAA })
		},
		"another class": func(b []byte) []byte {
			return good(t, b, forge, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS })
		},
		"no question": func(b []byte) []byte { return good(t, b, forge, func(m *dnsmessage.Message) { m.Questions = nil }) },
		"two questions": func(b []byte) []byte {
			return good(t, b, forge, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) })
		},
		"the query itself": func(b []byte) []byte { return b },
		"another opcode":   func(b []byte) []byte { return good(t, b, forge, func(m *dnsmessage.Message) { m.OpCode = 4 }) },
		"nothing":          func([]byte) []byte { return []byte{} },
		"one byte":         func([]byte) []byte { return []byte{1} },
		"a header":         func(b []byte) []byte { return good(t, b, forge)[:headerLen] },
		"half":             func(b []byte) []byte { g := good(t, b, forge); return g[:len(g)-3] },
		"bytes behind":     func(b []byte) []byte { return append(good(t, b, forge), 0) },
		"a false count":    func(b []byte) []byte { g := good(t, b, forge); g[6], g[7] = 0xff, 0xff; return g },
		"a loop of names": func(b []byte) []byte {
			g := good(t, b)
			at := uint16(len(b) - len(q.option(answer{})))
			binary.BigEndian.PutUint16(g[at:], 0xc000|at)
			return g[:at+12]
		},
		"a loop in the data": func(b []byte) []byte {
			g := good(t, b, func(m *dnsmessage.Message) { m.Answers[0] = resource("www.example.", 1, cname("x.example.")) })
			binary.BigEndian.PutUint16(g[len(g)-2:], 0xc000|uint16(len(g)-2))
			return g
		},
		"long": func(b []byte) []byte {
			return good(t, b, forge, func(m *dnsmessage.Message) {
				for len(m.Answers) < 400 {
					m.Answers = append(m.Answers, m.Answers[0])
				}
			})
		},
	} {
		p := newPeer(t, func(b []byte) [][]byte { return [][]byte{bad(slices.Clone(b)), good(t, b)} }, nil)
		if got := answered(t, up("timeout:30 attempts:1", p), q); got != "192.0.2.1" {
			t.Errorf("%s: %s", what, got)
		}
		if n := p.packets.Load(); n != 1 {
			t.Errorf("%s: asked %d times", what, n)
		}
	}
}

// TestFlood: a server that sends nothing but garbage is given up, and another one asked.
func TestFlood(t *testing.T) {
	flood := newPeer(t, func([]byte) [][]byte { return slices.Repeat([][]byte{[]byte("garbage and more")}, 2*maxStrangers) }, nil)
	fine := newPeer(t, func(b []byte) [][]byte { return [][]byte{good(t, b)} }, nil)
	u := up("timeout:30 attempts:1", flood, fine)
	for range 3 {
		if got := answered(t, u, query1(t, "wWw.example.", dnsmessage.TypeA)); got != "192.0.2.1" {
			t.Error(got)
		}
	}
	if n := flood.packets.Load(); n != 1 {
		t.Errorf("a server that has failed was asked %d times", n)
	}
}

// TestFailover asks several servers.
func TestFailover(t *testing.T) {
	says := func(c dnsmessage.RCode) *peer {
		return newPeer(t, func(b []byte) [][]byte { return [][]byte{good(t, b, code(c))} }, nil)
	}
	fine := func() *peer { return newPeer(t, func(b []byte) [][]byte { return [][]byte{good(t, b)} }, nil) }
	silent := newPeer(t, nil, nil)
	gone := newPeer(t, nil, nil)
	c, err := net.ListenPacket("udp4", "127.0.0.1:0") // a port where nobody is: ICMP says so at once
	must(t, err)
	gone.addr = netip.MustParseAddrPort(c.LocalAddr().String())
	c.Close()
	q := query1(t, "wWw.example.", dnsmessage.TypeA)
	for what, c := range map[string]struct {
		options string
		peers   []*peer
		want    string
	}{
		"a silent one, a good one":   {"timeout:3 attempts:5", []*peer{silent, fine()}, "192.0.2.1"},
		"nobody there, a good one":   {"timeout:30", []*peer{gone, fine()}, "192.0.2.1"},
		"SERVFAIL, a good one":       {"timeout:30", []*peer{says(dnsmessage.RCodeServerFailure), fine()}, "192.0.2.1"},
		"REFUSED, a good one":        {"timeout:30", []*peer{says(dnsmessage.RCodeRefused), fine()}, "192.0.2.1"},
		"NXDOMAIN is an answer":      {"timeout:30", []*peer{says(dnsmessage.RCodeNameError), fine()}, "RCodeNameError"},
		"SERVFAIL alone is said":     {"timeout:30 attempts:1", []*peer{says(dnsmessage.RCodeServerFailure)}, "RCodeServerFailure"},
		"a silent one alone":         {"timeout:1 attempts:1", []*peer{silent}, "nothing"},
		"nobody":                     {"timeout:30 attempts:2", []*peer{gone}, "nothing"},
		"nobody is given":            {"", nil, "nothing"},
		"no EDNS":                    {"timeout:30", []*peer{says(dnsmessage.RCodeFormatError)}, "RCodeFormatError"},
		"by TCP, where nobody would": {"timeout:30 attempts:1 use-vc", []*peer{says(dnsmessage.RCodeServerFailure)}, "nothing"},
	} {
		if got := answered(t, up(c.options, c.peers...), q); got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}

// TestRotate spreads queries.
func TestRotate(t *testing.T) {
	fine := func(b []byte) [][]byte { return [][]byte{good(t, b)} }
	one, two := newPeer(t, fine, nil), newPeer(t, fine, nil)
	u := up("rotate timeout:30", one, two)
	for range 10 {
		if got := answered(t, u, query1(t, "wWw.example.", dnsmessage.TypeA)); got != "192.0.2.1" {
			t.Error(got)
		}
	}
	if one.packets.Load() != 5 || two.packets.Load() != 5 {
		t.Errorf("%d and %d", one.packets.Load(), two.packets.Load())
	}
}

// TestOldServer understands no EDNS, and says so.
func TestOldServer(t *testing.T) {
	p := newPeer(t, func(b []byte) [][]byte {
		if b[11] != 0 {
			head := slices.Clone(b[:headerLen])
			copy(head[2:], []byte{0x80, codeFormat, 0, 0, 0, 0, 0, 0, 0, 0})
			return [][]byte{head}
		}
		return [][]byte{good(t, b)}
	}, nil)
	if got := answered(t, up("timeout:30", p), query1(t, "wWw.example.", dnsmessage.TypeA, opt(1232, false))); got != "192.0.2.1" {
		t.Error(got)
	}
}

// TestStream: what is cut by UDP is fetched by TCP, if the client can take it, and hostile streams are bounded.
func TestStream(t *testing.T) {
	cutShort := func(b []byte) [][]byte {
		return [][]byte{good(t, b, func(m *dnsmessage.Message) { m.Truncated, m.Answers = true, nil })}
	}
	whole := func(b []byte) []byte { return good(t, b) }
	for what, c := range map[string]struct {
		size   int
		stream func([]byte) [][]byte
		want   string
	}{
		"whole":              {4096, func(b []byte) [][]byte { return [][]byte{framed(whole(b))} }, "192.0.2.1"},
		"byte by byte":       {4096, func(b []byte) [][]byte { return slices.Collect(slices.Chunk(framed(whole(b)), 1)) }, "192.0.2.1"},
		"the client's small": {1232, func(b []byte) [][]byte { return [][]byte{framed(whole(b))} }, "cut"},
		"another id": {4096, func(b []byte) [][]byte {
			return [][]byte{framed(good(t, b, func(m *dnsmessage.Message) { m.ID ^= 1 }))}
		}, "cut"},
		"cut again":          {4096, func(b []byte) [][]byte { return [][]byte{framed(cutShort(b)[0])} }, "cut"},
		"less than a header": {4096, func([]byte) [][]byte { return [][]byte{{0, 3, 1, 2, 3}} }, "cut"},
		"half a message":     {4096, func(b []byte) [][]byte { return [][]byte{framed(whole(b))[:20]} }, "cut"},
		"nothing":            {4096, nil, "cut"},
	} {
		p := newPeer(t, cutShort, c.stream)
		options := "timeout:30 attempts:1"
		if what == "half a message" {
			options = "timeout:5 attempts:1"
		}
		if got := answered(t, up(options, p), query1(t, "wWw.example.", dnsmessage.TypeA, opt(c.size, false))); got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}

// TestLateGarbage: a cut answer whose records are nonsense is still one that was cut.
func TestLateGarbage(t *testing.T) {
	p := newPeer(t, func(b []byte) [][]byte {
		g := good(t, b, func(m *dnsmessage.Message) { m.Truncated = true })
		return [][]byte{g[:len(g)-2]}
	}, nil)
	if got := answered(t, up("timeout:30 attempts:1", p), query1(t, "wWw.example.", dnsmessage.TypeA)); got != "cut" {
		t.Error(got)
	}
}

// TestConfChanges follows the host's file, by its name: it may be a link, and be replaced.
func TestConfChanges(t *testing.T) {
	dir := t.TempDir()
	path, real := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "stub.conf")
	write := func(text string) {
		t.Helper()
		must(t, os.WriteFile(real+"~", []byte(text), 0o644))
		must(t, os.Rename(real+"~", real))
	}
	write("nameserver 192.0.2.1\nsearch a.example\noptions timeout:7\n")
	must(t, os.Symlink("stub.conf", path))
	var told []string
	u := &upstream{path: path, changed: func(c Conf) { told = append(told, strings.Join(c.Search, " ")) }, options: []string{"attempts:3"}}
	servers, how := u.order()
	if len(servers) != 1 || servers[0].String() != "192.0.2.1:53" || how.try != 7*time.Second || how.attempts != 3 {
		t.Errorf("%v %+v", servers, how)
	}
	u.mark(servers[0], false)
	next := func() []netip.AddrPort {
		u.looked = u.looked.Add(-2 * lookTime)
		servers, _ := u.order()
		return servers
	}
	write("nameserver fe80::1%eth0\nnameserver 192.0.2.1\nsearch b.example\n")
	if s := next(); len(s) != 2 || s[0].String() != "[fe80::1%eth0]:53" {
		t.Errorf("%v", s)
	}
	must(t, os.Remove(real))
	if s := next(); len(s) != 1 || s[0].String() != "127.0.0.1:53" {
		t.Errorf("without a file: %v", s)
	}
	if !slices.Equal(told, []string{"a.example", "b.example", ""}) {
		t.Errorf("told: %q", told)
	}
	if n := len(told); len(next()) != 1 || len(told) != n {
		t.Errorf("told of no change: %q", told)
	}
}
