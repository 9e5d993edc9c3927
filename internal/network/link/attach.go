package link

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/address"
)

// Attach makes an end of a network in the network namespace behind ns: a pair of devices, one of which is a port of the bridge, which is there. On an error nothing of it is left.
func Attach(n *network.Network, e *network.Endpoint, ns int) error {
	_, mac, err := address.ParseMAC(e.MAC)
	if err != nil {
		return err
	}
	h, err := netlink.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	b, err := h.Link(n.Bridge)
	if err != nil {
		return err
	}
	v := netlink.Veth{Name: e.Device, Master: b.Index, MTU: n.MTU, Peer: e.Interface, MAC: string(mac), NS: ns}
	if err := h.AddVeth(v); err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "network %s: %w", n.Name, err), errdef.Hint(err))
	}
	port, err := h.Link(e.Device)
	if err == nil {
		err = connect(h, n, e, sides{b.Index, port.Index, string(mac), ns, b.MAC == bridgeMAC(n.ID)})
	}
	if err != nil {
		_ = h.Delete(port.Index)
		return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "network %s: %w", n.Name, err), errdef.Hint(err))
	}
	return nil
}

// sides are what an end consists of.
type sides struct {
	bridge, port int // indices
	mac          string
	ns           int
	ours         bool // the bridge is one that Bridge has made
}

func connect(h *netlink.Handle, n *network.Network, e *network.Endpoint, s sides) error {
	// A port has no addresses of its own.
	if err := set([]setting{{"ipv6/conf/" + e.Device + "/disable_ipv6", "1", true}}); err != nil {
		return err
	}
	if err := h.SetPort(s.port, netlink.Port{Others: n.Between, Groups: true}); err != nil {
		return err
	}
	if err := h.AddEntry(s.port, s.mac); err != nil {
		return err
	}
	if err := h.LockPort(s.port); err != nil && !errdef.Is(err, errdef.Unsupported) && !errdef.Is(err, errdef.Invalid) { // older than 5.18
		return err
	}
	if err := netlink.Inside(s.ns, func() error { return inner(n, e, s.ours) }); err != nil {
		return err
	}
	for _, a := range e.Addresses() {
		if err := h.AddNeighbour(s.bridge, a.AsSlice(), s.mac); err != nil {
			return err
		}
	}
	return h.Up(s.port)
}

// inner sets the container's side up, on a thread that is there.
func inner(n *network.Network, e *network.Endpoint, ours bool) error {
	list, err := sysctls(e)
	if err != nil {
		return err
	}
	if err := set(list); err != nil {
		return err
	}
	c, err := netlink.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	dev, err := c.Link(e.Interface)
	if err != nil {
		return err
	}
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			if err := c.AddAddress(dev.Index, prefixOf(p)); err != nil {
				return err
			}
		}
	}
	for _, a := range e.Wish.LinkLocal {
		bits := 16
		if a.Is6() {
			bits = 64
		}
		if err := c.AddAddress(dev.Index, netlink.Prefix{IP: a.AsSlice(), Bits: bits}); err != nil {
			return err
		}
	}
	if err := c.Up(dev.Index); err != nil {
		return err
	}
	for _, s := range n.Subnets { // a bridge of ours keeps its address: nobody has to be asked, and nobody else is believed
		if s.Gateway.IsValid() && ours {
			if err := c.AddNeighbour(dev.Index, s.Gateway.AsSlice(), bridgeMAC(n.ID)); err != nil {
				return err
			}
		}
	}
	return defaults(c, e, dev.Index, true)
}

// defaults adds the default routes of an end, or removes them.
func defaults(c *netlink.Handle, e *network.Endpoint, index int, add bool) error {
	for _, d := range []struct {
		is   bool
		via  netip.Addr
		zero netip.Addr
	}{{e.Default4, e.Gateway4, netip.IPv4Unspecified()}, {e.Default6, e.Gateway6, netip.IPv6Unspecified()}} {
		if !d.via.IsValid() || add && !d.is {
			continue
		}
		r := netlink.Route{To: netlink.Prefix{IP: d.zero.AsSlice()}, Gateway: d.via.AsSlice(), Index: index}
		var err error
		if add {
			err = c.AddRoute(r)
		} else {
			err = c.DeleteRoute(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Route gives an end in a container the default routes that it says, and takes those away that it does not.
func Route(e *network.Endpoint, ns int) error {
	return netlink.Inside(ns, func() error {
		c, err := netlink.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		dev, err := c.Link(e.Interface)
		if err != nil {
			return err
		}
		gone := *e
		if e.Default4 {
			gone.Gateway4 = netip.Addr{}
		}
		if e.Default6 {
			gone.Gateway6 = netip.Addr{}
		}
		if err := defaults(c, &gone, dev.Index, false); err != nil {
			return err
		}
		return defaults(c, e, dev.Index, true)
	})
}

// Detach removes an end: the device on the host, and with it the other one, and what the bridge knows of it. What is gone already is fine.
func Detach(n *network.Network, e *network.Endpoint) error {
	h, err := netlink.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	if b, err := h.Link(n.Bridge); err == nil {
		for _, a := range e.Addresses() {
			if err := h.DeleteNeighbour(b.Index, a.AsSlice()); err != nil {
				return err
			}
		}
	}
	port, err := h.Link(e.Device)
	if errdef.Is(err, errdef.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return h.Delete(port.Index)
}

// sysctls are what is set of an interface in a container, before it is up.
func sysctls(e *network.Endpoint) ([]setting, error) {
	six := "ipv6/conf/" + e.Interface + "/"
	list := []setting{{six + "disable_ipv6", "1", true}}
	if e.IPv6.IsValid() || slices.ContainsFunc(e.Wish.LinkLocal, netip.Addr.Is6) {
		list = []setting{{six + "disable_ipv6", "0", false}, {six + "accept_ra", "0", false}, {six + "accept_redirects", "0", false}, {six + "accept_dad", "0", false}, {six + "autoconf", "0", false}}
	}
	for _, key := range slices.Sorted(maps.Keys(e.Wish.Sysctls)) {
		name := strings.ReplaceAll(key, ".", "/")
		rest, ok := strings.CutPrefix(name, "net/")
		parts := strings.Split(rest, "/")
		if !ok || len(parts) != 4 || parts[2] != "IFNAME" || parts[1] != "conf" && parts[1] != "neigh" || parts[0] != "ipv4" && parts[0] != "ipv6" || parts[3] == "" || parts[3] == ".." {
			err := errdef.Errorf(errdef.Invalid, "sysctl %.128q of an interface: there is no such one", key)
			return nil, errdef.WithHint(err, "net.ipv4.conf.IFNAME.NAME, net.ipv6.conf.IFNAME.NAME, net.ipv4.neigh.IFNAME.NAME, net.ipv6.neigh.IFNAME.NAME")
		}
		parts[2] = e.Interface
		list = append(list, setting{strings.Join(parts, "/"), e.Wish.Sysctls[key], false})
	}
	return list, nil
}
