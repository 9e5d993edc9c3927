package resolver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// ask builds a client's query with the library, as a judge of our own code.
func ask(t testing.TB, name string, typ dnsmessage.Type, edit ...func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x1234, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	for _, f := range edit {
		f(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// opt adds EDNS.
func opt(size int, do bool, options ...dnsmessage.Option) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		var h dnsmessage.ResourceHeader
		_ = h.SetEDNS0(size, 0, do)
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{Options: options}})
	}
}

func parse(t testing.TB, b []byte) dnsmessage.Message {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatalf("%v: %x", err, b)
	}
	return m
}

func query1(t testing.TB, name string, typ dnsmessage.Type, edit ...func(*dnsmessage.Message)) *query {
	t.Helper()
	q, code, ok := readQuery(ask(t, name, typ, edit...))
	if !ok || code != codeOK {
		t.Fatalf("query %s: code %d, ok %v", name, code, ok)
	}
	return q
}

func TestReadName(t *testing.T) {
	pad := bytes.Repeat([]byte{0}, headerLen)
	long := strings.Repeat("\x3f"+strings.Repeat("a", 63), 3) + "\x3d" + strings.Repeat("a", 61)
	for _, c := range []struct {
		tail, want string
		end        int
		err        error
	}{
		{"\x00", "", 13, nil},
		{"\x03WwW\x04a-_b\x00", "www.a-_b", 22, nil},
		{"\x03a.b\x01\x07\x00", `a\046b.\007`, 19, nil},
		{long + "\x00", strings.ReplaceAll(strings.Repeat(strings.Repeat("a", 63)+".", 3), "..", ".") + strings.Repeat("a", 61), 267, nil},
		{long[:192] + "\x3e" + strings.Repeat("a", 62) + "\x00", "", 0, errName},
		{"\x03ww", "", 0, errShort},
		{"", "", 0, errShort},
		{"\xc0\x0c", "", 0, errName}, // itself
		{"\xc0\x00", "", 0, errName}, // the header
		{"\xc0\xff", "", 0, errName}, // forwards
		{"\x01a\xc0\x0c", "", 0, errName},
		{"\x40a\x00", "", 0, errName},
		{"\xc0", "", 0, errShort},
	} {
		name, end, err := readName(append(slices.Clone(pad), c.tail...), headerLen)
		if name != c.want || end != c.end || !errors.Is(err, c.err) {
			t.Errorf("%q: %q, %d, %v; want %q, %d, %v", c.tail, name, end, err, c.want, c.end, c.err)
		}
	}
	// A pointer to an earlier name is followed, a chain of them ends.
	msg := append(slices.Clone(pad), "\x01a\x00\x01b\xc0\x0c\x01c\xc0\x0f"...)
	if name, end, err := readName(msg, 19); name != "c.b.a" || end != 23 || err != nil {
		t.Errorf("pointers: %q, %d, %v", name, end, err)
	}
}

func TestReadQuery(t *testing.T) {
	q := query1(t, "WWW.Example.ORG.", dnsmessage.TypeAAAA, opt(1400, true))
	if q.name != "www.example.org" || q.typ != typeAAAA || q.size != 1400 || !q.edns || !q.wantsDO || q.limit() != 1400 {
		t.Errorf("%+v", q)
	}
	if q := query1(t, "a.", dnsmessage.TypeA, opt(65000, false)); q.size != maxDatagram {
		t.Errorf("size: %d", q.size)
	}
	good := ask(t, "a.example.", dnsmessage.TypeA)
	change := func(f func(b []byte) []byte) []byte { return f(slices.Clone(good)) }
	for what, c := range map[string]struct {
		msg  []byte
		code int
		ok   bool
	}{
		"nothing":          {nil, 0, false},
		"half a header":    {good[:11], 0, false},
		"an answer":        {change(func(b []byte) []byte { b[2] |= 0x80; return b }), 0, false},
		"an update":        {change(func(b []byte) []byte { b[2] = 5 << 3; return b }), codeNotImpl, true},
		"no question":      {change(func(b []byte) []byte { b[5] = 0; return b[:12] }), codeFormat, true},
		"two questions":    {change(func(b []byte) []byte { b[5] = 2; return append(b, b[12:]...) }), codeFormat, true},
		"half a question":  {good[:len(good)-1], codeFormat, true},
		"bytes behind":     {change(func(b []byte) []byte { return append(b, 0) }), codeFormat, true},
		"an answer inside": {change(func(b []byte) []byte { b[7] = 1; return b }), codeFormat, true},
		"many additional":  {change(func(b []byte) []byte { b[10], b[11] = 0xff, 0xff; return b }), codeFormat, true},
		"a loop":           {change(func(b []byte) []byte { return append(b[:12], 0xc0, 12, 0, 1, 0, 1) }), codeFormat, true},
		"a transfer":       {ask(t, "a.example.", dnsmessage.TypeAXFR), codeNotImpl, true},
		"two OPT":          {ask(t, "a.example.", dnsmessage.TypeA, opt(1232, false), opt(1232, false)), codeFormat, true},
		"EDNS of tomorrow": {ask(t, "a.example.", dnsmessage.TypeA, opt(1232, false), func(m *dnsmessage.Message) { m.Additionals[0].Header.TTL |= 1 << 16 }), codeVersion, true},
	} {
		q, code, ok := readQuery(c.msg)
		if code != c.code || ok != c.ok {
			t.Errorf("%s: %d, %v; want %d, %v", what, code, ok, c.code, c.ok)
		}
		if !ok || q == nil {
			continue
		}
		m := parse(t, q.reply(answer{code: code}))
		if got := int(m.RCode); code < 16 && got != code || m.ID != 0x1234 || !m.Response {
			t.Errorf("%s: answer %v", what, m.Header)
		}
	}
}

// TestOutward holds what leaves the machine: the name in lower case, and no option of the client's.
func TestOutward(t *testing.T) {
	q := query1(t, "SeCrEt.Example.", dnsmessage.TypeTXT, opt(4000, true, dnsmessage.Option{Code: 65001, Data: []byte("smuggled")}), func(m *dnsmessage.Message) {
		m.RecursionDesired, m.CheckingDisabled, m.AuthenticData = false, true, true
	})
	b := q.outward(7, true)
	if bytes.Contains(b, []byte("smuggled")) || !bytes.Contains(b, []byte("\x06secret\x07example")) {
		t.Errorf("%q", b)
	}
	m := parse(t, b)
	if m.ID != 7 || !m.RecursionDesired || !m.CheckingDisabled || !m.AuthenticData || len(m.Additionals) != 1 || !m.Additionals[0].Header.DNSSECAllowed() || int(m.Additionals[0].Header.Class) != maxOutside {
		t.Errorf("%+v", m)
	}
	if m := parse(t, q.outward(7, false)); len(m.Additionals) != 0 {
		t.Errorf("without EDNS: %+v", m)
	}
	if m := parse(t, query1(t, "a.", dnsmessage.TypeA).outward(1, true)); len(m.Additionals) != 0 {
		t.Errorf("EDNS that the client did not ask for: %+v", m)
	}
}

// TestCut fills an answer beyond what fits.
func TestCut(t *testing.T) {
	addrs := make([]netip.Addr, 5000)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	for _, c := range []struct {
		edit   func(*dnsmessage.Message)
		stream bool
		limit  int
	}{{func(*dnsmessage.Message) {}, false, 512}, {opt(1400, false), false, 1400}, {opt(1400, false), true, maxMessage}} {
		q := query1(t, "many.", dnsmessage.TypeA, c.edit)
		q.stream = c.stream
		b := q.reply(answer{addrs: addrs, ttl: 1})
		m := parse(t, b)
		if !m.Truncated || len(b) > c.limit || len(b) < c.limit-16 {
			t.Errorf("limit %d: %d bytes, cut %v", c.limit, len(b), m.Truncated)
		}
	}
}

func TestArpa(t *testing.T) {
	for name, want := range map[string]string{
		"4.3.2.1.in-addr.arpa": "1.2.3.4",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": "2001:db8::1",
		"3.2.1.in-addr.arpa": "", "4.3.2.1.0.in-addr.arpa": "", "x.3.2.1.in-addr.arpa": "", "04.3.2.1.in-addr.arpa": "", "in-addr.arpa": "",
		"g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": "",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.ip6.arpa":   "",
		"100000000000000000000000000000000000000000000000000000000000000.ip6.arpa": "",
	} {
		a, ok := arpa(name)
		if ok != (want != "") || ok && a.String() != want {
			t.Errorf("%s: %v, %v", name, a, ok)
		}
	}
}

// FuzzQuery: whatever comes, what is answered and what is sent on is well-formed, and no longer than it may be; and what the library takes for a query of one question is one for us.
func FuzzQuery(f *testing.F) {
	f.Add(ask(f, "www.example.org.", dnsmessage.TypeA))
	f.Add(ask(f, "www.example.org.", dnsmessage.TypeAAAA, opt(1232, true)))
	f.Add(ask(f, "_x._tcp.example.", dnsmessage.TypeSRV, opt(100, false, dnsmessage.Option{Code: 10, Data: []byte("12345678")})))
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		q, code, ok := readQuery(msg)
		var m dnsmessage.Message
		if err := m.Unpack(msg); err == nil && !m.Response && len(m.Questions) == 1 && !ok {
			t.Fatal("a query that the library reads is none")
		}
		if !ok {
			return
		}
		b := q.reply(answer{code: code, addrs: []netip.Addr{loopback4, loopback6}, ede: edeBlocked, text: "text"})
		if len(b) > q.limit() {
			t.Fatalf("%d bytes, limit %d", len(b), q.limit())
		}
		var p dnsmessage.Parser
		if h, err := p.Start(b); err != nil || h.ID != q.id || !h.Response {
			t.Fatalf("reply: %v %v", h, err)
		}
		if code != codeOK {
			return
		}
		again, code, ok := readQuery(q.outward(9, true))
		if !ok || code != codeOK || again.name != q.name || again.typ != q.typ || again.edns != q.edns || again.wantsDO != q.wantsDO {
			t.Fatalf("outward: %+v, %d, %v", again, code, ok)
		}
	})
}

// FuzzResponse: an answer from outside never breaks anything; what the client gets has its id and its question, and fits; and the addresses are those that the library reads.
func FuzzResponse(f *testing.F) {
	q := query1(f, "wWw.example.org.", dnsmessage.TypeA, opt(1232, true))
	www := dnsmessage.MustNewName("www.example.org.")
	cdn := dnsmessage.MustNewName("cdn.example.net.")
	head := func(n dnsmessage.Name, typ dnsmessage.Type) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: n, Type: typ, Class: dnsmessage.ClassINET, TTL: 60}
	}
	f.Add(ask(f, "www.example.org.", dnsmessage.TypeA, opt(4096, true), func(m *dnsmessage.Message) {
		m.Response = true
		m.Answers = []dnsmessage.Resource{
			{Header: head(www, dnsmessage.TypeCNAME), Body: &dnsmessage.CNAMEResource{CNAME: cdn}},
			{Header: head(cdn, dnsmessage.TypeA), Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
			{Header: head(www, dnsmessage.TypeSOA), Body: &dnsmessage.SOAResource{NS: cdn, MBox: www}},
			{Header: head(www, dnsmessage.TypeMX), Body: &dnsmessage.MXResource{MX: cdn}},
		}
	}))
	f.Add(ask(f, "www.example.org.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Response, m.Truncated = true, true }))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if len(msg) > maxMessage {
			return
		}
		r, ok := q.readResponse(slices.Clone(msg), 0x1234)
		if !ok {
			return
		}
		addrs, _ := r.addresses(q)
		if !r.cut && len(msg) > headerLen {
			same(t, msg, addrs)
		}
		r.shorten(5)
		_, _ = after(q, r, &testPolicy{})
		b := r.forClient(q)
		if len(b) > q.limit() || binary.BigEndian.Uint16(b) != q.id || len(msg) > headerLen && !bytes.Equal(b[headerLen:headerLen+len(q.question)], q.question) {
			t.Fatalf("%x", b)
		}
	})
}

// same compares the addresses that were found with those in the message as the library reads it.
func same(t *testing.T, msg []byte, addrs []netip.Addr) {
	var m dnsmessage.Message
	if m.Unpack(msg) != nil {
		return // it is stricter about types that are only passed on
	}
	for _, a := range addrs {
		if !slices.ContainsFunc(m.Answers, func(r dnsmessage.Resource) bool {
			switch b := r.Body.(type) {
			case *dnsmessage.AResource:
				return netip.AddrFrom4(b.A) == a
			case *dnsmessage.AAAAResource:
				return netip.AddrFrom16(b.AAAA) == a
			}
			return false
		}) {
			t.Fatalf("%v is not in %+v", a, m.Answers)
		}
	}
}
