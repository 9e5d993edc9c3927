package resolver

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// testPolicy allows names, and remembers what it is told.
type testPolicy struct {
	names  []string
	closed []netip.Addr
	broken bool

	mu      sync.Mutex
	learned []netip.Addr
	lasts   time.Duration
	refused []Refusal
}

func (p *testPolicy) Limits() bool                { return true }
func (p *testPolicy) Allowed(name string) bool    { return slices.Contains(p.names, name) }
func (p *testPolicy) Closed(addr netip.Addr) bool { return slices.Contains(p.closed, addr) }
func (p *testPolicy) Learn(_ string, addrs []netip.Addr, lasts time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.learned, p.lasts = append(p.learned, addrs...), lasts
	if p.broken {
		return errors.New("broken")
	}
	return nil
}

func (p *testPolicy) Refused(r Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = append(p.refused, r)
}

func resource(name string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}
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

func a4(s string) dnsmessage.ResourceBody {
	return &dnsmessage.AResource{A: netip.MustParseAddr(s).As4()}
}

func a6(s string) dnsmessage.ResourceBody {
	return &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(s).As16()}
}

func cname(s string) dnsmessage.ResourceBody {
	return &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(s)}
}

func TestBefore(t *testing.T) {
	p := &testPolicy{names: []string{"ok.example"}}
	for _, c := range []struct {
		name    string
		typ     dnsmessage.Type
		decided bool
		code    int
	}{
		{"ok.example.", dnsmessage.TypeA, false, 0},
		{"OK.example.", dnsmessage.TypeTXT, false, 0},
		{"x.ok.example.", dnsmessage.TypeA, true, codeName},
		{"bad.example.", dnsmessage.TypeTXT, true, codeName},
		{"ok.example.", typeHTTPS, true, codeOK},
		{"ok.example.", dnsmessage.TypeALL, true, codeNotImpl},
		{".", dnsmessage.TypeNS, true, codeName},
	} {
		if a, decided := before(query1(t, c.name, c.typ), p); decided != c.decided || a.code != c.code {
			t.Errorf("%s %v: %+v, %v", c.name, c.typ, a, decided)
		}
	}
	if len(p.refused) != 3 {
		t.Errorf("refused: %+v", p.refused)
	}
	// A dot within a label is not the name that it looks like.
	q2, code, ok := readQuery([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0aok.example\x00\x00\x01\x00\x01"))
	if !ok || code != codeOK {
		t.Fatal(code, ok)
	}
	if _, decided := before(q2, p); !decided {
		t.Errorf("%q was allowed", q2.name)
	}
}

func TestAfter(t *testing.T) {
	for what, c := range map[string]struct {
		answers []dnsmessage.Resource
		extra   []dnsmessage.Resource
		closed  []netip.Addr
		broken  bool
		code    int // -1: goes on
		learned []string
		lasts   time.Duration
		ttl     uint32 // of the first record
	}{
		"one":          {answers: []dnsmessage.Resource{resource("ok.example.", 300, a4("192.0.2.1"))}, code: -1, learned: []string{"192.0.2.1"}, lasts: 330 * time.Second, ttl: 300},
		"floor":        {answers: []dnsmessage.Resource{resource("ok.example.", 0, a4("192.0.2.1"))}, code: -1, learned: []string{"192.0.2.1"}, lasts: learnFloor, ttl: 0},
		"roof":         {answers: []dnsmessage.Resource{resource("ok.example.", 1<<30, a4("192.0.2.1"))}, code: -1, learned: []string{"192.0.2.1"}, lasts: learnRoof + learnGrace, ttl: 3600},
		"a wild TTL":   {answers: []dnsmessage.Resource{resource("ok.example.", 1<<31, a4("192.0.2.1"))}, code: -1, learned: []string{"192.0.2.1"}, lasts: learnFloor, ttl: 0},
		"alias":        {answers: []dnsmessage.Resource{resource("OK.example.", 60, cname("b.example.")), resource("b.example.", 60, cname("c.example.")), resource("c.example.", 90, a4("192.0.2.1")), resource("c.example.", 200, a4("192.0.2.2"))}, code: -1, learned: []string{"192.0.2.1", "192.0.2.2"}, lasts: 230 * time.Second, ttl: 60},
		"backwards":    {answers: []dnsmessage.Resource{resource("b.example.", 60, a4("192.0.2.1")), resource("ok.example.", 60, cname("b.example."))}, code: -1, learned: []string{"192.0.2.1"}, lasts: learnFloor, ttl: 60},
		"circle":       {answers: []dnsmessage.Resource{resource("ok.example.", 60, cname("b.example.")), resource("b.example.", 60, cname("ok.example."))}, code: -1, ttl: 60},
		"stowaway":     {answers: []dnsmessage.Resource{resource("ok.example.", 60, a4("192.0.2.1")), resource("evil.example.", 60, a4("192.0.2.66"))}, code: -1, learned: []string{"192.0.2.1"}, lasts: learnFloor, ttl: 60},
		"extra":        {answers: []dnsmessage.Resource{resource("ok.example.", 60, a4("192.0.2.1"))}, extra: []dnsmessage.Resource{resource("ok.example.", 60, a4("192.0.2.66"))}, code: -1, learned: []string{"192.0.2.1"}, lasts: learnFloor, ttl: 60},
		"rebinding":    {answers: []dnsmessage.Resource{resource("ok.example.", 60, a4("192.0.2.1")), resource("ok.example.", 60, a4("127.0.0.1"))}, code: codeName},
		"hidden":       {answers: []dnsmessage.Resource{resource("ok.example.", 60, a4("192.0.2.1"))}, extra: []dnsmessage.Resource{resource("ok.example.", 60, a4("169.254.169.254"))}, code: codeName},
		"the policy's": {answers: []dnsmessage.Resource{resource("ok.example.", 60, a6("2001:db8::1"))}, closed: addrs("2001:db8::1"), code: codeName},
		"not learned":  {answers: []dnsmessage.Resource{resource("ok.example.", 60, a4("192.0.2.1"))}, broken: true, code: codeServer, learned: []string{"192.0.2.1"}, lasts: learnFloor},
	} {
		q := query1(t, "ok.example.", dnsmessage.TypeA)
		p := &testPolicy{closed: c.closed, broken: c.broken}
		msg := ask(t, "ok.example.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Response, m.Answers, m.Additionals = true, c.answers, c.extra })
		r, ok := q.readResponse(msg, 0x1234)
		if !ok {
			t.Fatalf("%s: not read", what)
		}
		a, decided := after(q, r, p)
		if decided != (c.code >= 0) || decided && a.code != c.code {
			t.Errorf("%s: %+v, %v", what, a, decided)
		}
		if !slices.Equal(p.learned, addrs(c.learned...)) || p.lasts != c.lasts {
			t.Errorf("%s: learned %v for %v", what, p.learned, p.lasts)
		}
		if (len(p.refused) == 1) != (c.code == codeName) {
			t.Errorf("%s: refused %v", what, p.refused)
		}
		if m := parse(t, r.forClient(q)); !decided && m.Answers[0].Header.TTL != c.ttl {
			t.Errorf("%s: TTL %d, want %d", what, m.Answers[0].Header.TTL, c.ttl)
		}
	}
}

func TestClosed(t *testing.T) {
	for _, s := range []string{
		"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "169.254.1.1", "fe80::1", "fec0::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "224.0.0.1", "ff02::1", "255.255.255.255",
		"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "64:ff9b::169.254.169.254", "2002:7f00:1::", "2002:a9fe:a9fe::1",
	} {
		if !closed(netip.MustParseAddr(s)) {
			t.Errorf("%s is open", s)
		}
	}
	for _, s := range []string{"8.8.8.8", "10.0.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "2001:db8::1", "64:ff9b::8.8.8.8", "2002:808:808::1"} {
		if closed(netip.MustParseAddr(s)) {
			t.Errorf("%s is closed", s)
		}
	}
}
