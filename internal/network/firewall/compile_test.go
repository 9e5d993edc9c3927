package firewall

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/network"
)

var update = flag.Bool("update", false, "write the golden files anew")

func id(c string) string { return strings.Repeat(c, 64) }

func defaultNet() *network.Network {
	return &network.Network{
		ID: id("a"), Name: network.Default, Bridge: "bh0", Outside: true, Masquerade: true, Policy: network.Policy{Open: true},
		Subnets: []network.Subnet{
			{Prefix: netip.MustParsePrefix("10.89.0.0/24"), Gateway: netip.MustParseAddr("10.89.0.1")},
			{Prefix: netip.MustParsePrefix("fd89::/64"), Gateway: netip.MustParseAddr("fd89::1")},
		},
	}
}

func end(n *network.Network, c, name string, last string) *network.Endpoint {
	p4, p6 := n.Subnets[0].Prefix, n.Subnets[1].Prefix
	four := strings.TrimSuffix(p4.Addr().String(), "0") + last
	return &network.Endpoint{
		ID: id(c), Network: n.ID, Container: id(c), Name: name, Device: "bh" + strings.Repeat(c, 8), Interface: "eth0", MAC: "02:42:0a:59:00:0" + last,
		IPv4: netip.PrefixFrom(netip.MustParseAddr(four), p4.Bits()), IPv6: netip.PrefixFrom(netip.MustParseAddr(p6.Addr().String()+last), p6.Bits()),
		Gateway4: n.Subnets[0].Gateway, Gateway6: n.Subnets[1].Gateway, Default4: true, Default6: true, Policy: network.Policy{Open: true},
	}
}

func segment() *network.Network {
	return &network.Network{
		ID: id("b"), Name: "back", Bridge: "bhback", Between: true, Policy: network.Policy{Open: true},
		Subnets: []network.Subnet{
			{Prefix: netip.MustParsePrefix("10.90.0.0/24"), Gateway: netip.MustParseAddr("10.90.0.1")},
			{Prefix: netip.MustParsePrefix("fd90::/64"), Gateway: netip.MustParseAddr("fd90::1")},
		},
	}
}

// example is two containers on the default network, one of them published and one held to a policy, and one on an internal network.
func example() []network.Attached {
	d, s := defaultNet(), segment()
	web, job, db := end(d, "1", "web", "2"), end(d, "2", "job", "3"), end(s, "3", "db", "2")
	addr := netip.MustParseAddr
	web.Group = 4711
	web.Ports = []network.Port{
		{Protocol: "tcp", Container: 80, Host: addr("127.0.0.1"), First: 8080, Last: 8080},
		{Protocol: "tcp", Container: 80, Host: addr("::1"), First: 8080, Last: 8080},
		{Protocol: "udp", Container: 53, Host: addr("192.0.2.1"), First: 5353, Last: 5353},
		{Protocol: "tcp", Container: 443, Host: addr("0.0.0.0"), First: 8443, Last: 8443},
		{Protocol: "tcp", Container: 443, Host: addr("::"), First: 8443, Last: 8443},
	}
	job.Policy = network.Policy{Metadata: true, Allow: []network.Destination{
		{Host: "example.org", Port: 443},
		{Prefix: netip.MustParsePrefix("198.51.100.0/24")},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), Port: 443, Protocol: "tcp"},
		{Prefix: netip.MustParsePrefix("203.0.113.7/32"), Port: 22},
	}}
	return []network.Attached{{Network: d, Endpoint: web}, {Network: d, Endpoint: job}, {Network: s, Endpoint: db}}
}

func TestGolden(t *testing.T) {
	got, err := Text(example())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "example.nft")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Fatalf("the tables have changed (-update writes %s):\n%s", path, got)
	}
}
