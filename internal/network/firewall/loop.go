package firewall

import (
	"net/netip"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
)

// The pair of devices by which published ports are reached: what is sent into the near end comes out of the far one as if it had come from outside, untracked, and is translated there.
const (
	loopName = "bhloop"
	loopNear = loopName + "0"
	loopFar  = loopName + "1"
)

// Addresses of the pair. 169.254.0.0/24 and 169.254.255.0/24 are those of the link-local ones that RFC 3927 lets nobody take; fdb8:6b68::/32 is a local one.
//
// What this host sends to 127.0.0.N goes to 169.254.255.N, and comes back from there, the sender being 169.254.0.1: no device that a container can reach may carry a loopback address.
var (
	loopBack4  = netip.MustParseAddr("169.254.0.1")
	loopNear4  = netip.MustParseAddr("169.254.0.2") // a device without an address takes nothing where rp_filter is on
	loopFar4   = netip.MustParseAddr("169.254.0.3")
	loopGate4  = netip.MustParseAddr("169.254.255.254")
	loopNet4   = netip.MustParsePrefix("169.254.255.0/24")
	loopEntry4 = netip.MustParseAddr("169.254.255.1")
	loopBack6  = netip.MustParseAddr("fdb8:6b68:0:1::1")
	loopNet6   = netip.MustParsePrefix("fdb8:6b68::/64")
	loopEntry6 = netip.MustParseAddr("fdb8:6b68::1")
	loopGate6  = netip.MustParseAddr("fdb8:6b68::ffff")
)

func loopPrefix(v6 bool) netip.Prefix {
	if v6 {
		return loopNet6
	}
	return loopNet4
}

// loopEntry is the address that stands for a loopback address behind the pair.
func loopEntry(a netip.Addr) (netip.Addr, error) {
	if a.Is6() {
		return loopEntry6, nil
	}
	b := a.As4()
	if b[1] != 0 || b[2] != 0 || b[3] == 0 || b[3] >= 254 {
		err := errdef.Errorf(errdef.Invalid, "publish on %s: not possible", a)
		return a, errdef.WithHint(err, "of the loopback addresses 127.0.0.1 to 127.0.0.253 can be published on")
	}
	return netip.AddrFrom4([4]byte{169, 254, 255, b[3]}), nil
}

// makeLoop makes the pair, if it is not there.
func makeLoop() (made bool, err error) {
	h, err := netlink.Open()
	if err != nil {
		return false, err
	}
	defer h.Close()
	_, err = h.Link(loopNear)
	if err == nil || !errdef.Is(err, errdef.NotFound) {
		return false, err
	}
	p := netlink.Pair{Names: [2]string{loopNear, loopFar}, MAC: "\x02\x62\x00\x00\x00\x01", MTU: 65535}
	near, far, err := h.AddPair(p)
	if err != nil {
		return false, err
	}
	if err := equip(h, near, far); err != nil {
		_ = h.Delete(near)
		return false, err
	}
	return true, nil
}

func prefixOf(p netip.Prefix) netlink.Prefix {
	return netlink.Prefix{IP: p.Addr().AsSlice(), Bits: p.Bits()}
}

func single(a netip.Addr) netlink.Prefix { return prefixOf(netip.PrefixFrom(a, a.BitLen())) }

// equip gives the pair what it needs, and brings it up.
func equip(h *netlink.Handle, near, far int) error {
	v6, err := sysctls()
	if err != nil {
		return err
	}
	for index, a := range map[int]netip.Addr{near: loopNear4, far: loopFar4} {
		if err := h.AddAddress(index, single(a)); err != nil {
			return err
		}
		if err := h.Up(index); err != nil {
			return err
		}
	}
	routes := []netlink.Route{{To: prefixOf(loopNet4), Index: near}, {To: single(loopBack4), Index: far}}
	if v6 {
		routes = append(routes, netlink.Route{To: prefixOf(loopNet6), Index: near}, netlink.Route{To: single(loopBack6), Index: far})
		// The kernel takes what is for ::1 from a device only if that has a route to it. What comes in by a wire for ::1 it drops before that, whatever the routes.
		if err := h.AddLocal(near, single(netip.IPv6Loopback())); err != nil {
			return err
		}
	}
	for _, r := range routes {
		if err := h.AddRoute(r); err != nil {
			return err
		}
	}
	return nil
}

// removeLoop removes the pair, and with it addresses and routes.
func removeLoop() error {
	h, err := netlink.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.Link(loopNear)
	if errdef.Is(err, errdef.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.Delete(l.Index)
}

// indexOf is the number of a device; 0 if it is not there.
func indexOf(name string) uint32 {
	h, err := netlink.Open()
	if err != nil {
		return 0
	}
	defer h.Close()
	l, err := h.Link(name)
	if err != nil {
		return 0
	}
	return uint32(l.Index)
}
