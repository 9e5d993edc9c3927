package firewall

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
)

func outward() *network.Network {
	s := segment()
	s.Outside, s.Masquerade = true, true
	return s
}

func TestPublished(t *testing.T) {
	w := newWorld(t)
	d, s := defaultNet(), outward()
	web := end(d, "1", "web", "2")
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	w.publish(d, web, network.Port{Protocol: "tcp", Container: 80, First: 8080, Last: 8080},
		network.Port{Protocol: "tcp", Container: 81, First: 8081, Last: 8081, Host: any4}, network.Port{Protocol: "tcp", Container: 81, First: 8081, Last: 8081, Host: any6},
		network.Port{Protocol: "udp", Container: 53, First: 5353, Last: 5353, Host: netip.MustParseAddr("192.0.2.1")},
		network.Port{Protocol: "udp", Container: 53, First: 5353, Last: 5353, Host: netip.MustParseAddr("2001:db8::1")})
	c := w.attach(d, web, false)
	other := w.attach(d, end(d, "2", "job", "3"), false)
	far := w.attach(s, end(s, "3", "db", "2"), false)
	for _, p := range []string{"80", "81"} {
		c.Serve("web", "tcp", ":"+p)
	}
	c.Serve("web", "udp", "10.89.0.2:53")
	c.Serve("web", "udp", "[fd89::2]:53")

	w.host.reaches("tcp", "127.0.0.1:8080", "web 10.89.0.1")
	w.host.reaches("tcp", "[::1]:8080", "web fd89::1")
	w.host.reaches("tcp", "127.0.0.1:8081", "web 10.89.0.1")
	w.host.reaches("tcp", "[::1]:8081", "web fd89::1")
	w.host.reaches("tcp", "192.0.2.1:8081", "web 192.0.2.1")
	w.host.reaches("tcp", "[2001:db8::1]:8081", "web 2001:db8::1")
	w.host.reaches("udp", "192.0.2.1:5353", "web 192.0.2.1")
	w.lan.reaches("tcp", "192.0.2.1:8081", "web 192.0.2.2")
	w.lan.reaches("tcp", "[2001:db8::1]:8081", "web 2001:db8::2")
	w.lan.reaches("udp", "192.0.2.1:5353", "web 192.0.2.2")
	w.lan.reaches("udp", "[2001:db8::1]:5353", "web 2001:db8::2")
	for _, from := range []*space{c, other} { // neighbours, and the container itself
		from.reaches("tcp", "192.0.2.1:8081", "web 10.89.0.1")
		from.reaches("tcp", "[2001:db8::1]:8081", "web fd89::1")
	}
	far.reaches("tcp", "192.0.2.1:8081", "web 10.90.0.2")
	far.reaches("tcp", "10.90.0.1:8081", "web 10.90.0.2")
	far.reaches("tcp", "[2001:db8::1]:8081", "web fd90::2")

	// Published for the host alone.
	w.lan.fails("tcp", "192.0.2.1:8080")
	w.lan.fails("tcp", "[2001:db8::1]:8080")
	far.fails("tcp", "10.90.0.1:8080")
	// Not published: by its address, with a route to it.
	w.lan.Run("ip", "route", "add", "10.89.0.0/24", "via", "192.0.2.1")
	w.lan.Run("ip", "-6", "route", "add", "fd89::/64", "via", "2001:db8::1")
	w.lan.fails("tcp", "10.89.0.2:80")
	w.lan.fails("tcp", "[fd89::2]:80")
	w.lan.fails("tcp", "10.89.0.2:81")
}

// The host's firewall decides about published ports as about its own.
func TestHostFirewallHolds(t *testing.T) {
	w := newWorld(t)
	d := defaultNet()
	web := end(d, "1", "web", "2")
	w.publish(d, web, network.Port{Protocol: "tcp", Container: 80, First: 8081, Last: 8081, Host: netip.IPv4Unspecified()}, network.Port{Protocol: "tcp", Container: 80, First: 8081, Last: 8081, Host: netip.IPv6Unspecified()})
	c := w.attach(d, web, false)
	c.Serve("web", "tcp", ":80")
	w.lan.reaches("tcp", "192.0.2.1:8081", "web 192.0.2.2")
	w.lan.reaches("tcp", "[2001:db8::1]:8081", "web 2001:db8::2")
	w.host.Run("nft", "add table inet mine; add chain inet mine input { type filter hook input priority 0; policy drop; }; add rule inet mine input ct state established accept; add rule inet mine input iif lo accept; add rule inet mine input meta l4proto ipv6-icmp accept")
	w.lan.fails("tcp", "192.0.2.1:8081")
	w.lan.fails("tcp", "[2001:db8::1]:8081")
	w.host.reaches("tcp", "127.0.0.1:8081", "web 10.89.0.1")
	w.host.Run("nft", "add rule inet mine input ip saddr 192.0.2.2 tcp dport 8081 accept")
	w.lan.reaches("tcp", "192.0.2.1:8081", "web 192.0.2.2")
	w.lan.fails("tcp", "[2001:db8::1]:8081")
	w.host.Run("nft", "add rule inet mine input ip6 saddr 2001:db8::/64 tcp dport 8081 accept")
	w.lan.reaches("tcp", "[2001:db8::1]:8081", "web 2001:db8::2")
}

func TestIsolation(t *testing.T) {
	w := newWorld(t)
	d, s, inner := defaultNet(), outward(), segment()
	inner.ID, inner.Bridge = id("c"), "bhinner"
	inner.Subnets = []network.Subnet{{Prefix: netip.MustParsePrefix("10.91.0.0/24"), Gateway: netip.MustParseAddr("10.91.0.1")}, {Prefix: netip.MustParsePrefix("fd91::/64"), Gateway: netip.MustParseAddr("fd91::1")}}
	a, b := w.attach(d, end(d, "1", "a", "2"), false), w.attach(d, end(d, "2", "b", "3"), false)
	x, y := w.attach(s, end(s, "3", "x", "2"), false), w.attach(s, end(s, "4", "y", "3"), false)
	p, q := w.attach(inner, end(inner, "5", "p", "2"), false), w.attach(inner, end(inner, "6", "q", "3"), false)
	for name, c := range w.ends {
		c.Serve(name, "tcp", ":80")
	}
	w.host.Serve("host", "tcp", ":22")
	w.lan.Serve("lan", "tcp", ":80")
	w.lan.Run("ip", "addr", "add", "169.254.169.254/32", "dev", "eth0")
	w.lan.Run("ip", "-6", "addr", "add", "fd00:ec2::254/128", "dev", "eth0", "nodad")
	w.host.Run("ip", "route", "add", "169.254.169.254/32", "via", "192.0.2.2")
	w.host.Run("ip", "-6", "route", "add", "fd00:ec2::254/128", "via", "2001:db8::2")
	w.host.reaches("tcp", "169.254.169.254:80", "lan 192.0.2.1")
	w.host.reaches("tcp", "[fd00:ec2::254]:80", "lan 2001:db8::1")

	for _, c := range []*space{a, b, x, y} { // out, as the host
		c.reaches("tcp", "192.0.2.2:80", "lan 192.0.2.1")
		c.reaches("tcp", "[2001:db8::2]:80", "lan 2001:db8::1")
	}
	x.reaches("tcp", "10.90.0.3:80", "y 10.90.0.2")
	x.reaches("tcp", "[fd90::3]:80", "y fd90::2")
	p.reaches("tcp", "10.91.0.3:80", "q 10.91.0.2")
	w.host.reaches("tcp", "10.89.0.2:80", "a 10.89.0.1")
	for _, c := range []*space{a, x, p} { // the host's services, by all its addresses, and metadata
		for _, addr := range []string{"192.0.2.1:22", "[2001:db8::1]:22", "10.89.0.1:22", "10.90.0.1:22", "10.91.0.1:22", "[fd89::1]:22", "[fd90::1]:22", "[fd91::1]:22"} {
			c.fails("tcp", addr)
		}
		c.fails("tcp", "169.254.169.254:80")
		c.fails("tcp", "[fd00:ec2::254]:80")
	}
	for _, addr := range []string{"10.89.0.3:80", "[fd89::3]:80", "10.90.0.2:80", "[fd90::2]:80", "10.91.0.2:80", "[fd91::2]:80"} {
		a.fails("tcp", addr)
	}
	for _, addr := range []string{"10.89.0.3:80", "[fd89::3]:80", "10.90.0.2:80", "192.0.2.2:80", "[2001:db8::2]:80"} {
		p.fails("tcp", addr)
	}
	_ = q
}

func TestPolicy(t *testing.T) {
	w := newWorld(t)
	d := defaultNet()
	e := end(d, "1", "job", "2")
	e.Policy = network.Policy{Allow: []network.Destination{{Host: "a.example", Port: 80}, {Host: "b.example"}, {Prefix: netip.MustParsePrefix("198.51.100.0/25"), Port: 81}}}
	c := w.attach(d, e, false)
	for _, addr := range []string{"198.51.100.1", "198.51.100.200", "203.0.113.1", "203.0.113.2"} {
		w.lan.Run("ip", "addr", "add", addr+"/32", "dev", "eth0")
		w.host.Run("ip", "route", "add", addr+"/32", "via", "192.0.2.2")
	}
	w.lan.Serve("lan", "tcp", ":80")
	w.lan.Serve("lan", "tcp", ":81")
	for _, addr := range []string{"192.0.2.2:80", "[2001:db8::2]:80", "203.0.113.1:80", "203.0.113.2:80", "198.51.100.1:80", "198.51.100.200:81"} {
		c.fails("tcp", addr)
	}
	c.reaches("tcp", "198.51.100.1:81", "lan 192.0.2.1")
	learn := func(name, addr string) {
		w.host.Do(func() {
			a := network.Attached{Network: d, Endpoint: e}
			if ok, err := Learn(a, func(x network.Destination) bool { return x.Host == name }, []netip.Addr{netip.MustParseAddr(addr)}, soon*10); !ok || err != nil {
				t.Errorf("learn: %v, %v", ok, err)
			}
		})
	}
	learn("a.example", "203.0.113.1")
	learn("a.example", "203.0.113.1") // again
	learn("b.example", "2001:db8::2")
	c.reaches("tcp", "203.0.113.1:80", "lan 192.0.2.1")
	c.fails("tcp", "203.0.113.1:81")
	c.fails("tcp", "203.0.113.2:80")
	c.reaches("tcp", "[2001:db8::2]:80", "lan 2001:db8::1")
	c.reaches("tcp", "[2001:db8::2]:81", "lan 2001:db8::1")
	w.host.Do(func() {
		for i := range 2 { // what somebody has removed already is fine
			if err := Remove(network.Attached{Network: d, Endpoint: e}, false); err != nil {
				t.Errorf("remove %d: %v", i, err)
			}
		}
	})
	if got := w.host.Run("nft", "list", "table", "inet", "bulkhead"); strings.Contains(got, "203.0.113.1") || strings.Contains(got, "job") {
		t.Errorf("left: %s", got)
	}
}

// What is put in place one by one is what is put in place at once, and nothing is left of it.
func TestAddRemove(t *testing.T) {
	s := newSpace(t)
	all := example()
	tables := func() string { return s.Run("nft", "-s", "list", "ruleset") }
	const mine = "add table inet mine; add chain inet mine input { type filter hook input priority 0; }; add rule inet mine input tcp dport 22 accept"
	s.Run("nft", mine)
	before := tables()
	s.Do(func() {
		for range 2 {
			for _, a := range all {
				if err := Add(a); err != nil {
					t.Error(err)
				}
			}
		}
	})
	one := sorted(tables())
	s.Do(func() {
		if err := Restore(all); err != nil {
			t.Error(err)
		}
		if repaired, err := Repair(all); repaired || err != nil {
			t.Errorf("repaired what is whole: %v, %v", repaired, err)
		}
	})
	if got := sorted(tables()); got != one {
		t.Errorf("restored:\n%s\nadded:\n%s", got, one)
	}
	for _, damage := range []string{"flush ruleset", "delete table inet bulkhead", "flush chain inet bulkhead forward", "flush set bridge bulkhead ports", "delete table bridge bulkhead", "flush set inet bulkhead bridges", "flush chain ip bulkhead goon"} {
		s.Run("nft", damage)
		s.Do(func() {
			if repaired, err := Repair(all); !repaired || err != nil {
				t.Errorf("%s: repaired: %v, %v", damage, repaired, err)
			}
		})
		if damage == "flush ruleset" {
			s.Run("nft", mine)
		}
		if got := sorted(tables()); got != one {
			t.Errorf("%s: repaired:\n%s\nadded:\n%s", damage, got, one)
		}
	}
	s.Run("nft", "flush ruleset; "+mine)
	s.Do(func() {
		if err := Restore(all); err != nil {
			t.Error(err)
		}
		for i, a := range all {
			if err := Remove(a, i == len(all)-1); err != nil {
				t.Error(err)
			}
		}
	})
	if got := tables(); got != before {
		t.Errorf("left: %s", got)
	}
	if got := s.Run("ip", "-o", "link"); strings.Contains(got, loopName) {
		t.Errorf("left: %s", got)
	}
}

// sorted makes two listings comparable: elements of hashes have no order.
func sorted(s string) string {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == ',' || r == '{' || r == '}' })
	for i := range parts {
		parts[i] = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(parts[i]), "elements ="))
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n")
}

func TestPublishTaken(t *testing.T) {
	s := newSpace(t)
	s.Serve("x", "tcp", "127.0.0.1:8080")
	n := defaultNet()
	s.Do(func() {
		_, _, err := Publish([]network.Port{{Protocol: "tcp", Container: 80, First: 8080, Last: 8080}}, n)
		if !errdef.Is(err, errdef.Conflict) {
			t.Errorf("a taken port: %v", err)
		}
		got, hold, err := Publish([]network.Port{{Protocol: "tcp", Container: 80, First: 8080, Last: 8082}, {Protocol: "udp", Container: 53}}, n)
		if err != nil {
			t.Error(err)
			return
		}
		if len(got) != 4 || got[0].First != 8081 || got[1].First != 8081 || got[2].First == 0 || got[2].First != got[3].First {
			t.Errorf("granted %+v", got)
		}
		if _, _, err := Publish(got[2:3], n); !errdef.Is(err, errdef.Conflict) {
			t.Errorf("twice: %v", err)
		}
		hold.Close()
		if _, again, err := Publish(got, n); err != nil {
			t.Errorf("given back: %v", err)
		} else {
			again.Close()
		}
		if _, _, err := Publish([]network.Port{{Protocol: "tcp", Container: 80, First: 1, Last: 1, Host: netip.MustParseAddr("198.51.100.77")}}, n); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("no such address: %v", err)
		}
	})
}

// What a killed monitor has left of an address or a port does not stand in the way of who has them now.
func TestLeftovers(t *testing.T) {
	s := newSpace(t)
	n := defaultNet()
	old, now := end(n, "1", "old", "2"), end(n, "2", "now", "2")
	for _, e := range []*network.Endpoint{old, now} {
		e.Ports = []network.Port{{Protocol: "tcp", Container: 80, Host: netip.MustParseAddr("192.0.2.1"), First: 80, Last: 80}}
	}
	now.Ports[0].Container = 81
	s.Do(func() {
		for _, e := range []*network.Endpoint{old, now} {
			if err := Add(network.Attached{Network: n, Endpoint: e}); err != nil {
				t.Errorf("%s: %v", e.Name, err)
			}
		}
	})
	got := s.Run("nft", "list", "table", "inet", "bulkhead")
	for _, want := range []string{"10.89.0.2 : goto end-222222222222", "192.0.2.1 . tcp . 80 comment \"now\" : 10.89.0.2 . 81"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	other := end(n, "3", "other", "4")
	for _, e := range []*network.Endpoint{now, other} {
		e.Ports = []network.Port{{Protocol: "sctp", Container: 80, Host: netip.MustParseAddr("192.0.2.1"), First: 90, Last: 90}}
	}
	s.Do(func() {
		if err := Add(network.Attached{Network: n, Endpoint: now}); err != nil {
			t.Error(err)
		}
		if err := Add(network.Attached{Network: n, Endpoint: other}); !errdef.Is(err, errdef.Conflict) {
			t.Errorf("a port of SCTP twice: %v", err)
		}
	})
}
