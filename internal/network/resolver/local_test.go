package resolver

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func addrs(texts ...string) (out []netip.Addr) {
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func table() *Table {
	t := &Table{Out: true}
	t.Network("front_end", netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd01::/64"))
	t.Network("app", netip.MustParsePrefix("10.2.0.0/16"))
	t.Add("front_end", []string{"Web", "3f1c5a2b9d10", "www.example.org", "a..b", ""}, addrs("10.1.0.2", "fd01::2"))
	t.Add("app", []string{"web"}, addrs("10.2.0.2"))
	t.Add("app", []string{"db", "data"}, addrs("10.2.0.3"))
	t.Add("app", []string{"db2", "data"}, addrs("10.2.0.4"))
	t.Add("app", []string{"nowhere"}, nil)
	return t
}

func TestLocal(t *testing.T) {
	const outside = -1
	for _, c := range []struct {
		name string
		typ  dnsmessage.Type
		code int
		want []string
	}{
		{"web.", dnsmessage.TypeA, 0, []string{"10.1.0.2", "10.2.0.2"}},
		{"WEB.", dnsmessage.TypeAAAA, 0, []string{"fd01::2"}},
		{"web.", dnsmessage.TypeALL, 0, []string{"10.1.0.2", "10.2.0.2", "fd01::2"}},
		{"web.", dnsmessage.TypeMX, 0, nil},
		{"web.app.", dnsmessage.TypeA, 0, []string{"10.2.0.2"}},
		{"web.app.", dnsmessage.TypeAAAA, 0, nil},
		{"web.front_end.", dnsmessage.TypeA, 0, []string{"10.1.0.2"}},
		{"3f1c5a2b9d10.", dnsmessage.TypeA, 0, []string{"10.1.0.2"}},
		{"www.example.org.", dnsmessage.TypeA, 0, []string{"10.1.0.2"}},
		{"data.", dnsmessage.TypeA, 0, []string{"10.2.0.3", "10.2.0.4"}},
		{"nowhere.", dnsmessage.TypeA, 0, nil},
		{"other.", dnsmessage.TypeA, codeName, nil},
		{"other.front_end.", dnsmessage.TypeA, codeName, nil},
		{"other.app.", dnsmessage.TypeA, outside, nil},
		{"front_end.", dnsmessage.TypeA, codeName, nil},
		{"example.org.", dnsmessage.TypeA, outside, nil},
		{".", dnsmessage.TypeNS, outside, nil},
		{"localhost.", dnsmessage.TypeA, 0, []string{"127.0.0.1"}},
		{"x.localhost.", dnsmessage.TypeAAAA, 0, []string{"::1"}},
		{"a.invalid.", dnsmessage.TypeA, codeName, nil},
		{"a.onion.", dnsmessage.TypeA, codeName, nil},
		{"2.0.1.10.in-addr.arpa.", dnsmessage.TypePTR, 0, []string{"web.front_end."}},
		{"2.0.1.10.in-addr.arpa.", dnsmessage.TypeA, 0, nil},
		{"9.9.1.10.in-addr.arpa.", dnsmessage.TypePTR, codeName, nil},
		{"1.0.0.127.in-addr.arpa.", dnsmessage.TypePTR, 0, []string{"localhost."}},
		{"9.9.9.9.in-addr.arpa.", dnsmessage.TypePTR, outside, nil},
		{"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.d.f.ip6.arpa.", dnsmessage.TypePTR, 0, []string{"web.front_end."}},
	} {
		q := query1(t, c.name, c.typ)
		a, ok := local(q, table())
		if ok == (c.code == outside) {
			t.Errorf("%s %v: local is %v", c.name, c.typ, ok)
			continue
		}
		if !ok {
			continue
		}
		m := parse(t, q.reply(a))
		var got []string
		for _, r := range m.Answers {
			switch b := r.Body.(type) {
			case *dnsmessage.AResource:
				got = append(got, netip.AddrFrom4(b.A).String())
			case *dnsmessage.AAAAResource:
				got = append(got, netip.AddrFrom16(b.AAAA).String())
			case *dnsmessage.PTRResource:
				got = append(got, b.PTR.String())
			}
		}
		slices.Sort(got)
		if int(m.RCode) != c.code || !slices.Equal(got, c.want) || !m.Authoritative || !m.RecursionAvailable {
			t.Errorf("%s %v: %v, %v; want code %d, %v", c.name, c.typ, m.Header, got, c.code, c.want)
		}
	}
	q := query1(t, "web.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS })
	if a, ok := local(q, table()); !ok || a.code != codeRefused {
		t.Errorf("another class: %+v, %v", a, ok)
	}
}

// TestShuffle sees every answer first at some time.
func TestShuffle(t *testing.T) {
	first := map[netip.Addr]bool{}
	for range 1000 {
		a, _ := local(query1(t, "data.", dnsmessage.TypeA), table())
		first[a.addrs[0]] = true
	}
	if len(first) != 2 {
		t.Errorf("always first: %v", first)
	}
}

// TestWatch changes files under a reader: after a change is made, no question is answered from before it.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	var loads atomic.Int32
	w := NewWatch(func() (*Table, []string, error) {
		loads.Add(1)
		tab := &Table{}
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			tab.Add("net", []string{e.Name()}, addrs("10.0.0.1"))
		}
		return tab, []string{dir}, err
	})
	if _, known := w.Lookup("a"); known {
		t.Error("a name before there is one")
	}
	var reading sync.WaitGroup
	stop := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.Lookup("a")
			}
		}
	})
	path := filepath.Join(dir, "a")
	for i := range 300 {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, known := w.Lookup("a"); !known {
			t.Fatalf("%d: a name that is there is not known", i)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, known := w.Lookup("a"); known {
			t.Fatalf("%d: a name that has gone is known", i)
		}
	}
	close(stop)
	reading.Wait()
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
	w.Lookup("a")
	n := loads.Load()
	for range 100 {
		w.Lookup("a")
	}
	if loads.Load() != n {
		t.Errorf("%d loads without a change", loads.Load()-n)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.Lookup("a") // what was read last holds, and nothing breaks
}
