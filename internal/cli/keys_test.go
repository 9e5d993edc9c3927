package cli

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/moby/moby/api/types/container"
)

// TestKeys: what passes and where it ends, however the keys come in.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		keys, typed, passed string
		detached            bool
	}{
		{"", "abc", "abc", false},
		{"", "a\x10\x11b", "a", true},
		{"", "a\x10b\x11c", "a\x10b\x11c", false},
		{"", "\x10\x10\x11", "\x10", true},
		{"", "a\x10", "a\x10", false},
		{"ctrl-a,ctrl-a,d", "\x01\x01\x01d", "\x01", true},
		{"ctrl-a,ctrl-a,d", "\x01\x01x\x01", "\x01\x01x\x01", false},
		{"x", "abxc", "ab", true},
		{"ctrl-@", "a\x00b", "a", true},
		{"a,b,a,b,c", "ababababc", "abab", true},
	} {
		keys, err := parseKeys(c.keys)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
			got, err := io.ReadAll(&keyReader{r: wrap(strings.NewReader(c.typed)), keys: keys})
			if string(got) != c.passed || errors.Is(err, errDetached) != c.detached || err != nil && !c.detached {
				t.Errorf("%q %q: %q %v, want %q %v", c.keys, c.typed, got, err, c.passed, c.detached)
			}
		}
	}
	for text, want := range map[string]string{"": "\x10\x11", "ctrl-p,ctrl-q": "\x10\x11", "a": "a", "ctrl-[,ctrl-_": "\x1b\x1f", "CTRL-Z": "\x1a", ",": "!", "ctrl-": "!", "ctrl-1": "!", "ab": "!", "a,,b": "!"} {
		got, err := parseKeys(text)
		if want == "!" && err == nil || want != "!" && (err != nil || string(got) != want) {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
}

func TestPorts(t *testing.T) {
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	port := func(ip netip.Addr, private, public uint16, kind string) container.PortSummary {
		return container.PortSummary{IP: ip, PrivatePort: private, PublicPort: public, Type: kind}
	}
	for want, ports := range map[string][]container.PortSummary{
		"":                             nil,
		"80/tcp":                       {port(netip.Addr{}, 80, 0, "tcp")},
		"80-82/tcp, 53/udp":            {port(netip.Addr{}, 82, 0, "tcp"), port(netip.Addr{}, 80, 0, "tcp"), port(netip.Addr{}, 81, 0, "tcp"), port(netip.Addr{}, 53, 0, "udp")},
		"0.0.0.0:80->80/tcp":           {port(any4, 80, 80, "tcp")},
		"[::]:80->80/tcp":              {port(any6, 80, 80, "tcp")},
		"0.0.0.0:80-81->80-81/tcp":     {port(any4, 80, 80, "tcp"), port(any4, 81, 81, "tcp")},
		"0.0.0.0:8080->80/tcp":         {port(any4, 80, 8080, "tcp")},
		"80/tcp, 0.0.0.0:8080->81/tcp": {port(any4, 81, 8080, "tcp"), port(netip.Addr{}, 80, 0, "tcp")},
		"80/tcp, 90/tcp":               {port(netip.Addr{}, 80, 0, "tcp"), port(netip.Addr{}, 90, 0, "tcp")},
	} {
		got := portsText(ports)
		a, b := strings.Split(got, ", "), strings.Split(want, ", ")
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSides(t *testing.T) {
	for arg, want := range map[string][2]string{
		"web:/etc": {"web", "/etc"}, "web:etc:x": {"web", "etc:x"}, "/a:b": {"", "/a:b"}, "./a:b": {"", "./a:b"}, "a": {"", "a"}, "-": {"", "-"}, "../x:y": {"", "../x:y"}, "web:": {"web", ""},
	} {
		if name, path := side(arg); name != want[0] || path != want[1] {
			t.Errorf("%q: %q %q", arg, name, path)
		}
	}
}

func TestContainerRow(t *testing.T) {
	c := &container.Summary{
		ID: strings.Repeat("a", 64), Names: []string{"/web", "/other/link"}, Image: "sha256:" + strings.Repeat("b", 64), Command: "sh -c 'sleep 100000'", SizeRw: 1500, SizeRootFs: 3_000_000,
		Labels: map[string]string{"k": "v"}, Mounts: []container.MountPoint{{Name: strings.Repeat("n", 20), Driver: "local"}, {Source: "/a"}},
	}
	short, whole := containerRow(c, false), containerRow(c, true)
	for field, want := range map[string][2]string{
		"ID": {strings.Repeat("a", 12), strings.Repeat("a", 64)}, "Names": {"web", "web"}, "Image": {strings.Repeat("b", 12), c.Image}, "Size": {"1.5kB (virtual 3MB)", "1.5kB (virtual 3MB)"},
		"Command": {`"sh -c 'sleep 100000'"`, `"sh -c 'sleep 100000'"`}, "Mounts": {"nnnnnnnnnnnnnn…,/a", strings.Repeat("n", 20) + ",/a"}, "LocalVolumes": {"1", "1"},
	} {
		if short[field] != want[0] || whole[field] != want[1] {
			t.Errorf("%s: %q %q, want %q", field, short[field], whole[field], want)
		}
	}
	if containerRow(&container.Summary{ID: "x", Command: strings.Repeat("é", 30)}, false)["Command"] != `"`+strings.Repeat("é", 19)+`…"` {
		t.Error("a long command is cut wrongly")
	}
}
