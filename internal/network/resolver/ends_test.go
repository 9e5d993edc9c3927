package resolver

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/network"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// look returns the addresses of a name as text; "-" if it is not known.
func look(n Names, name string) string {
	addrs, known := n.Lookup(name)
	if !known {
		return "-"
	}
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestEnds follows the files of networks as containers come and go.
func TestEnds(t *testing.T) {
	dir := network.Dir(filepath.Join(t.TempDir(), "network"))
	id := func(c string) string { return strings.Repeat(c, 64) }
	web := network.Network{ID: id("a"), Name: "web_net", Between: true, Outside: true, Subnets: []network.Subnet{{Prefix: netip.MustParsePrefix("10.1.0.0/24")}}}
	alone := network.Network{ID: id("b"), Name: network.Default, Outside: true}
	other := network.Network{ID: id("c"), Name: "other", Between: true}
	put := func(n network.Network, e network.Endpoint) {
		t.Helper()
		e.Network = n.ID
		must(t, dir.Put(&e))
		must(t, dir.PutNetwork(&n))
	}
	one := network.Endpoint{Container: id("1"), Name: "one", Hostname: "box", IPv4: netip.MustParsePrefix("10.1.0.2/24"), Wish: network.Wish{Links: map[string]string{"friend": "/two"}}}
	names := Of(dir, one.Container)
	if look(names, "one") != "-" || names.Outside() {
		t.Error("a name before there is a network")
	}
	put(web, one)
	put(web, network.Endpoint{Container: id("2"), Name: "two", Hostname: "box", IPv4: netip.MustParsePrefix("10.1.0.3/24"), IPv6: netip.MustParsePrefix("fd01::3/64"), Wish: network.Wish{Aliases: []string{"db"}}})
	put(web, network.Endpoint{Container: id("3"), Name: "three", Hostname: "one", IPv4: netip.MustParsePrefix("10.1.0.4/24"), Wish: network.Wish{Aliases: []string{"db"}}})
	put(other, network.Endpoint{Container: id("4"), Name: "four", IPv4: netip.MustParsePrefix("10.2.0.2/24")})
	put(alone, network.Endpoint{Container: id("5"), Name: "five", IPv4: netip.MustParsePrefix("10.3.0.2/24")})
	check := func(want map[string]string) {
		t.Helper()
		for name, addrs := range want {
			if got := look(names, name); got != addrs {
				t.Errorf("%s: %s, want %s", name, got, addrs)
			}
		}
	}
	check(map[string]string{
		"one": "10.1.0.2", "two": "10.1.0.3 fd01::3", "two.web_net": "10.1.0.3 fd01::3", "db": "10.1.0.3 10.1.0.4 fd01::3", "box": "10.1.0.2 10.1.0.3 fd01::3", "friend": "10.1.0.3 fd01::3",
		id("2")[:12]: "10.1.0.3 fd01::3", id("2"): "-", "four": "-", "five": "-",
	})
	if got, mine := names.Reverse(netip.MustParseAddr("fd01::3")); !mine || !slices.Equal(got, []string{"two.web_net"}) {
		t.Errorf("reverse: %v, %v", got, mine)
	}
	if _, mine := names.Reverse(netip.MustParseAddr("10.1.0.99")); !mine {
		t.Error("an address of the network is somebody else's")
	}
	if _, mine := names.Reverse(netip.MustParseAddr("10.3.0.2")); mine || !names.Outside() {
		t.Error("an address of another network is known")
	}
	// It comes to a network, and leaves one.
	put(alone, network.Endpoint{Container: id("1"), Name: "one", IPv4: netip.MustParsePrefix("10.3.0.3/24")})
	must(t, dir.Drop(web.ID, one.Container))
	check(map[string]string{"one": "10.3.0.3", "two": "-", "five": "-"})
	put(other, network.Endpoint{Container: id("1"), Name: "one", IPv4: netip.MustParsePrefix("10.2.0.3/24")})
	must(t, dir.Drop(alone.ID, one.Container))
	check(map[string]string{"one": "10.2.0.3", "four": "10.2.0.2"})
	if names.Outside() {
		t.Error("an internal network leads outside")
	}
}

func TestConf(t *testing.T) {
	host := ParseConf([]byte("# x\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver nonsense\ndomain a\nsearch corp.example lan\n;y\noptions timeout:1 rotate ndots:2\noptions edns0\nbogus x\nnameserver"))
	if len(host.Servers) != 2 || host.Servers[1].Zone() != "eth0" || strings.Join(host.Search, " ") != "corp.example lan" || strings.Join(host.Options, " ") != "timeout:1 rotate ndots:2 edns0" {
		t.Errorf("%+v", host)
	}
	if p := parsePatience(host.Options); p.try.Seconds() != 1 || p.attempts != defaultAttempts || !p.rotate || p.stream {
		t.Errorf("%+v", p)
	}
	if p := parsePatience([]string{"timeout:99999999999", "timeout:1000000", "attempts:1000", "timeout:-1", "use-vc"}); p.try != longestTry || p.attempts != mostAttempts || !p.stream {
		t.Errorf("%+v", p)
	}
	for _, c := range []struct {
		search, options []string
		want            string
	}{
		{nil, nil, "nameserver 127.0.0.11\nsearch corp.example lan\noptions ndots:2\n"},
		{[]string{"."}, []string{"edns0"}, "nameserver 127.0.0.11\noptions ndots:0 edns0\n"},
		{[]string{"x.example"}, []string{"ndots:1", "trust-ad"}, "nameserver 127.0.0.11\nsearch x.example\noptions ndots:1 trust-ad\n"},
	} {
		if got := string(ContainerConf(host, c.search, c.options).Bytes()); got != c.want {
			t.Errorf("%v %v: %q, want %q", c.search, c.options, got, c.want)
		}
	}
}

// TestFiles writes a container's files as networks and the host's configuration change, beside a program that writes too.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		must(t, os.WriteFile(path(name), []byte(text), 0o644))
	}
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(path(name))
		must(t, err)
		return string(b)
	}
	write("hosts", "old\n")
	write("resolv", strings.Repeat("old\n", 100))
	write("host", "nameserver 10.0.0.1\nsearch corp.example\n")
	inode := func(name string) os.FileInfo {
		t.Helper()
		i, err := os.Stat(path(name))
		must(t, err)
		return i
	}
	before := inode("hosts")
	f := NewFiles(&network.Orders{
		Hostname: "web", Domain: "corp.example", Files: network.Files{Hosts: path("hosts"), Resolv: path("resolv")},
		Hosts: []network.Name{{Name: "host", Addr: netip.Addr{}}, {Name: "db", Addr: netip.MustParseAddr("10.7.7.7")}},
	})
	f.path = path("host")
	if err := f.Begin(nil); err == nil || !strings.Contains(err.Error(), "host-gateway") {
		t.Errorf("host-gateway without a gateway: %v", err)
	}
	front := network.Attached{Endpoint: &network.Endpoint{IPv4: netip.MustParsePrefix("10.1.0.2/24"), IPv6: netip.MustParsePrefix("fd01::2/64"), Gateway4: netip.MustParseAddr("10.1.0.1"), Default4: true}}
	back := network.Attached{Endpoint: &network.Endpoint{IPv4: netip.MustParsePrefix("10.2.0.2/24")}}
	must(t, f.Begin([]network.Attached{front}))
	standard := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n10.1.0.1\thost\n10.7.7.7\tdb\n"
	if got, want := read("hosts"), standard+"10.1.0.2\tweb.corp.example web\nfd01::2\tweb.corp.example web\n"; got != want {
		t.Errorf("hosts: %q, want %q", got, want)
	}
	if got := read("resolv"); got != "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n" {
		t.Errorf("resolv.conf: %q", got)
	}
	write("hosts", read("hosts")+"1.2.3.4\tthe-programs-own")
	must(t, f.Change([]network.Attached{back}))
	if got, want := read("hosts"), standard+"1.2.3.4\tthe-programs-own\n10.2.0.2\tweb.corp.example web\n"; got != want {
		t.Errorf("hosts: %q, want %q", got, want)
	}
	f.host(ParseConf([]byte("search new.example\n")))
	if got := read("resolv"); got != "nameserver 127.0.0.11\nsearch new.example\noptions ndots:0\n" {
		t.Errorf("resolv.conf: %q", got)
	}
	write("resolv", "the program's own\n")
	f.host(ParseConf([]byte("search newer.example\n")))
	if got := read("resolv"); got != "the program's own\n" {
		t.Errorf("resolv.conf: %q", got)
	}
	if !os.SameFile(before, inode("hosts")) {
		t.Error("the file was replaced")
	}
	// A file that is none any more, or too long, harms nobody.
	must(t, os.Truncate(path("hosts"), maxFile+1))
	if err := f.Change(nil); err == nil {
		t.Error("a file of a megabyte was read")
	}
	must(t, os.Remove(path("hosts")))
	must(t, os.Symlink(path("host"), path("hosts")))
	if err := f.Change(nil); err == nil || read("host") != "nameserver 10.0.0.1\nsearch corp.example\n" {
		t.Errorf("a link was followed: %v", err)
	}
}
