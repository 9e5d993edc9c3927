package address

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
)

// pair is where package firewall has the addresses of published ports; those of IPv4 are link-local.
var pair = netip.MustParsePrefix("fdb8:6b68::/32")

// Complete checks a subnet as somebody has asked for it, and gives it a gateway if it has none: the first address of it.
func Complete(s network.Subnet) (network.Subnet, error) {
	p := s.Prefix
	switch {
	case !p.IsValid():
		return s, errdef.Errorf(errdef.Invalid, "subnet: there is none")
	case p.Addr().Is4In6(), p.Addr().Zone() != "":
		return s, errdef.Errorf(errdef.Invalid, "subnet %s: is not IPv4, nor IPv6 without a zone", p)
	case p != p.Masked():
		return s, errdef.Errorf(errdef.Invalid, "subnet %s: it should be %s", p, p.Masked())
	case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsUnspecified() || p.Addr() == netip.IPv4Unspecified():
		return s, errdef.Errorf(errdef.Invalid, "subnet %s: these addresses are not for networks", p)
	case p.Addr().IsLinkLocalUnicast():
		return s, errdef.Errorf(errdef.Invalid, "subnet %s: link-local addresses belong to every network", p)
	case p.Overlaps(pair):
		return s, errdef.Errorf(errdef.Invalid, "subnet %s: the engine has %s for published ports", p, pair)
	case p.Addr().BitLen()-p.Bits() < 2:
		err := errdef.Errorf(errdef.Invalid, "subnet %s: has no room for a gateway and a container", p)
		return s, errdef.WithHint(err, "a /29 (IPv6: /125) has room for five containers")
	}
	if s.Range.IsValid() && (s.Range.Bits() < p.Bits() || !p.Contains(s.Range.Addr())) {
		return s, errdef.Errorf(errdef.Invalid, "ip-range %s: is not within subnet %s", s.Range, p)
	}
	s.Range = s.Range.Masked()
	if !s.Gateway.IsValid() {
		taken := slices.Collect(maps.Values(s.Auxiliary))
		for s.Gateway = p.Addr().Next(); slices.Contains(taken, s.Gateway); s.Gateway = s.Gateway.Next() {
		}
	}
	if err := usable(p, s.Gateway); err != nil {
		return s, errdef.Errorf(errdef.Invalid, "gateway %s: %w", s.Gateway, err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Auxiliary)) {
		a := s.Auxiliary[name]
		if err := usable(p, a); err != nil {
			return s, errdef.Errorf(errdef.Invalid, "aux-address %.64s=%s: %w", name, a, err)
		}
		if a == s.Gateway {
			return s, errdef.Errorf(errdef.Invalid, "aux-address %.64s=%s: is the gateway's", name, a)
		}
	}
	return s, nil
}

// usable reports why an address of a subnet cannot be somebody's.
func usable(p netip.Prefix, a netip.Addr) error {
	switch {
	case !p.Contains(a):
		return errdef.Errorf(errdef.Invalid, "is not within subnet %s", p)
	case a == p.Addr():
		return errdef.Errorf(errdef.Invalid, "is the address of subnet %s itself", p)
	case a.Is4() && a == last(p):
		return errdef.Errorf(errdef.Invalid, "is the broadcast address of subnet %s", p)
	}
	return nil
}

// Overlap returns an error of kind Conflict if a subnet overlaps with one of others, by the name of whose they are.
func Overlap(p netip.Prefix, others map[string][]netip.Prefix) error {
	for _, name := range slices.Sorted(maps.Keys(others)) {
		for _, o := range others[name] {
			if o.Overlaps(p) {
				err := errdef.Errorf(errdef.Conflict, "subnet %s: pool overlaps with other one on this address space: %s of %s", p, o, name)
				return errdef.WithHint(err, "choose another --subnet, or leave it away for a free one")
			}
		}
	}
	return nil
}

// MAC makes a hardware address from an IP address, as Docker does: locally administered, and of one network unique where the addresses are.
func MAC(a netip.Addr) string {
	b := []byte{0x02, 0x42, 0, 0, 0, 0}
	if a.Is4() {
		ip := a.As4()
		copy(b[2:], ip[:])
	} else {
		ip := a.As16()
		sum := sha256.Sum256(ip[:])
		b[1] = 0x36 // where no IPv4 address is
		copy(b[2:], sum[:])
	}
	return format(b)
}

func format(b []byte) string {
	parts := make([]string, len(b))
	for i, v := range b {
		parts[i] = hex.EncodeToString([]byte{v})
	}
	return strings.Join(parts, ":")
}

// ParseMAC reads a hardware address of somebody's own: six bytes in hexadecimal with : or - between them. It returns it as it is written, and its bytes.
func ParseMAC(text string) (canonical string, raw []byte, err error) {
	for _, w := range strings.Split(strings.ReplaceAll(text, "-", ":"), ":") {
		b, err := hex.DecodeString(w)
		if err != nil || len(b) != 1 {
			return "", nil, errdef.Errorf(errdef.Invalid, "mac-address %.64q: wants six pairs of hexadecimal digits: 02:42:ac:11:00:02", text)
		}
		raw = append(raw, b...)
	}
	switch {
	case len(raw) != 6:
		return "", nil, errdef.Errorf(errdef.Invalid, "mac-address %.64q: wants six pairs of hexadecimal digits: 02:42:ac:11:00:02", text)
	case raw[0]&1 != 0:
		return "", nil, errdef.Errorf(errdef.Invalid, "mac-address %s: is one of a group (the lowest bit of its first byte)", format(raw))
	case string(raw) == "\x00\x00\x00\x00\x00\x00":
		return "", nil, errdef.Errorf(errdef.Invalid, "mac-address %s: is nobody's", format(raw))
	case raw[0] == 0x02 && raw[1] == 0x62:
		return "", nil, errdef.Errorf(errdef.Invalid, "mac-address %s: those that begin with 02:62 are of the engine's bridges", format(raw))
	}
	return format(raw), raw, nil
}
