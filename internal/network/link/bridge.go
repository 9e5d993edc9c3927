package link

import (
	"crypto/sha256"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/address"
)

// bridgeMAC are the bytes of the hardware address of a bridge of ours. No end of a container has its first two.
func bridgeMAC(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "\x02\x62" + string(sum[:4])
}

// Bridge makes the bridge of a network, or looks that it is as it should be. The caller has the lock of dir.
func Bridge(dir network.Dir, n *network.Network) error {
	h, err := netlink.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	b, err := h.Link(n.Bridge)
	switch {
	case errdef.Is(err, errdef.NotFound):
		if err := vacant(n); err != nil {
			return err
		}
		b.MAC = bridgeMAC(n.ID)
		if b.Index, err = h.AddBridge(netlink.Bridge{Name: n.Bridge, MAC: b.MAC, MTU: n.MTU}); err != nil {
			return err
		}
	case err != nil:
		return err
	case b.Kind != "bridge":
		err := errdef.Errorf(errdef.Conflict, "network %s: the host has a device %s that is no bridge", n.Name, n.Bridge)
		return errdef.WithHint(err, "give another name with -o com.docker.network.bridge.name=NAME")
	case b.Up && b.MAC == bridgeMAC(n.ID):
		return nil // made by us, and the last step of that is to bring it up
	}
	if err := equip(dir, h, n, b); err != nil {
		if b.MAC == bridgeMAC(n.ID) {
			_ = h.Delete(b.Index)
		}
		return err
	}
	return nil
}

// equip gives a bridge what it needs, and brings it up.
func equip(dir network.Dir, h *netlink.Handle, n *network.Network, b netlink.Link) error {
	_, v6 := n.Subnet(true)
	if err := setHost(n.Bridge, b.MAC == bridgeMAC(n.ID), v6); err != nil {
		return err
	}
	if n.Outside {
		if err := forward(dir, v6); err != nil {
			return err
		}
	}
	for _, s := range n.Subnets {
		if !s.Gateway.IsValid() {
			continue
		}
		if err := h.AddAddress(b.Index, prefixOf(netip.PrefixFrom(s.Gateway, s.Prefix.Bits()))); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "network %s: gateway %s: %w", n.Name, s.Gateway, err)
		}
	}
	return h.Up(b.Index)
}

// vacant refuses subnets that the host has come to have addresses or routes in since the network was made: answers for containers would go there, and what is for there to containers.
// Routes to more than a subnet are no harm.
func vacant(n *network.Network) error {
	all, err := address.Host()
	if err != nil {
		return err
	}
	for _, s := range n.Subnets {
		var within []netip.Prefix
		for _, p := range all {
			if p.Bits() >= s.Prefix.Bits() {
				within = append(within, p)
			}
		}
		if err := address.Overlap(s.Prefix, map[string][]netip.Prefix{"the host": within}); err != nil {
			err = errdef.Errorf(errdef.Conflict, "network %s: %w", n.Name, err)
			return errdef.WithHint(err, "`ip route` shows whose it is; make the network anew with another --subnet")
		}
	}
	return nil
}

// Remove removes the bridge of a network, if it is one that Bridge has made. The caller has the lock, and has seen that nothing is attached.
func Remove(n *network.Network) error {
	if n.Bridge == "" {
		return nil
	}
	h, err := netlink.Open()
	if err != nil {
		return err
	}
	defer h.Close()
	b, err := h.Link(n.Bridge)
	if errdef.Is(err, errdef.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if b.Kind == "bridge" && b.MAC == bridgeMAC(n.ID) {
		return h.Delete(b.Index)
	}
	return nil
}

func prefixOf(p netip.Prefix) netlink.Prefix {
	return netlink.Prefix{IP: p.Addr().AsSlice(), Bits: p.Bits()}
}

// A setting is a file below /proc/sys/net.
type setting struct {
	name, value string
	missing     bool // it need not be there
}

// set writes settings in the network namespace of the calling thread. What has its value already is not written: where /proc/sys is read-only, it may be right all the same.
func set(list []setting) error {
	for _, s := range list {
		path := filepath.Join("/proc/sys/net", s.name)
		old, err := os.ReadFile(path)
		if os.IsNotExist(err) && s.missing {
			continue
		}
		if err == nil && strings.TrimSpace(string(old)) == s.value {
			continue
		}
		if err == nil {
			err = os.WriteFile(path, []byte(s.value), 0)
		}
		if err != nil {
			return errdef.Errorf(errdef.Unavailable, "set net.%s to %s: %w", strings.ReplaceAll(s.name, "/", "."), s.value, err)
		}
	}
	return nil
}

// setHost sets what the host does on a device of ours. Of a bridge that is somebody else's only what a network needs.
func setHost(device string, ours, v6 bool) error {
	four, six := "ipv4/conf/"+device+"/", "ipv6/conf/"+device+"/"
	list := []setting{{four + "forwarding", "1", false}}
	if ours {
		list = append(list, setting{four + "rp_filter", "1", false}, setting{four + "accept_redirects", "0", false}, setting{four + "send_redirects", "0", false},
			setting{four + "accept_source_route", "0", false}, setting{six + "accept_ra", "0", true}, setting{six + "accept_redirects", "0", true},
			setting{six + "accept_dad", "0", true})
	}
	switch {
	case v6:
		list = append(list, setting{six + "disable_ipv6", "0", false}, setting{six + "forwarding", "1", false})
	case ours:
		list = append(list, setting{six + "disable_ipv6", "1", true})
	}
	return set(list)
}

// forward makes the host one that forwards, if it is not, and notes that it was we who did.
func forward(dir network.Dir, v6 bool) error {
	on := func(path string) bool {
		b, err := os.ReadFile(path)
		return err == nil && strings.TrimSpace(string(b)) == "1"
	}
	const v4file, v6file = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"
	if !on(v4file) {
		if err := note(dir, "ipv4"); err != nil {
			return err
		}
		if err := set([]setting{{"ipv4/ip_forward", "1", false}}); err != nil {
			return err
		}
	}
	if !v6 || on(v6file) {
		return nil
	}
	if err := note(dir, "ipv6"); err != nil {
		return err
	}
	// A host that forwards takes no router advertisements where accept_ra is 1: it would lose its own address and default route when they expire.
	devices, err := os.ReadDir("/proc/sys/net/ipv6/conf")
	if err != nil {
		return errdef.Errorf(errdef.Unsupported, "IPv6: the kernel has none: %w", err)
	}
	for _, d := range devices {
		if d.Name() != "all" && on("/proc/sys/net/ipv6/conf/"+d.Name()+"/accept_ra") {
			if err := set([]setting{{"ipv6/conf/" + d.Name() + "/accept_ra", "2", true}}); err != nil {
				return err
			}
		}
	}
	return set([]setting{{"ipv6/conf/all/forwarding", "1", false}})
}

// note says in a file that the host forwards a family because of us.
func note(dir network.Dir, family string) error {
	path := filepath.Join(string(dir), "forwarding")
	old, _ := os.ReadFile(path) // none is fine
	if strings.Contains(string(old), family) {
		return nil
	}
	return atomicfile.Write(path, []byte(string(old)+family+"\n"), atomicfile.Options{Volatile: true})
}
