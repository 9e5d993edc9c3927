package address

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
)

// Claims are those of the addresses of one network. Those who take hold the lock of package network.
type Claims struct {
	Dir   string
	Alive func(owner string) bool // whether a claim counts
}

// owner returns whose an address is, "" if nobody's.
func (c Claims) owner(a netip.Addr) string {
	data, err := os.ReadFile(filepath.Join(c.Dir, a.String()))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// Take claims an address for an owner: the one that is wished, or the lowest that is free. One that the owner has is fine. Errors: Conflict if it is somebody else's, Unavailable if all
// are, Invalid if it is not of the subnet.
func (c Claims) Take(s network.Subnet, wish netip.Addr, owner string) (netip.Addr, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return netip.Addr{}, errdef.Errorf(errdef.Unavailable, "addresses: %w", err)
	}
	if !wish.IsValid() {
		return c.lowest(s, owner)
	}
	if err := usable(s.Prefix, wish); err != nil {
		return netip.Addr{}, errdef.Errorf(errdef.Invalid, "address %s: %w", wish, err)
	}
	if wish == s.Gateway {
		return netip.Addr{}, errdef.Errorf(errdef.Conflict, "address %s: address already in use: it is the gateway's", wish)
	}
	ok, by, err := c.try(wish, owner)
	if err == nil && !ok {
		err = errdef.Errorf(errdef.Conflict, "address %s: address already in use by container %.12s", wish, by)
	}
	return wish, err
}

// try claims one address. by is who has it, if somebody else does.
func (c Claims) try(a netip.Addr, owner string) (ok bool, by string, err error) {
	path := filepath.Join(c.Dir, a.String())
	for range 2 {
		err := atomicfile.Create(path, []byte(owner), atomicfile.Options{Volatile: true})
		if err == nil {
			return true, "", nil
		}
		if !errdef.Is(err, errdef.Exists) {
			return false, "", errdef.Errorf(errdef.Unavailable, "address %s: %w", a, err)
		}
		by = c.owner(a)
		if by == owner {
			return true, "", nil
		}
		if by != "" && c.Alive(by) {
			return false, by, nil
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return false, "", errdef.Errorf(errdef.Unavailable, "address %s: %w", a, err)
		}
	}
	return false, by, nil
}

// lowest claims the lowest address that is free; of those that are not, the void ones count only when there is no other.
func (c Claims) lowest(s network.Subnet, owner string) (netip.Addr, error) {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return netip.Addr{}, errdef.Errorf(errdef.Unavailable, "addresses: %w", err)
	}
	taken := map[netip.Addr]bool{}
	for _, e := range entries {
		if a, err := netip.ParseAddr(e.Name()); err == nil {
			taken[a] = true
		}
	}
	for _, void := range []bool{false, true} {
		a, err := c.search(s, owner, func(a netip.Addr) bool { return !void && taken[a] })
		if err != nil || a.IsValid() {
			return a, err
		}
	}
	pool := s.Prefix
	if s.Range.IsValid() {
		pool = s.Range
	}
	err = errdef.Errorf(errdef.Unavailable, "no available IPv4 addresses on this network's address pools: %s is full", pool)
	if s.Prefix.Addr().Is6() {
		err = errdef.Errorf(errdef.Unavailable, "no available IPv6 addresses on this network's address pools: %s is full", pool)
	}
	return netip.Addr{}, errdef.WithHint(err, "disconnect containers, or make another network with a larger --subnet or --ip-range")
}

func (c Claims) search(s network.Subnet, owner string, skip func(netip.Addr) bool) (netip.Addr, error) {
	pool := s.Prefix
	if s.Range.IsValid() {
		pool = s.Range
	}
	var reserved []netip.Addr
	for _, a := range s.Auxiliary {
		reserved = append(reserved, a)
	}
	for a := pool.Masked().Addr(); a.IsValid() && pool.Contains(a); a = a.Next() {
		if skip(a) || a == s.Gateway || slices.Contains(reserved, a) || usable(s.Prefix, a) != nil {
			continue
		}
		ok, _, err := c.try(a, owner)
		if err != nil {
			return netip.Addr{}, err
		}
		if ok {
			return a, nil
		}
	}
	return netip.Addr{}, nil
}

// Give gives an address back, if it is the owner's.
func (c Claims) Give(a netip.Addr, owner string) error {
	if c.owner(a) != owner {
		return nil
	}
	if err := os.Remove(filepath.Join(c.Dir, a.String())); err != nil && !os.IsNotExist(err) {
		return errdef.Errorf(errdef.Unavailable, "address %s: %w", a, err)
	}
	return nil
}

// Sweep removes the claims that are void. The caller has the lock.
func (c Claims) Sweep() error {
	entries, err := os.ReadDir(c.Dir)
	if err != nil && !os.IsNotExist(err) {
		return errdef.Errorf(errdef.Unavailable, "addresses: %w", err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(c.Dir, e.Name()))
		if _, bad := netip.ParseAddr(e.Name()); bad == nil && (err != nil || c.Alive(strings.TrimSpace(string(data)))) {
			continue
		}
		if err := os.Remove(filepath.Join(c.Dir, e.Name())); err != nil && !os.IsNotExist(err) {
			return errdef.Errorf(errdef.Unavailable, "addresses: %w", err)
		}
	}
	return nil
}
