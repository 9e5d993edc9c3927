package netlink

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func handle(t *testing.T, ns int) *Handle {
	t.Helper()
	h, err := OpenIn(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func prefix(text string) Prefix {
	p := netip.MustParsePrefix(text)
	return Prefix{p.Addr().AsSlice(), p.Bits()}
}

func ip(text string) []byte { return netip.MustParseAddr(text).AsSlice() }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBridge makes a host with a bridge and a container on it, all in namespaces of its own, and looks at what the kernel says of them.
func TestBridge(t *testing.T) {
	needRoot(t)
	host, inner := newNS(t), newNS(t)
	h, c := handle(t, host), handle(t, inner)
	const mac, bridgeMAC = "\x02\x42\x0a\x01\x00\x02", "\x02\x42\x0a\x01\x00\x01"
	bridge, err := h.AddBridge(Bridge{Name: "bh-test", MAC: bridgeMAC, MTU: 1400})
	must(t, err)
	must(t, h.Up(bridge))
	if _, err := h.AddBridge(Bridge{Name: "bh-test"}); !errdef.Is(err, errdef.Exists) {
		t.Errorf("a second bridge of the name: %v", err)
	}
	must(t, h.AddVeth(Veth{Name: "bh1", Master: bridge, MTU: 1400, Peer: "eth0", MAC: mac, NS: inner}))
	port, err := h.Link("bh1")
	must(t, err)
	if port.Master != bridge || port.MTU != 1400 || port.Kind != "veth" {
		t.Errorf("port: %+v", port)
	}
	must(t, h.SetPort(port.Index, Port{}))
	must(t, h.AddEntry(port.Index, mac))
	if err := h.LockPort(port.Index); err != nil && !errdef.Is(err, errdef.Unsupported) {
		t.Error(err)
	}
	must(t, h.Up(port.Index))
	eth, err := c.Link("eth0")
	must(t, err)
	if eth.MAC != mac || eth.MTU != 1400 || eth.Peer != port.Index {
		t.Errorf("peer: %+v", eth)
	}
	must(t, c.Up(eth.Index))
	gate := prefix("10.1.0.1/24")
	for range 2 { // what is there is fine
		must(t, h.AddAddress(bridge, gate))
		must(t, h.AddAddress(bridge, prefix("fd00:1::1/64")))
		must(t, c.AddAddress(eth.Index, prefix("10.1.0.2/24")))
		must(t, c.AddAddress(eth.Index, prefix("fd00:1::2/64")))
		must(t, c.AddRoute(Route{To: prefix("0.0.0.0/0"), Gateway: gate.IP, Index: eth.Index}))
		must(t, c.AddRoute(Route{To: prefix("::/0"), Gateway: ip("fd00:1::1"), Index: eth.Index}))
		must(t, h.AddNeighbour(bridge, ip("10.1.0.2"), mac))
	}
	all, err := h.Addresses()
	must(t, err)
	if !slices.ContainsFunc(all[bridge], func(p Prefix) bool { return bytes.Equal(p.IP, gate.IP) && p.Bits == gate.Bits }) {
		t.Errorf("addresses: %v", all)
	}
	routes, err := c.Routes()
	must(t, err)
	if !slices.ContainsFunc(routes, func(r Route) bool {
		return r.To.Bits == 0 && bytes.Equal(r.Gateway, gate.IP) && r.Index == eth.Index && r.Table == 254
	}) {
		t.Errorf("no default route in %v", routes)
	}
	must(t, c.DeleteRoute(Route{To: prefix("0.0.0.0/0"), Gateway: gate.IP, Index: eth.Index}))
	for range 2 {
		must(t, c.DeleteRoute(Route{To: prefix("0.0.0.0/0"), Index: eth.Index}))
		must(t, h.DeleteNeighbour(bridge, ip("10.1.0.2")))
		must(t, h.Delete(port.Index))
	}
	if _, err := c.Link("eth0"); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("the other end is still there: %v", err)
	}
	must(t, h.Delete(bridge))
	if links, err := h.Links(); err != nil || len(links) != 1 {
		t.Errorf("left: %+v, %v", links, err)
	}
}

// TestInside looks at the namespace of a thread from a function that runs in it.
func TestInside(t *testing.T) {
	needRoot(t)
	ns := newNS(t)
	h := handle(t, ns)
	_, err := h.AddBridge(Bridge{Name: "only-here"})
	must(t, err)
	must(t, Inside(ns, func() error {
		_, err := os.Stat("/proc/sys/net/ipv4/conf/only-here")
		return err
	}))
	if _, err := os.Stat("/proc/sys/net/ipv4/conf/only-here"); err == nil {
		t.Error("we are inside, too")
	}
	if err := Inside(0, func() error { return nil }); err == nil {
		t.Error("standard input is a namespace")
	}
}
