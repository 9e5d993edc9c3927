package egress

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/policy"
	"github.com/bulkhead-engine/bulkhead/internal/network/refusal"
)

func parsed(t *testing.T, words string) network.Policy {
	t.Helper()
	p, err := policy.Parse(strings.Fields(words))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func attached(own, net network.Policy) network.Attached {
	return network.Attached{
		Network:  &network.Network{Name: "n", Bridge: "br", Outside: true, Policy: net, Subnets: []network.Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1")}}},
		Endpoint: &network.Endpoint{IPv4: netip.MustParsePrefix("10.9.0.2/24"), Policy: own},
	}
}

func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		own, net, name string
		want           bool
	}{
		{"", "", "a.example", true},
		{"none", "", "a.example", false},
		{"a.example:443", "", "a.example", true},
		{"a.example:443", "", "b.example", false},
		{"a.example:443", "", "x.a.example", false},
		{"*.example", "", "b.example", true},
		{"a.example", "b.example", "a.example", false},
		{"a.example b.example", "b.example", "b.example", true},
		{"", "b.example", "b.example", true},
		{"", "b.example", "a.example", false},
		{"10.0.0.0/8", "", "a.example", false},
	} {
		g := New(nil)
		g.Set([]network.Attached{attached(parsed(t, c.own), parsed(t, c.net))}, 0)
		if got := g.Allowed(c.name); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if New(nil).Allowed("a.example") {
		t.Error("allowed without a network")
	}
}

func TestClosed(t *testing.T) {
	g := New(nil)
	g.Set([]network.Attached{attached(parsed(t, "a.example"), parsed(t, ""))}, 0)
	for addr, want := range map[string]bool{
		"169.254.169.254": true, "::ffff:169.254.169.254": true, "fe80::1": true, "fd00:ec2::254": true, "127.0.0.1": true, "::1": true, "0.0.0.0": true, "224.0.0.1": true,
		"255.255.255.255": true, "64:ff9b::a9fe:a9fe": true, "2002:a9fe:a9fe::1": true, "10.9.0.7": true, "100.100.100.200": true, "168.63.129.16": true,
		"192.0.2.1": false, "2001:db8::1": false, "10.8.0.1": false,
	} {
		if got := g.Closed(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestRule(t *testing.T) {
	src, inner := netip.MustParseAddrPort("10.9.0.2:1000"), attached(parsed(t, ""), parsed(t, ""))
	inner.Network.Outside = false
	for _, c := range []struct {
		a        network.Attached
		dst      string
		host     bool
		toBridge bool
		want     string
	}{
		{attached(parsed(t, ""), parsed(t, "")), "192.0.2.1:22", true, false, "host: "},
		{attached(parsed(t, ""), parsed(t, "")), "10.8.0.2:80", false, true, "segment: "},
		{attached(parsed(t, ""), parsed(t, "")), "169.254.169.254:80", false, false, "closed: "},
		{attached(parsed(t, "a.example:443 10.0.0.0/8"), parsed(t, "")), "192.0.2.1:80", false, false, "egress: a.example:443 10.0.0.0/8"},
		{attached(parsed(t, ""), parsed(t, "none")), "192.0.2.1:80", false, false, "egress of network n: none"},
		{inner, "192.0.2.1:80", false, false, "network n: is internal"},
	} {
		got := rule([]network.Attached{c.a}, refusal.Packet{Src: src, Dst: netip.MustParseAddrPort(c.dst), ToHost: c.host}, c.toBridge)
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.dst, got, c.want)
		}
	}
}

// A name server that works with a container, by a pattern or by one name with ever other addresses, must not fill the kernel's memory.
func TestMostOpen(t *testing.T) {
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}) }
	g := New(nil)
	a := attached(parsed(t, "*.example"), parsed(t, ""))
	a.Endpoint.IPv4 = netip.Prefix{} // an end without an address has nothing opened, so that the kernel is not asked
	g.Set([]network.Attached{a}, 0)
	for i := range mostOpen {
		if err := g.Learn("a.example", []netip.Addr{addr(i)}, time.Hour); err != nil {
			t.Fatalf("address %d: %v", i, err)
		}
	}
	if err := g.Learn("b.example", []netip.Addr{addr(mostOpen)}, time.Hour); !errdef.Is(err, errdef.Unavailable) {
		t.Errorf("one more than may be open: %v", err)
	}
	if err := g.Learn("a.example", []netip.Addr{addr(7)}, time.Minute); err != nil {
		t.Errorf("one that is open: %v", err)
	}
	for l := range g.learned {
		g.learned[l] = time.Now().Add(-time.Second)
		break
	}
	if err := g.Learn("b.example", []netip.Addr{addr(mostOpen)}, time.Hour); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}
