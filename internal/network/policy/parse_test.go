package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", ""},
		{"none", "none"},
		{"metadata", "metadata"},
		{"host metadata", "metadata host"},
		{"example.org", "example.org"},
		{"Example.ORG.:443", "example.org:443"},
		{"*.example.org:443/tcp", "*.example.org:443/tcp"},
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.0/24:53/udp", "192.0.2.0/24:53/udp"},
		{"10.0.0.0/8/tcp", "10.0.0.0/8/tcp"},
		{"0.0.0.0/0:443", "0.0.0.0/0:443"},
		{"2001:db8::1", "2001:db8::1"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"[2001:db8::/32]:443/tcp", "[2001:db8::/32]:443/tcp"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"a.example a.example b.example:1", "a.example b.example:1"},
		{"metadata a.example", "metadata a.example"},
		{"_dmarc.example.org", "_dmarc.example.org"},
	} {
		p, err := Parse(strings.Fields(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if got := strings.Join(Words(p), " "); got != c.out {
			t.Errorf("%s: %s, want %s", c.in, got, c.out)
		}
		again, err := Parse(Words(p))
		if err != nil || !slices.Equal(again.Allow, p.Allow) || again.Open != p.Open {
			t.Errorf("%s: not the same again: %+v, %v", c.in, again, err)
		}
	}
}

func TestOpen(t *testing.T) {
	for in, open := range map[string]bool{"": true, "metadata": true, "host": true, "none": false, "a.example": false, "metadata a.example": false} {
		if p, err := Parse(strings.Fields(in)); err != nil || p.Open != open {
			t.Errorf("%q: open %v, %v", in, p.Open, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, in := range []string{
		"none a.example", "https://example.org", "example.org:", "example.org:0", "example.org:65536", "example.org:+1", "example.org:80-90", "example.org:https",
		"192.0.2.1/24", "192.0.2.0/33", "169.254.169.254", "169.254.0.0/16", "fe80::1", "fd00:ec2::254", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "::ffff:10.0.0.0/104",
		"fe80::1%eth0", "[example.org]:80", "[2001:db8::1]443", "[2001:db8::1]:", "1.2.3", "0x7f.1", "2130706433", "db", "*", "*.*.example", "a..b", "-a.example", "a-.example",
		"bücher.example", "a b.example", "a.example/http", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example", "example.org/tcp", "\x00", "a.example\n", strings.Repeat("x", 600),
	} {
		words := []string{in}
		if in == "none a.example" {
			words = strings.Fields(in)
		}
		if p, err := Parse(words); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %+v, %v", in, p, err)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		host, name string
		want       bool
	}{
		{"example.org", "example.org", true},
		{"example.org", "a.example.org", false},
		{"example.org", "notexample.org", false},
		{"*.example.org", "a.example.org", true},
		{"*.example.org", "a.b.example.org", true},
		{"*.example.org", "example.org", false},
		{"*.example.org", "notexample.org", false},
		{"", "", false},
		{"", "example.org", false},
	} {
		if Matches(network.Destination{Host: c.host}, c.name) != c.want {
			t.Errorf("%s, %s", c.host, c.name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"example.org:443", "[2001:db8::/32]:443/tcp", "*.a.b", "10.0.0.0/8:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse([]string{s})
		if err != nil {
			return
		}
		again, err := Parse(Words(p))
		if err != nil || !slices.Equal(again.Allow, p.Allow) {
			t.Fatalf("%q: %v, %v", s, Words(p), err)
		}
	})
}
