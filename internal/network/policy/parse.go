package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
)

const (
	most     = 256 // destinations
	longest  = 253 // bytes of a name
	longWord = 512 // bytes of a word
)

// Parse makes a policy of words. None at all is the open one: a container that nothing was said of.
func Parse(words []string) (network.Policy, error) {
	p := network.Policy{}
	none := false
	if len(words) > most {
		return p, errdef.Errorf(errdef.Invalid, "egress: more than %d destinations", most)
	}
	for _, w := range words {
		switch w {
		case "none":
			none = true
		case "metadata":
			p.Metadata = true
		case "host":
			p.Host = true
		default:
			d, err := destination(w)
			if err != nil {
				return network.Policy{}, err
			}
			if !slices.Contains(p.Allow, d) {
				p.Allow = append(p.Allow, d)
			}
		}
	}
	if none && len(words) > 1 {
		return network.Policy{}, errdef.WithHint(errdef.Errorf(errdef.Invalid, "egress: none, and something"), "give none alone, or what may be reached without none")
	}
	p.Open = !none && len(p.Allow) == 0
	return p, nil
}

// Words are those that Parse makes the same policy of; none for the open policy.
func Words(p network.Policy) []string {
	var out []string
	if p.Metadata {
		out = append(out, "metadata")
	}
	if p.Host {
		out = append(out, "host")
	}
	for _, d := range p.Allow {
		out = append(out, String(d))
	}
	if out == nil && !p.Open {
		out = []string{"none"}
	}
	return out
}

// String is a destination in words.
func String(d network.Destination) string {
	host := d.Host
	if host == "" {
		host = d.Prefix.String()
		if d.Prefix.IsSingleIP() {
			host = d.Prefix.Addr().String()
		}
		if d.Port != 0 && d.Prefix.Addr().Is6() {
			host = "[" + host + "]"
		}
	}
	if d.Port != 0 {
		host += fmt.Sprintf(":%d", d.Port)
	}
	if d.Protocol != "" {
		host += "/" + d.Protocol
	}
	return host
}

func bad(w, format string, args ...any) error {
	return errdef.Errorf(errdef.Invalid, "egress %.200q: %s", w, fmt.Sprintf(format, args...))
}

// destination parses one word.
func destination(w string) (d network.Destination, err error) {
	if w == "" || len(w) > longWord {
		return d, bad(w, "is no destination")
	}
	if strings.Contains(w, "://") {
		return d, errdef.WithHint(bad(w, "is a URL"), "name the host and the port alone: example.org:443")
	}
	rest := w
	if i := strings.LastIndexByte(rest, '/'); i >= 0 && slices.Contains([]string{network.TCP, network.UDP, network.SCTP}, rest[i+1:]) {
		rest, d.Protocol = rest[:i], rest[i+1:]
	}
	host, portText, err := split(w, rest)
	if err != nil {
		return d, err
	}
	if portText != "" {
		n, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || n == 0 || portText[0] == '+' {
			return d, errdef.WithHint(bad(w, "%.20q is no port", portText), "1 to 65535; give one word for each port")
		}
		d.Port = uint16(n)
	}
	if p, ok, err := prefix(w, host); err != nil || ok {
		d.Prefix = p
		return d, err
	}
	if d.Protocol != "" && d.Port == 0 {
		return d, errdef.WithHint(bad(w, "a protocol of a name, without a port"), "example.org:443/tcp")
	}
	d.Host, err = name(w, host)
	return d, err
}

// split takes host and port apart.
func split(w, s string) (host, port string, err error) {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || !strings.Contains(s[:end], ":") {
			return "", "", bad(w, "brackets are for IPv6 addresses")
		}
		host, rest := s[1:end], s[end+1:]
		if rest == "" {
			return host, "", nil
		}
		if port, ok := strings.CutPrefix(rest, ":"); ok && port != "" {
			return host, port, nil
		}
		return "", "", bad(w, "no port after the brackets")
	}
	switch strings.Count(s, ":") {
	case 0:
		return s, "", nil
	case 1:
		host, port, _ := strings.Cut(s, ":")
		if port == "" {
			return "", "", bad(w, "no port after the colon")
		}
		return host, port, nil
	}
	return s, "", nil
}

// prefix parses addresses; ok is false if it is a name.
func prefix(w, s string) (p netip.Prefix, ok bool, err error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return p, true, bad(w, "an address with a zone")
		}
		p = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
	} else if strings.ContainsAny(s, "/:") {
		if p, err = netip.ParsePrefix(s); err != nil {
			return p, true, bad(w, "is no subnet")
		}
		if p.Addr().Is4In6() {
			return p, true, errdef.WithHint(bad(w, "IPv4 in an IPv6 address"), "give the IPv4 subnet")
		}
	} else {
		return p, false, nil
	}
	if p.Masked() != p {
		return p, true, errdef.WithHint(bad(w, "has bits beyond its %d", p.Bits()), "did you mean "+p.Masked().String()+"?")
	}
	for _, c := range Metadata() {
		if c.Contains(p.Addr()) && c.Bits() <= p.Bits() {
			return p, true, errdef.WithHint(bad(w, "link-local addresses and metadata services are closed"), "the word metadata opens them")
		}
	}
	for _, c := range Never() {
		if c.Contains(p.Addr()) && c.Bits() <= p.Bits() {
			return p, true, bad(w, "is nowhere outside of this host")
		}
	}
	return p, true, nil
}

// name checks a name of a host.
func name(w, s string) (string, error) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	plain := strings.TrimPrefix(s, "*.")
	labels := strings.Split(plain, ".")
	if len(plain) > longest || plain == "" {
		return "", bad(w, "is no name of a host")
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return "", bad(w, "is no name of a host")
		}
		for i := range len(l) {
			c := l[i]
			if c >= 0x80 {
				return "", errdef.WithHint(bad(w, "letters beyond ASCII"), "give the name as it is in the DNS: xn--...")
			}
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return "", bad(w, "is no name of a host")
			}
		}
	}
	last := labels[len(labels)-1]
	if last[0] >= '0' && last[0] <= '9' {
		return "", errdef.WithHint(bad(w, "is no address, and no name: names end with letters"), "addresses of IPv4 have four numbers")
	}
	if len(labels) == 1 && s == plain {
		return "", errdef.WithHint(bad(w, "a name of one word is never asked outside"), "neighbours on a network are reached whatever the policy; outside, give the whole name")
	}
	return s, nil
}

// Matches reports whether a name, in lower case and without the last dot, is one that a destination names.
func Matches(d network.Destination, name string) bool {
	if below, ok := strings.CutPrefix(d.Host, "*"); ok {
		return len(name) > len(below) && strings.HasSuffix(name, below)
	}
	return d.Host != "" && d.Host == name
}
