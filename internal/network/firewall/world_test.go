package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/test/netspace"
)

// soon is how long something that must happen may take; never is how long it is waited for what must not.
const (
	soon  = 30 * time.Second
	never = 500 * time.Millisecond
)

// A space is a network namespace of a test.
type space struct {
	*netspace.Space
	t testing.TB
}

func newSpace(t testing.TB) *space { return &space{netspace.New(t), t} }

// reaches expects an answer.
func (s *space) reaches(network, addr, want string) {
	s.t.Helper()
	if got, err := s.Ask(network, addr, soon); err != nil || got != want {
		s.t.Errorf("%s %s: %q, %v; want %q", network, addr, got, err, want)
	}
}

// fails expects none.
func (s *space) fails(network, addr string) {
	s.t.Helper()
	if got, err := s.Ask(network, addr, never); err == nil {
		s.t.Errorf("%s %s: answered %q", network, addr, got)
	}
}

// A world is a host with bridges, containers on them, and another host.
type world struct {
	*testing.T
	host, lan *space
	all       []network.Attached
	ends      map[string]*space
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, host: newSpace(t), lan: newSpace(t), ends: map[string]*space{}}
	w.host.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", w.lan.Path())
	for i, s := range []*space{w.host, w.lan} {
		s.Run("ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth0")
		s.Run("ip", "-6", "addr", "add", fmt.Sprintf("2001:db8::%d/64", i+1), "dev", "eth0", "nodad")
		s.Run("ip", "link", "set", "eth0", "up")
	}
	for _, s := range [][2]string{{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"}, {"ipv4/conf/all/rp_filter", "1"}, {"bridge/bridge-nf-call-iptables", "0"}, {"bridge/bridge-nf-call-ip6tables", "0"}} {
		w.host.Sysctl(s[0], s[1])
	}
	return w
}

// attach makes a container on a network, with rules of ours before it is there, or without.
func (w *world) attach(n *network.Network, e *network.Endpoint, careless bool) *space {
	w.Helper()
	a := network.Attached{Network: n, Endpoint: e}
	if !careless {
		w.host.Do(func() {
			if err := Add(a); err != nil {
				w.Errorf("add %s: %v", e.Name, err)
			}
		})
	}
	h, c := w.host, newSpace(w.T)
	if h.Do(func() { _, _ = net.InterfaceByName(n.Bridge) }); !strings.Contains(h.Run("ip", "-o", "link"), n.Bridge+":") {
		h.Run("ip", "link", "add", n.Bridge, "type", "bridge", "mcast_snooping", "0")
		for _, s := range n.Subnets {
			h.Run("ip", "addr", "add", netip.PrefixFrom(s.Gateway, s.Prefix.Bits()).String(), "dev", n.Bridge, "nodad")
		}
		h.Run("ip", "link", "set", n.Bridge, "up")
	}
	h.Run("ip", "link", "add", e.Device, "master", n.Bridge, "type", "veth", "peer", "name", "eth0", "address", e.MAC, "netns", c.Path())
	if !careless && !n.Between {
		h.Run("ip", "link", "set", e.Device, "type", "bridge_slave", "isolated", "on")
	}
	h.Run("ip", "link", "set", e.Device, "up")
	c.Run("ip", "addr", "add", e.IPv4.String(), "dev", "eth0")
	c.Run("ip", "-6", "addr", "add", e.IPv6.String(), "dev", "eth0", "nodad")
	c.Run("ip", "link", "set", "eth0", "up")
	c.Run("ip", "route", "add", "default", "via", n.Subnets[0].Gateway.String())
	c.Run("ip", "-6", "route", "add", "default", "via", n.Subnets[1].Gateway.String())
	w.all = append(w.all, a)
	w.ends[e.Name] = c
	return c
}

// publish gives an end ports.
func (w *world) publish(n *network.Network, e *network.Endpoint, ports ...network.Port) {
	w.Helper()
	w.host.Do(func() {
		granted, hold, err := Publish(ports, n)
		if err != nil {
			w.Errorf("publish: %v", err)
			return
		}
		w.Cleanup(func() { hold.Close() })
		e.Ports = granted
	})
}

func (w *world) addr(s string) netip.Addr { return netip.MustParseAddr(s) }
