package resolver

import (
	"net/netip"
	"slices"
	"strings"
)

// A Host is a line of hosts(5).
type Host struct {
	Addr  netip.Addr
	Names []string
}

// standardHosts is what every hosts file begins with, as Docker's does; without IPv6, its first lines only.
var standardHosts = []Host{
	{netip.AddrFrom4([4]byte{127, 0, 0, 1}), []string{"localhost"}},
	{netip.IPv6Loopback(), []string{"localhost", "ip6-localhost", "ip6-loopback"}},
	{netip.MustParseAddr("fe00::"), []string{"ip6-localnet"}},
	{netip.MustParseAddr("ff00::"), []string{"ip6-mcastprefix"}},
	{netip.MustParseAddr("ff02::1"), []string{"ip6-allnodes"}},
	{netip.MustParseAddr("ff02::2"), []string{"ip6-allrouters"}},
}

// HostsFile returns a container's hosts file: the standard lines, those that the user has added, and the container's own names.
func HostsFile(added, own []Host) []byte {
	var b strings.Builder
	for _, h := range slices.Concat(standardHosts, added, own) {
		b.WriteString(h.String())
	}
	return []byte(b.String())
}

// String is the line. A host without names or address is none.
func (h Host) String() string {
	if len(h.Names) == 0 || !h.Addr.IsValid() {
		return ""
	}
	return h.Addr.String() + "\t" + strings.Join(h.Names, " ") + "\n"
}

// OwnHosts returns the lines for a container's own names: each of its addresses has all of them, the full one first.
func OwnHosts(addrs []netip.Addr, hostname, domain string) []Host {
	if hostname == "" {
		return nil
	}
	names := []string{hostname}
	if domain != "" && !strings.HasSuffix(hostname, "."+domain) {
		names = []string{hostname + "." + domain, hostname}
	} else if short, _, dotted := strings.Cut(hostname, "."); dotted {
		names = append(names, short)
	}
	var out []Host
	for _, a := range addrs {
		out = append(out, Host{a, names})
	}
	return out
}

// ReplaceHosts returns a hosts file without the lines that gone stands for, and with those of come, at the end. All other lines, those that a program in the container has
// written among them, stay as they are.
func ReplaceHosts(text []byte, gone, come []Host) []byte {
	remove := map[string]int{}
	for _, h := range gone {
		remove[h.String()]++
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		if remove[line] > 0 {
			remove[line]--
			continue
		}
		b.WriteString(line)
	}
	for _, h := range come {
		b.WriteString(h.String())
	}
	return []byte(b.String())
}
