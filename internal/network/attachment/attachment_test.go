package attachment

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"golang.org/x/sys/unix"
)

// newNS makes a network namespace that lasts as long as its descriptor.
func newNS(t *testing.T) int {
	t.Helper()
	fd := -1
	var err error
	thread.Spend(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			fd, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	must(t, netlink.LoopbackUp(fd))
	return fd
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A lab is a host of its own, with an engine's directory.
type lab struct {
	t   *testing.T
	ns  int
	dir network.Dir
	run string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	run := t.TempDir()
	l := &lab{t: t, ns: newNS(t), dir: network.Dir(filepath.Join(run, "network")), run: run}
	return l
}

// do runs f as the host.
func (l *lab) do(f func() error) error { return netlink.Inside(l.ns, f) }

// host is do for what must not fail.
func (l *lab) host(f func() error) {
	l.t.Helper()
	must(l.t, l.do(f))
}

// links are the devices of the host, without loopback.
func (l *lab) links() []string {
	l.t.Helper()
	var out []string
	l.host(func() error {
		h, err := netlink.Open()
		if err != nil {
			return err
		}
		defer h.Close()
		all, err := h.Links()
		for _, d := range all {
			if d.Name != "lo" {
				out = append(out, d.Name)
			}
		}
		return err
	})
	return out
}

// monitor says that the monitor of a container lives, until the function that it returns is called.
func (l *lab) monitor(id string) (end func()) {
	l.t.Helper()
	must(l.t, os.MkdirAll(filepath.Join(l.run, id), 0o700))
	fd, err := unix.Open(filepath.Join(l.run, id, "lock"), unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	must(l.t, err)
	if ok, err := atomicfile.TryFlock(fd, atomicfile.Exclusive); err != nil || !ok {
		l.t.Fatal(ok, err)
	}
	end = sync.OnceFunc(func() { unix.Close(fd) })
	l.t.Cleanup(end)
	return end
}

func id(digit byte) string { return strings.Repeat(string(digit), 64) }

func web() network.Network {
	return network.Network{ID: id('e'), Name: "web", Bridge: "bh-web", Outside: true, Between: true, Policy: network.Policy{Open: true}, Subnets: []network.Subnet{
		{Prefix: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1")},
		{Prefix: netip.MustParsePrefix("fd00:9::/64"), Gateway: netip.MustParseAddr("fd00:9::1")},
	}}
}

func private() network.Network {
	return network.Network{ID: id('f'), Name: "private", Bridge: "bh-priv", Between: true, MTU: 1400, Policy: network.Policy{Open: true}, Subnets: []network.Subnet{
		{Prefix: netip.MustParsePrefix("10.8.0.0/24"), Gateway: netip.MustParseAddr("10.8.0.1")},
	}}
}

func (l *lab) set(container string, nets ...network.Network) *Set {
	o := &network.Orders{Dir: l.dir, Container: container, Name: "c" + container[:2], Policy: network.Policy{Open: true}}
	for _, n := range nets {
		o.Networks = append(o.Networks, network.Wanted{Network: n})
	}
	return New(o)
}

// reach connects from one namespace to an address in another that is listened on meanwhile.
func reach(from, to int, addr string) error {
	var l net.Listener
	if err := netlink.Inside(to, func() (err error) { l, err = net.Listen("tcp", net.JoinHostPort(addr, "0")); return err }); err != nil {
		return err
	}
	defer l.Close()
	return netlink.Inside(from, func() error {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 30*time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// TestLife connects two containers, looks who reaches whom, and that nothing is left.
func TestLife(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	l.monitor(id('1'))
	l.monitor(id('2'))
	one, two := l.set(id('1'), web(), private()), l.set(id('2'), web())
	ns1, ns2 := newNS(t), newNS(t)
	l.host(func() error { return one.Up(ctx, ns1) })
	l.host(func() error { return two.Up(ctx, ns2) })
	ends := one.Ends()
	if e := ends[0].Endpoint; e.IPv4.String() != "10.9.0.2/24" || e.IPv6.String() != "fd00:9::2/64" || e.Interface != "eth0" || !e.Default4 || !e.Default6 || e.MAC != "02:42:0a:09:00:02" {
		t.Errorf("first end: %+v", e)
	}
	if e := ends[1].Endpoint; e.IPv4.String() != "10.8.0.2/24" || e.IPv6.IsValid() || e.Interface != "eth1" || e.Default4 {
		t.Errorf("second end: %+v", e)
	}
	for _, c := range []struct {
		what     string
		from, to int
		addr     string
	}{
		{"from the host to its second address", l.ns, ns1, "10.8.0.2"},
		{"from the host", l.ns, ns1, "10.9.0.2"},
		{"from the host by IPv6", l.ns, ns1, "fd00:9::2"},
		{"to each other", ns2, ns1, "10.9.0.2"},
		{"to each other by IPv6", ns1, ns2, "fd00:9::3"},
	} {
		if err := reach(c.from, c.to, c.addr); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	if err := reach(ns1, l.ns, "10.9.0.1"); err == nil {
		t.Error("the host's own services are open")
	}
	all, err := l.dir.Endpoints("")
	must(t, err)
	if len(all) != 3 {
		t.Errorf("ends: %+v", all)
	}
	l.host(func() error { return two.Close(ctx) })
	l.host(func() error { return one.Down(ctx) })
	if got := l.links(); len(got) != 0 {
		t.Errorf("devices are left: %v", got)
	}
	ns3 := newNS(t)
	l.host(func() error { return two.Up(ctx, ns2) }) // takes the lowest address that is not kept
	l.host(func() error { return one.Up(ctx, ns3) })
	if e := one.Ends()[0].Endpoint; e.IPv4.String() != "10.9.0.2/24" {
		t.Errorf("after a restart: %+v", e)
	}
	if e := two.Ends()[0].Endpoint; e.IPv4.String() != "10.9.0.3/24" {
		t.Errorf("after a new start: %+v", e)
	}
	l.host(func() error { return one.Close(ctx) })
	l.host(func() error { return two.Close(ctx) })
	l.clean()
}

// clean looks that nothing is left.
func (l *lab) clean() {
	l.t.Helper()
	if got := l.links(); len(got) != 0 {
		l.t.Errorf("devices are left: %v", got)
	}
	if left, err := l.dir.Networks(); err != nil || len(left) != 0 {
		l.t.Errorf("files are left: %v, %v", left, err)
	}
}

// TestConnect connects a running container with a network that leads outside with more right, and disconnects it.
func TestConnect(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	l.monitor(id('1'))
	s, ns := l.set(id('1'), web()), newNS(t)
	l.host(func() error { return s.Up(ctx, ns) })
	other := network.Network{ID: id('d'), Name: "other", Bridge: "bh-other", Outside: true, Policy: network.Policy{Open: true}, Subnets: []network.Subnet{{Prefix: netip.MustParsePrefix("10.7.0.0/24"), Gateway: netip.MustParseAddr("10.7.0.1")}}}
	w := network.Wanted{Network: other, Wish: network.Wish{Priority: 1, Interface: "up0", IPv4: netip.MustParseAddr("10.7.0.77"), MAC: "02:11:22:33:44:55"}}
	l.host(func() error { return s.Connect(ctx, w) })
	if err := l.do(func() error { return s.Connect(ctx, w) }); !errdef.Is(err, errdef.Exists) {
		t.Errorf("connected twice: %v", err)
	}
	gateways := func() (out []string) {
		must(t, netlink.Inside(ns, func() error {
			h, err := netlink.Open()
			if err != nil {
				return err
			}
			defer h.Close()
			routes, err := h.Routes()
			for _, r := range routes {
				if a, ok := netip.AddrFromSlice(r.Gateway); ok && r.To.Bits == 0 {
					out = append(out, a.String())
				}
			}
			return err
		}))
		slices.Sort(out)
		return out
	}
	if got := gateways(); !slices.Equal(got, []string{"10.7.0.1", "fd00:9::1"}) {
		t.Errorf("default routes: %v", got)
	}
	e, err := l.dir.Endpoint(id('e'), id('1'))
	if err != nil || e.Default4 || !e.Default6 {
		t.Errorf("what is written down of the first: %+v, %v", e, err)
	}
	if err := reach(l.ns, ns, "10.7.0.77"); err != nil {
		t.Error(err)
	}
	l.host(func() error { return s.Disconnect(ctx, other.ID) })
	if got := gateways(); !slices.Equal(got, []string{"10.9.0.1", "fd00:9::1"}) {
		t.Errorf("default routes after the end: %v", got)
	}
	if err := l.do(func() error { return s.Disconnect(ctx, other.ID) }); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("disconnected twice: %v", err)
	}
	l.host(func() error { return s.Close(ctx) })
	l.clean()
}

// TestRefused: what cannot be leaves nothing.
func TestRefused(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	l.monitor(id('1'))
	for _, c := range []struct {
		change func(*network.Wanted)
		kind   errdef.Kind
	}{
		{func(w *network.Wanted) { w.Wish.IPv4 = netip.MustParseAddr("10.10.0.1") }, errdef.Invalid},
		{func(w *network.Wanted) { w.Wish.IPv4 = netip.MustParseAddr("10.9.0.1") }, errdef.Conflict},
		{func(w *network.Wanted) { w.Wish.MAC = "ff:ff:ff:ff:ff:ff" }, errdef.Invalid},
		{func(w *network.Wanted) { w.Wish.Interface = "no/name" }, errdef.Invalid},
		{func(w *network.Wanted) { w.Wish.Interface = "lo" }, errdef.Exists},
		{func(w *network.Wanted) { w.Wish.Sysctls = map[string]string{"kernel.x": "1"} }, errdef.Invalid},
		{func(w *network.Wanted) { w.Wish.Sysctls = map[string]string{"net.ipv4.conf.IFNAME.nothing": "1"} }, errdef.Unavailable},
		{func(w *network.Wanted) { w.Network.Bridge = "lo" }, errdef.Conflict},
		{func(w *network.Wanted) { w.Record = "/nowhere" }, errdef.NotFound},
	} {
		w := network.Wanted{Network: web()}
		c.change(&w)
		s := New(&network.Orders{Dir: l.dir, Container: id('1'), Networks: []network.Wanted{{Network: private()}, w}})
		ns := newNS(t)
		if err := l.do(func() error { return s.Up(ctx, ns) }); !errdef.Is(err, c.kind) {
			t.Errorf("%+v: %v", w.Wish, err)
		}
		l.host(func() error { return s.Close(ctx) })
		l.clean()
	}
}

// TestTaken: a hardware address of a neighbour, and a subnet in which the host has come to have an address, are refused.
func TestTaken(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	l.monitor(id('1'))
	l.monitor(id('2'))
	one, other := l.set(id('1'), web()), l.set(id('2'), web())
	other.ends[0].Wish.MAC = "02:42:0a:09:00:02"
	up := func(s *Set) error {
		ns := newNS(t)
		return l.do(func() error { return s.Up(ctx, ns) })
	}
	address := func(bits int) {
		l.host(func() error {
			h, err := netlink.Open()
			if err != nil {
				return err
			}
			defer h.Close()
			lo, err := h.Link("lo")
			if err != nil {
				return err
			}
			return h.AddAddress(lo.Index, netlink.Prefix{IP: []byte{10, 9, 0, 200}, Bits: bits})
		})
	}
	must(t, up(one))
	if err := up(other); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("a hardware address of a neighbour: %v", err)
	}
	l.host(func() error { return other.Close(ctx) })
	l.host(func() error { return one.Close(ctx) })
	l.clean()
	address(32)
	if err := up(one); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("a subnet with an address of the host: %v", err)
	}
	l.host(func() error { return one.Close(ctx) })
	l.clean()
}

// TestHeal: what a killed monitor leaves is removed, and only that; a claim of its is void.
func TestHeal(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	end := l.monitor(id('1'))
	l.monitor(id('2'))
	dead, alive := l.set(id('1'), web(), private()), l.set(id('2'), web())
	ns1, ns2 := newNS(t), newNS(t)
	l.host(func() error { return dead.Up(ctx, ns1) })
	l.host(func() error { return alive.Up(ctx, ns2) })
	end()
	l.host(func() error { return Heal(ctx, l.dir, "") })
	if got := l.links(); len(got) != 2 || !slices.Contains(got, "bh-web") {
		t.Errorf("devices: %v", got)
	}
	if err := reach(l.ns, ns2, alive.Ends()[0].Endpoint.IPv4.Addr().String()); err != nil {
		t.Error(err)
	}
	if all, err := l.dir.Endpoints(""); err != nil || len(all) != 1 || all[0].Container != id('2') {
		t.Errorf("ends: %v, %v", all, err)
	}
	l.host(func() error { return alive.Close(ctx) })
	l.clean()
}

// TestForeignBridge: a bridge that somebody has made is used, and stays.
func TestForeignBridge(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	l.host(func() error {
		h, err := netlink.Open()
		if err != nil {
			return err
		}
		defer h.Close()
		_, err = h.AddBridge(netlink.Bridge{Name: "bh-web"})
		return err
	})
	l.monitor(id('1'))
	s, ns := l.set(id('1'), web()), newNS(t)
	l.host(func() error { return s.Up(ctx, ns) })
	if err := reach(l.ns, ns, "10.9.0.2"); err != nil {
		t.Error(err)
	}
	l.host(func() error { return s.Close(ctx) })
	if got := l.links(); !slices.Equal(got, []string{"bh-web"}) {
		t.Errorf("devices: %v", got)
	}
}

// TestMany connects and disconnects many at once: each has an address of its own, and nothing is left.
func TestMany(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	const n = 12
	ns := make([]int, n)
	for i := range ns {
		ns[i] = newNS(t)
		l.monitor(id(byte('a' + i)))
	}
	var mu sync.Mutex
	seen := map[netip.Prefix]int{}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			s := l.set(id(byte('a'+i)), web())
			for range 5 {
				err := l.do(func() error { return s.Up(ctx, ns[i]) })
				if err != nil {
					t.Error(err)
					return
				}
				e := s.Ends()[0].Endpoint
				mu.Lock()
				if by, taken := seen[e.IPv4]; taken {
					t.Errorf("%s is %d's and %d's", e.IPv4, by, i)
				}
				seen[e.IPv4] = i
				mu.Unlock()
				if err := reach(l.ns, ns[i], e.IPv4.Addr().String()); err != nil {
					t.Errorf("%d: %v", i, err)
				}
				mu.Lock()
				delete(seen, e.IPv4)
				mu.Unlock()
				if err := l.do(func() error { return s.Close(ctx) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	l.clean()
}
