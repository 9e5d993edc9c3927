package netlink

import (
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// newNS makes a network namespace that lasts until the test ends.
func newNS(t *testing.T) int {
	t.Helper()
	ch := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		fd := -1
		if err := unix.Unshare(unix.CLONE_NEWNET); err == nil {
			fd, _ = ownNamespace()
		}
		ch <- fd
	}()
	fd := <-ch
	if fd < 0 {
		t.Fatal("no network namespace")
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// inside runs f on a thread in the namespace.
func inside(t *testing.T, ns int, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(ns, unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func in(t *testing.T, ns int) *conn {
	t.Helper()
	c, err := dialIn(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// veth makes a pair of virtual devices.
func veth(t *testing.T, c *conn, a, b string) link {
	t.Helper()
	m := newMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, 0, 0))
	m.string(unix.IFLA_IFNAME, a)
	peer := message{ifinfo(0, 0, 0)}
	peer.string(unix.IFLA_IFNAME, b)
	var data, info message
	data.attr(1, peer.b) // VETH_INFO_PEER
	info.attr(unix.IFLA_INFO_KIND, []byte("veth"))
	info.attr(unix.IFLA_INFO_DATA, data.b)
	m.attr(unix.IFLA_LINKINFO, info.b)
	if err := c.exec(m); err != nil {
		t.Skipf("this kernel makes no veth devices: %v", err)
	}
	l, err := c.byName(a)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func give(t *testing.T, c *conn, l link, cidr string, flags uint32) {
	t.Helper()
	p := netip.MustParsePrefix(cidr)
	family := byte(unix.AF_INET)
	if p.Addr().Is6() {
		family = unix.AF_INET6
	}
	a := address{family: family, prefix: byte(p.Bits()), local: p.Addr().AsSlice(), peer: p.Addr().AsSlice(), flags: flags}
	if err := c.addAddress(l.index, a); err != nil {
		t.Fatal(err)
	}
}

// texts returns the lasting addresses of a device.
func texts(t *testing.T, c *conn, index int32) []string {
	t.Helper()
	list, err := c.addresses(index)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, a := range list {
		if a.lasting() {
			addr, _ := netip.AddrFromSlice(a.local)
			if a.local == nil {
				addr, _ = netip.AddrFromSlice(a.peer)
			}
			s = append(s, netip.PrefixFrom(addr, int(a.prefix)).String())
		}
	}
	slices.Sort(s)
	return s
}

func TestLoopbackUp(t *testing.T) {
	needRoot(t)
	ns := newNS(t)
	c := in(t, ns)
	if lo, err := c.byName("lo"); err != nil || lo.flags&unix.IFF_UP != 0 {
		t.Fatalf("new loopback: %+v, %v", lo, err)
	}
	for range 2 { // twice is fine
		if err := LoopbackUp(ns); err != nil {
			t.Fatal(err)
		}
	}
	lo, err := c.byName("lo")
	if err != nil || lo.flags&unix.IFF_UP == 0 {
		t.Errorf("loopback %+v, %v", lo, err)
	}
	if got := texts(t, c, lo.index); len(got) != 0 { // 127.0.0.1 has host scope
		t.Errorf("lasting addresses of loopback: %v", got)
	}
}

func TestMoveDevice(t *testing.T) {
	needRoot(t)
	for newName, want := range map[string]string{"": "src0", "in0": "in0", "net%d": "net0", "a23456789012345": "a23456789012345"} {
		host, guest := newNS(t), newNS(t)
		c, d := in(t, host), in(t, guest)
		src := veth(t, c, "src0", "peer0")
		if err := c.setMTU(src.index, 1400); err != nil {
			t.Fatal(err)
		}
		give(t, c, src, "192.0.2.7/24", 0)
		give(t, c, src, "192.0.2.8/24", unix.IFA_F_NOPREFIXROUTE)
		if _, err := os.Stat("/proc/sys/net/ipv6"); err == nil {
			give(t, c, src, "2001:db8::7/64", unix.IFA_F_NODAD)
		}
		// An address with link scope stays behind.
		linkLocal := address{family: unix.AF_INET, prefix: 16, scope: unix.RT_SCOPE_LINK, local: []byte{169, 254, 1, 1}}
		if err := c.addAddress(src.index, linkLocal); err != nil {
			t.Fatal(err)
		}
		if err := c.setUp(src.index); err != nil {
			t.Fatal(err)
		}
		lasting := texts(t, c, src.index)
		var name string
		var err error
		inside(t, host, func() { name, err = MoveDevice("src0", guest, newName) })
		if err != nil || name != want {
			t.Errorf("%q: got %q, %v; want %q", newName, name, err, want)
			continue
		}
		if _, err := c.byName("src0"); !errdef.Is(err, errdef.NotFound) {
			t.Errorf("%q: the device is still on the host: %v", newName, err)
		}
		l, err := d.byName(want)
		if err != nil || l.mtu != 1400 || l.flags&unix.IFF_UP == 0 || l.hardware != src.hardware {
			t.Errorf("%q: arrived as %+v, %v", newName, l, err)
		}
		if got := texts(t, d, l.index); !slices.Equal(got, lasting) || len(got) < 2 {
			t.Errorf("%q: addresses %v, had %v", newName, got, lasting)
		}
	}
}

// A guest that has a device with the old name and the old index already.
func TestMoveDeviceCollisions(t *testing.T) {
	needRoot(t)
	host, guest := newNS(t), newNS(t)
	c, d := in(t, host), in(t, guest)
	src := veth(t, c, "eth0", "peer0")
	give(t, c, src, "192.0.2.7/24", 0)
	other := veth(t, d, "eth0", "peer0")
	if src.index != other.index {
		t.Logf("indexes %d and %d differ", src.index, other.index)
	}
	var name string
	inside(t, host, func() {
		if name, err := MoveDevice("eth0", guest, ""); !errdef.Is(err, errdef.Exists) {
			t.Errorf("name taken: %q, %v", name, err)
		}
		if name, err := MoveDevice("eth0", guest, "peer0"); !errdef.Is(err, errdef.Exists) {
			t.Errorf("new name taken: %q, %v", name, err)
		}
		if got := texts(t, c, src.index); len(got) != 1 {
			t.Errorf("addresses after a refused move: %v", got)
		}
		// The kernel (6.18) chooses twice, for the move and for the renaming, and lands at eth2.
		var err error
		if name, err = MoveDevice("eth0", guest, "eth%d"); err != nil || name == "eth0" || !strings.HasPrefix(name, "eth") {
			t.Errorf("template: %q, %v", name, err)
		}
	})
	if l, err := d.byName(name); err != nil || l.hardware != src.hardware || len(texts(t, d, l.index)) != 1 {
		t.Errorf("arrived as %+v, %v", l, err)
	}
}

// The kernel renames after the move: a name that is taken in between leaves the device in the container. It must come back.
func TestGiveBack(t *testing.T) {
	needRoot(t)
	host, guest := newNS(t), newNS(t)
	c, d := in(t, host), in(t, guest)
	src := veth(t, c, "src0", "peer0")
	give(t, c, src, "192.0.2.7/24", 0)
	if err := c.setUp(src.index); err != nil {
		t.Fatal(err)
	}
	src, err := c.byName("src0") // with its flags
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := c.addresses(src.index)
	if err != nil {
		t.Fatal(err)
	}
	before, err := d.all()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.move(src.index, guest, "lo"); err == nil {
		t.Fatal("renamed to a name that is taken")
	}
	now, err := d.arrived(src, before)
	if err != nil {
		t.Skipf("this kernel undoes it itself: %v", err)
	}
	if err := giveBack(src, now, addresses, side{d, guest}, side{c, host}); err != nil {
		t.Fatal(err)
	}
	l, err := c.byName("src0")
	if err != nil || l.flags&unix.IFF_UP == 0 || len(texts(t, c, l.index)) != 1 {
		t.Errorf("back as %+v, %v", l, err)
	}
}

func TestMoveDeviceErrors(t *testing.T) {
	needRoot(t)
	host, guest := newNS(t), newNS(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	inside(t, host, func() {
		for _, test := range []struct {
			name, newName string
			ns            int
			kind          errdef.Kind
		}{
			{"nope", "", guest, errdef.NotFound},
			{"lo", "", guest, errdef.Invalid},
			{"lo", "a/b", guest, errdef.Invalid},
			{"nope", "", int(null.Fd()), errdef.Invalid},
		} {
			if name, err := MoveDevice(test.name, test.ns, test.newName); !errdef.Is(err, test.kind) {
				t.Errorf("%+v: got %q, %v", test, name, err)
			}
		}
	})
}

// The thread must be where it was after a socket was opened elsewhere.
func TestDialInReturns(t *testing.T) {
	needRoot(t)
	ns := newNS(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialIn(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	links, err := c.all()
	if err != nil || find(links, func(l link) bool { return l.name == "lo" }) == nil {
		t.Errorf("devices of the other namespace: %+v, %v", links, err)
	}
	if after, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || after != before {
		t.Errorf("the thread is in %s, was in %s (%v)", after, before, err)
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string][2]bool{ // plain, template
		"eth0": {true, true}, "": {}, ".": {}, "..": {}, "a/b": {}, "a:b": {}, "a b": {}, "a\tb": {}, "a\x00": {},
		"eth%d": {false, true}, "%d%d": {}, "%s": {}, "%": {}, strings.Repeat("x", 15): {true, true}, strings.Repeat("x", 16): {},
	} {
		for i, template := range []bool{false, true} {
			if err := ValidName(name, template); (err == nil) != want[i] {
				t.Errorf("%q, template %v: %v", name, template, err)
			}
		}
	}
}

func TestReader(t *testing.T) {
	msg := func(size uint32, kind, flags uint16, seq uint32, body ...byte) []byte {
		b := binary.NativeEndian.AppendUint32(nil, size)
		b = binary.NativeEndian.AppendUint16(b, kind)
		b = binary.NativeEndian.AppendUint16(b, flags)
		b = binary.NativeEndian.AppendUint32(b, seq)
		return append(binary.NativeEndian.AppendUint32(b, 0), body...)
	}
	r := reader{seq: 7, single: true}
	old := msg(20, unix.RTM_NEWLINK, 0, 6, 9, 9, 9, 9)
	if err := r.read(append(old, msg(17, unix.RTM_NEWLINK, 0, 7, 1)...)); err != nil || !r.done || len(r.bodies) != 1 || r.bodies[0][0] != 1 {
		t.Errorf("got %+v, %v", r, err)
	}
	r = reader{seq: 7}
	if err := r.read(msg(20, unix.NLMSG_ERROR, 0, 7, 0xff, 0xff, 0xff, 0xff)); err != unix.EPERM || !r.done {
		t.Errorf("error message: %v", err)
	}
	for _, size := range []uint32{0, 15, 1000} {
		r = reader{seq: 7}
		if err := r.read(msg(size, unix.RTM_NEWLINK, 0, 7, 1, 2, 3, 4)); err == nil {
			t.Errorf("length %d: accepted", size)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x00\x01\x00\x00\x00\x49\x00\x00\x00\x00\x00\x00\x00\x07\x00\x03\x00lo\x00\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		parseLink(b)
		parseAddress(b)
		(&reader{}).read(b)
	})
}

func BenchmarkLoopbackUp(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	ch := make(chan int)
	go func() {
		runtime.LockOSThread()
		unix.Unshare(unix.CLONE_NEWNET)
		fd, _ := ownNamespace()
		ch <- fd
	}()
	ns := <-ch
	defer unix.Close(ns)
	for b.Loop() {
		if err := LoopbackUp(ns); err != nil {
			b.Fatal(err)
		}
	}
}
