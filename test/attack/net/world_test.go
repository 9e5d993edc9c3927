package net

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/firewall"
	"github.com/bulkhead-engine/bulkhead/internal/network/link"
	"github.com/bulkhead-engine/bulkhead/test/netspace"
	"golang.org/x/sys/unix"
)

const (
	prefix   = "BHMARK-"
	markLen  = len(prefix) + 16
	patience = 30 * time.Second       // what must happen happens within
	denied   = 250 * time.Millisecond // what must not is tried for
	gap      = 15 * time.Millisecond  // between two tries
)

// A place is somebody who listens, and what he heard.
type place struct {
	mu    sync.Mutex
	marks map[string]bool
}

func (p *place) hear(b []byte) {
	for i := bytes.Index(b, []byte(prefix)); i >= 0; i = bytes.Index(b, []byte(prefix)) {
		if len(b) >= i+markLen {
			p.mu.Lock()
			p.marks[string(b[i:i+markLen])] = true
			p.mu.Unlock()
		}
		b = b[i+len(prefix):]
	}
}

func (p *place) heard(mark []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.marks[string(mark)]
}

func newMark() []byte {
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	return []byte(prefix + hex.EncodeToString(b))
}

// An end is a container's on a network.
type end struct {
	*netspace.Space
	name     string
	mac      mac
	ip4, ip6 netip.Addr
	local    netip.Addr // its link-local address
	gate     mac
	gw4, gw6 netip.Addr
	at       network.Attached
	send     func(frames ...[]byte)
}

// A world is a host with containers, and another host on its wire.
type world struct {
	*testing.T
	careless  bool
	host, lan *netspace.Space
	ends      map[string]*end
	places    map[string]*place
	lanMAC    mac
	hostMAC   mac // on the wire
	sendLAN   func(frames ...[]byte)
}

func id(s string) string { return hex.EncodeToString(fmt.Appendf(nil, "%-32s", s)) }

func newNetwork(name string, n int, change func(*network.Network)) *network.Network {
	out := &network.Network{
		ID: id(name), Name: name, Bridge: "bh" + name, Outside: true, Masquerade: true, Policy: network.Policy{Open: true},
		Subnets: []network.Subnet{
			{Prefix: netip.MustParsePrefix(fmt.Sprintf("10.9.%d.0/24", n)), Gateway: addr(fmt.Sprintf("10.9.%d.1", n))},
			{Prefix: netip.MustParsePrefix(fmt.Sprintf("fd09:%d::/64", n)), Gateway: addr(fmt.Sprintf("fd09:%d::1", n))},
		},
	}
	change(out)
	return out
}

// newWorld makes: alone and peer on the default network; evil and mate on a segment; other on another, with a port published on the host's loopback address; inner on an internal one; held
// beside alone, under a policy that allows 203.0.113.1:443 and, of a name that was learned, 203.0.113.2:443.
func newWorld(t *testing.T, careless bool) *world {
	t.Helper()
	w := &world{T: t, careless: careless, host: netspace.New(t), lan: netspace.New(t), ends: map[string]*end{}, places: map[string]*place{}}
	w.wire()
	def := newNetwork("def", 1, func(n *network.Network) {})
	seg := newNetwork("seg", 2, func(n *network.Network) { n.Between = true })
	far := newNetwork("far", 3, func(n *network.Network) { n.Between = true })
	inn := newNetwork("inn", 4, func(n *network.Network) { n.Between, n.Outside, n.Masquerade = true, false, false })
	for i, e := range []struct {
		name string
		net  *network.Network
	}{{"alone", def}, {"peer", def}, {"held", def}, {"evil", seg}, {"mate", seg}, {"other", far}, {"inner", inn}} {
		w.join(e.name, e.net, i+2)
	}
	if t.Failed() {
		t.FailNow()
	}
	for name, e := range w.ends {
		w.sniff(name, e.Space, "eth0", unix.ETH_P_ALL)
		e.send = w.sender(e.Space, "eth0")
	}
	w.sniff("lan", w.lan, "eth0", unix.ETH_P_ALL)
	w.sendLAN = w.sender(w.lan, "eth0")
	for _, n := range []*network.Network{def, seg, far, inn} {
		w.sniff("bridge of "+n.Name, w.host, n.Bridge, unix.ETH_P_ALL)
	}
	w.sniff("host's LLDP", w.host, w.ends["evil"].at.Endpoint.Device, 0x88cc)
	w.sockets()
	return w
}

func (w *world) wire() {
	w.host.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", w.lan.Path())
	for i, s := range []*netspace.Space{w.host, w.lan} {
		s.Run("ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth0")
		s.Run("ip", "-6", "addr", "add", fmt.Sprintf("2001:db8::%d/64", i+1), "dev", "eth0", "nodad")
		s.Run("ip", "link", "set", "eth0", "up")
	}
	w.hostMAC, w.lanMAC = w.hardware(w.host, "eth0"), w.hardware(w.lan, "eth0")
	for _, s := range [][2]string{{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"}, {"bridge/bridge-nf-call-iptables", "0"}, {"bridge/bridge-nf-call-ip6tables", "0"}} {
		w.host.Sysctl(s[0], s[1])
	}
	for _, a := range []string{"169.254.169.254", "203.0.113.1", "203.0.113.2", "203.0.113.3", "100.100.100.200"} {
		w.lan.Run("ip", "addr", "add", a+"/32", "dev", "eth0")
		w.host.Run("ip", "route", "add", a+"/32", "via", "192.0.2.2")
	}
	for _, a := range []string{"fd00:ec2::254", "2001:db8:1::1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"} {
		w.lan.Run("ip", "-6", "addr", "add", a+"/128", "dev", "eth0", "nodad")
		w.host.Run("ip", "-6", "route", "add", a+"/128", "via", "2001:db8::2")
	}
	if w.careless {
		for _, s := range [][2]string{{"ipv4/conf/all/route_localnet", "1"}, {"ipv4/conf/all/accept_source_route", "1"}, {"ipv4/conf/default/accept_source_route", "1"}, {"ipv4/conf/eth0/accept_source_route", "1"}, {"ipv4/conf/all/rp_filter", "0"}, {"ipv4/conf/eth0/rp_filter", "0"}, {"ipv4/conf/default/rp_filter", "0"}} {
			w.host.Sysctl(s[0], s[1])
		}
		w.host.Run("nft", "add table inet c; add chain inet c pre { type nat hook prerouting priority -100; }; add chain inet c post { type nat hook postrouting priority 100; }; "+
			"add rule inet c pre meta nfproto ipv4 fib daddr type local udp dport 8080 dnat ip to 10.9.3.7:80; add rule inet c pre meta nfproto ipv6 fib daddr type local udp dport 8080 dnat ip6 to [fd09:3::7]:80; "+
			"add rule inet c post oifname eth0 masquerade")
	}
}

func (w *world) hardware(s *netspace.Space, name string) (m mac) {
	s.Do(func() {
		i, err := net.InterfaceByName(name)
		if err != nil {
			w.Errorf("%s: %v", name, err)
			return
		}
		copy(m[:], i.HardwareAddr)
	})
	return m
}

// linkLocal is the link-local address of a device.
func (w *world) linkLocal(s *netspace.Space, name string) (out netip.Addr) {
	s.Do(func() {
		i, err := net.InterfaceByName(name)
		if err != nil {
			w.Errorf("%s: %v", name, err)
			return
		}
		list, _ := i.Addrs()
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
				out = p.Addr()
			}
		}
	})
	if !out.IsValid() {
		w.Errorf("%s: no link-local address", name)
		return netip.IPv6LinkLocalAllNodes()
	}
	return out
}

// join connects a new container.
func (w *world) join(name string, n *network.Network, i int) {
	w.Helper()
	e := &network.Endpoint{
		ID: id(name), Network: n.ID, Container: id(name), Name: name, Device: "bhp" + name, Interface: "eth0", MAC: fmt.Sprintf("02:42:00:00:00:%02x", i),
		IPv4: netip.PrefixFrom(addr(strings.TrimSuffix(n.Subnets[0].Gateway.String(), "1")+fmt.Sprint(i)), 24), IPv6: netip.PrefixFrom(addr(strings.TrimSuffix(n.Subnets[1].Gateway.String(), "1")+fmt.Sprint(i)), 64),
		Gateway4: n.Subnets[0].Gateway, Gateway6: n.Subnets[1].Gateway, Default4: n.Outside, Default6: n.Outside, Policy: network.Policy{Open: true},
	}
	if name == "held" {
		e.Policy = network.Policy{Allow: []network.Destination{{Prefix: netip.MustParsePrefix("203.0.113.1/32"), Port: 443}, {Host: "name.example", Port: 443}}}
	}
	c := &end{Space: netspace.New(w.T), name: name, ip4: e.IPv4.Addr(), ip6: e.IPv6.Addr(), gw4: e.Gateway4, gw6: e.Gateway6, at: network.Attached{Network: n, Endpoint: e}}
	c.mac = mac{2, 0x42, 0, 0, 0, byte(i)}
	c.local = netip.AddrFrom16([16]byte{0xfe, 0x80, 8: 0, 9: 0x42, 10: 0, 11: 0xff, 12: 0xfe, 13: 0, 14: 0, 15: byte(i)})
	w.ends[name] = c
	if w.careless {
		w.plain(c)
	} else {
		w.careful(c)
	}
	c.gate = w.hardware(w.host, n.Bridge)
}

// plain is how somebody careless connects a container.
func (w *world) plain(c *end) {
	n, e, h := c.at.Network, c.at.Endpoint, w.host
	if _, err := h.Try("ip", "link", "show", n.Bridge); err != nil {
		h.Run("ip", "link", "add", n.Bridge, "type", "bridge", "mcast_snooping", "0")
		h.Run("ip", "addr", "add", netip.PrefixFrom(c.gw4, 24).String(), "dev", n.Bridge)
		h.Run("ip", "-6", "addr", "add", netip.PrefixFrom(c.gw6, 64).String(), "dev", n.Bridge, "nodad")
		h.Run("ip", "link", "set", n.Bridge, "up")
		h.Sysctl("ipv4/conf/"+n.Bridge+"/route_localnet", "1")
	}
	h.Run("ip", "link", "add", e.Device, "master", n.Bridge, "type", "veth", "peer", "name", "eth0", "address", e.MAC, "netns", c.Path())
	h.Run("ip", "link", "set", e.Device, "up")
	c.Run("ip", "addr", "add", e.IPv4.String(), "dev", "eth0")
	c.Run("ip", "-6", "addr", "add", e.IPv6.String(), "dev", "eth0", "nodad")
	c.Run("ip", "link", "set", "eth0", "up")
	c.Run("ip", "route", "add", "default", "via", c.gw4.String())
	c.Run("ip", "-6", "route", "add", "default", "via", c.gw6.String())
}

// careful is how the engine does.
func (w *world) careful(c *end) {
	dir := network.Dir(w.TempDir())
	w.host.Do(func() {
		n, e := c.at.Network, c.at.Endpoint
		if e.Name == "other" {
			granted, hold, err := firewall.Publish([]network.Port{{Protocol: network.UDP, Container: 80, First: 8080, Last: 8080}}, n)
			if err != nil {
				w.Errorf("publish: %v", err)
				return
			}
			w.Cleanup(func() { hold.Close() })
			e.Ports = granted
		}
		for _, step := range []func() error{
			func() error { return link.Bridge(dir, n) }, func() error { return firewall.Add(c.at) }, func() error { return link.Attach(n, e, c.FD()) },
		} {
			if err := step(); err != nil {
				w.Errorf("%s: %v", e.Name, err)
				return
			}
		}
		if e.Name == "held" {
			name := func(d network.Destination) bool { return d.Host == "name.example" }
			if ok, err := firewall.Learn(c.at, name, []netip.Addr{addr("203.0.113.2")}, time.Hour); err != nil || !ok {
				w.Errorf("learn: %v, %v", ok, err)
			}
		}
	})
}

// sniff listens at a device to what comes in.
func (w *world) sniff(name string, s *netspace.Space, device string, proto uint16) {
	p := &place{marks: map[string]bool{}}
	w.places[name] = p
	s.Do(func() {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			w.Error(err)
			return
		}
		i, err := net.InterfaceByName(device)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto<<8 | proto>>8, Ifindex: i.Index})
		}
		if err != nil {
			w.Errorf("%s: %v", device, err)
			return
		}
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100000})
		stop, done := make(chan struct{}), make(chan struct{})
		w.Cleanup(func() { close(stop); <-done; unix.Close(fd) })
		go func() {
			defer close(done)
			b := make([]byte, 4096)
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, from, err := unix.Recvfrom(fd, b, 0)
				if ll, ok := from.(*unix.SockaddrLinklayer); err == nil && ok && ll.Pkttype != unix.PACKET_OUTGOING {
					p.hear(b[:n])
				}
			}
		}()
	})
}

// sender returns a function that sends frames by a device.
func (w *world) sender(s *netspace.Space, device string) func(...[]byte) {
	fd, index := -1, 0
	s.Do(func() {
		i, err := net.InterfaceByName(device)
		if err == nil {
			index = i.Index
			fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		}
		if err != nil {
			w.Errorf("%s: %v", device, err)
		}
	})
	w.Cleanup(func() { unix.Close(fd) })
	return func(frames ...[]byte) {
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6}); err != nil {
				w.Errorf("send: %v", err)
			}
		}
	}
}

// sockets are services of the host: on all its addresses, and on those of its loopback alone.
func (w *world) sockets() {
	for name, addr := range map[string]string{"host's services": "[::]:7777", "host's loopback": "127.0.0.1:7778"} {
		p := &place{marks: map[string]bool{}}
		w.places[name] = p
		w.host.Do(func() {
			c, err := net.ListenPacket("udp", addr)
			if err != nil {
				w.Error(err)
				return
			}
			w.Cleanup(func() { c.Close() })
			go func() {
				b := make([]byte, 4096)
				for {
					n, _, err := c.ReadFrom(b)
					if err != nil {
						return
					}
					p.hear(b[:n])
				}
			}()
		})
	}
}
