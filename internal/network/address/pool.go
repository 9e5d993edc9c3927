package address

import (
	"crypto/rand"
	"net/netip"
	"os"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
	"golang.org/x/sys/unix"
)

// A Pool is where subnets are taken from.
type Pool struct {
	Base netip.Prefix
	Bits int // of a subnet
}

// Pools are Docker's for IPv4, in the order in which they are used.
func Pools() []Pool {
	var out []Pool
	for _, p := range []struct {
		base string
		bits int
	}{
		{"172.17.0.0/16", 16}, {"172.18.0.0/16", 16}, {"172.19.0.0/16", 16}, {"172.20.0.0/14", 16}, {"172.24.0.0/14", 16}, {"172.28.0.0/14", 16}, {"192.168.0.0/16", 20},
	} {
		out = append(out, Pool{netip.MustParsePrefix(p.base), p.bits})
	}
	return out
}

// Choose returns the first subnet of the pools that overlaps with nothing that is used.
func Choose(pools []Pool, used []netip.Prefix) (netip.Prefix, error) {
	for _, pool := range pools {
		p := netip.PrefixFrom(pool.Base.Addr(), pool.Bits).Masked()
		for pool.Base.Contains(p.Addr()) {
			in, overlaps := overlapping(p, used)
			if !overlaps {
				return p, nil
			}
			if in.Bits() > p.Bits() {
				in = p
			}
			if p = after(in, pool.Bits); !p.IsValid() {
				break
			}
		}
	}
	err := errdef.Errorf(errdef.Unavailable, "all predefined address pools have been fully subnetted: each subnet overlaps with a network of the engine, a route or an address of the host")
	return netip.Prefix{}, errdef.WithHint(err, "remove networks that nobody needs (network prune), or name one with --subnet")
}

// overlapping returns the widest of those that a subnet overlaps with.
func overlapping(p netip.Prefix, used []netip.Prefix) (in netip.Prefix, yes bool) {
	for _, u := range used {
		if u.Overlaps(p) && (!yes || u.Bits() < in.Bits()) {
			in, yes = u, true
		}
	}
	return in, yes
}

// after returns the subnet of so many bits that follows a prefix; the zero value, if there is none.
func after(p netip.Prefix, bits int) netip.Prefix {
	next := last(p).Next()
	if !next.IsValid() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(next, bits)
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Host returns what the machine's own addresses and routes cover, the default routes, loopback and multicast excepted.
func Host() ([]netip.Prefix, error) {
	h, err := netlink.Open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	routes, err := h.Routes()
	if err != nil {
		return nil, err
	}
	addresses, err := h.Addresses()
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	add := func(raw netlink.Prefix) {
		a, ok := netip.AddrFromSlice(raw.IP)
		p := netip.PrefixFrom(a, raw.Bits)
		if ok && p.Bits() > 0 && !a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast() {
			out = append(out, p.Masked())
		}
	}
	for _, r := range routes {
		if r.Kind == unix.RTN_UNICAST || r.Kind == unix.RTN_LOCAL {
			add(r.To)
		}
	}
	for _, list := range addresses {
		for _, p := range list {
			add(p)
		}
	}
	return out, nil
}

// Prefix48 returns the engine's own /48 of unique local addresses (RFC 4193), which is drawn by who asks first and kept in a file.
func Prefix48(file string) (netip.Prefix, error) {
	b := [16]byte{0: 0xfd}
	_, _ = rand.Read(b[1:6]) // which never fails
	text := netip.PrefixFrom(netip.AddrFrom16(b), 48).String()
	err := atomicfile.Create(file, []byte(text+"\n"), atomicfile.Options{})
	if err != nil && !errdef.Is(err, errdef.Exists) {
		return netip.Prefix{}, errdef.Errorf(errdef.Unavailable, "networks: keep the prefix of IPv6 networks: %w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return netip.Prefix{}, errdef.Errorf(errdef.Unavailable, "networks: %w", err)
	}
	p, err := netip.ParsePrefix(strings.TrimSpace(string(data)))
	if err != nil || !p.Addr().Is6() || p.Bits() != 48 {
		err := errdef.Errorf(errdef.Internal, "networks: %s: %.64q is no /48", file, data)
		return netip.Prefix{}, errdef.WithHint(err, "remove the file: another one is drawn for networks that are made from then on")
	}
	return p.Masked(), nil
}
