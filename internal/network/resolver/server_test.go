package resolver

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// dialIn connects from within a namespace.
func dialIn(t testing.TB, ns *os.File, network, addr string) net.Conn {
	t.Helper()
	return dialWith(t, net.Dialer{Timeout: patienceTime}, ns, network, addr)
}

func dialWith(t testing.TB, d net.Dialer, ns *os.File, network, addr string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	thread.Spend(func() {
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err == nil {
			c, err = d.Dial(network, addr)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patienceTime))
	return c
}

const at = "127.0.0.11:53"

// start serves a namespace from this process.
func start(t testing.TB, c Config) (*Server, *os.File) {
	t.Helper()
	inside := namespace(t)
	if c.Names == nil {
		c.Names = table()
	}
	s, err := Start(int(inside.Fd()), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, inside
}

// alive asks for a name of the container's networks, by UDP or TCP, until it is answered: a datagram may be lost when the socket's buffer is full.
func alive(t testing.TB, ns *os.File, network string) {
	t.Helper()
	for end := time.Now().Add(patienceTime); time.Now().Before(end); {
		c := dialIn(t, ns, network, at)
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		msg := ask(t, "db.", dnsmessage.TypeA)
		if network == "tcp" {
			msg = framed(msg)
		}
		var buf [512]byte
		n, err := 0, error(nil)
		if _, err = c.Write(msg); err == nil {
			n, err = c.Read(buf[:])
		}
		c.Close()
		if err == nil && n > headerLen && strings.Contains(string(buf[:n]), "\x0a\x02\x00\x03") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the resolver does not answer by %s", network)
}

// TestGarbage sends what is no query.
func TestGarbage(t *testing.T) {
	_, inside := start(t, Config{})
	good := ask(t, "web.", dnsmessage.TypeA, opt(4096, true))
	c := dialIn(t, inside, "udp", at)
	s := dialIn(t, inside, "tcp", at)
	for range 2000 {
		b := append([]byte(nil), good[:rand.IntN(len(good)+1)]...)
		for range rand.IntN(6) {
			if len(b) > 0 {
				b[rand.IntN(len(b))] = byte(rand.Uint32())
			}
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(framed(b)); err != nil { // it was one for which the connection is closed
			s.Close()
			s = dialIn(t, inside, "tcp", at)
		}
	}
	big := make([]byte, 60000)
	if _, err := c.Write(big); err != nil {
		t.Fatal(err)
	}
	alive(t, inside, "udp")
	alive(t, inside, "tcp")
}

// TestConnections opens more connections than there is room for, each with half a message: when they have gone, or their time is up, others are served.
func TestConnections(t *testing.T) {
	t.Parallel()
	_, inside := start(t, Config{})
	var held []net.Conn
	for range 3 * maxConnections {
		c := dialIn(t, inside, "tcp", at)
		_, _ = c.Write([]byte{0, 50, 1}) // may be closed already
		held = append(held, c)
	}
	alive(t, inside, "udp")
	closed := 0
	for _, c := range held { // none stays, though none is closed from here
		if _, err := c.Read(make([]byte, 1)); err != nil && !os.IsTimeout(err) {
			closed++
		}
	}
	if closed != len(held) {
		t.Errorf("%d of %d connections were closed", closed, len(held))
	}
	alive(t, inside, "tcp")
}

// TestPipeline asks many things in one connection, and more than once at the same time.
func TestPipeline(t *testing.T) {
	p := newPeer(t, func(b []byte) [][]byte { return [][]byte{good(t, b)} }, nil)
	_, inside := start(t, Config{Servers: []netip.AddrPort{p.addr}, Conf: "/nonexistent", Options: []string{"timeout:30"}})
	c := dialIn(t, inside, "tcp", at)
	const n = 300
	go func() {
		for i := range n {
			name := "db."
			if i%3 == 0 {
				name = "www.example."
			}
			b := ask(t, name, dnsmessage.TypeA)
			binary.BigEndian.PutUint16(b, uint16(i))
			if _, err := c.Write(framed(b)); err != nil {
				t.Errorf("query %d: %v", i, err)
				return
			}
		}
	}()
	seen := map[uint16]bool{}
	r := bufio.NewReader(c)
	for range n {
		msg, err := readFramed(r, maxMessage)
		if err != nil {
			t.Fatalf("after %d answers: %v", len(seen), err)
		}
		m := parse(t, msg)
		if seen[m.ID] || m.RCode != 0 || len(m.Answers) != 1 {
			t.Errorf("%+v", m)
		}
		seen[m.ID] = true
	}
}

// TestDeafClient takes no answers: it is not waited for longer than writeTime, and does not keep the resolver from its end.
func TestDeafClient(t *testing.T) {
	t.Parallel()
	s, inside := start(t, Config{})
	small := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
	}
	c := dialWith(t, net.Dialer{Timeout: patienceTime, Control: small}, inside, "tcp", at)
	msg := framed(ask(t, "db.", dnsmessage.TypeA))
	for { // until the resolver has closed the connection
		if _, err := c.Write(msg); err != nil {
			if os.IsTimeout(err) {
				t.Errorf("the resolver waits for ever: %v", err)
			}
			break
		}
	}
	alive(t, inside, "tcp")
	done := make(chan struct{})
	go func() { s.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(patienceTime):
		t.Error("the resolver does not end")
	}
}

// TestOverload asks a server that is silent more than may wait: local names are answered meanwhile, and the end comes at once.
func TestOverload(t *testing.T) {
	silent := newPeer(t, nil, nil)
	before := runtime.NumGoroutine()
	inside := namespace(t)
	s, err := Start(int(inside.Fd()), Config{Names: table(), Servers: []netip.AddrPort{silent.addr}, Conf: "/nonexistent", Options: []string{"timeout:30"}})
	if err != nil {
		t.Fatal(err)
	}
	c := dialIn(t, inside, "udp", at)
	for range 4 * maxPending {
		if _, err := c.Write(ask(t, "www.example.", dnsmessage.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	alive(t, inside, "udp")
	if n := silent.packets.Load(); n > maxExchanges {
		t.Errorf("%d queries are under way outside", n)
	}
	done := make(chan struct{})
	go func() { s.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(patienceTime):
		t.Fatal("the resolver does not end")
	}
	for end := time.Now().Add(patienceTime); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines are left", n-before)
	}
}

// TestPortsFree: what the container's program wants to bind is free: port 53 on all addresses, and on the resolver's own.
func TestPortsFree(t *testing.T) {
	_, inside := start(t, Config{})
	thread.Spend(func() {
		if err := unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		for _, addr := range []string{"0.0.0.0:53", "127.0.0.11:53", ":53"} {
			p, err := net.ListenPacket("udp", addr)
			if err != nil {
				t.Errorf("udp %s: %v", addr, err)
				continue
			}
			p.Close()
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Errorf("tcp %s: %v", addr, err)
				continue
			}
			l.Close()
		}
	})
	alive(t, inside, "udp")
}

// TestNeighbour sends to the resolver from another namespace, over a wire, into a container that was careless enough to let such packets in (route_localnet): to a socket that is not bound to
// the loopback device, which shows that they arrive, and to the resolver's.
func TestNeighbour(t *testing.T) {
	s, inside := start(t, Config{})
	outside := namespace(t)
	fd := func(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }
	output(t, inside, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", fd(outside))
	script := func(ns *os.File, lines string) {
		t.Helper()
		output(t, ns, "sh", "-ec", lines)
	}
	script(inside, `ip addr add 10.55.0.2/24 dev eth0; ip link set eth0 up
		for i in all eth0; do echo 1 >/proc/sys/net/ipv4/conf/$i/route_localnet; echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter; done`)
	script(outside, `ip addr add 10.55.0.1/24 dev eth0; ip link set eth0 up
		for i in all eth0; do echo 1 >/proc/sys/net/ipv4/conf/$i/route_localnet; done
		ip link set lo down; ip route add 127.0.0.11/32 via 10.55.0.2 dev eth0 src 10.55.0.1`)
	var plain net.PacketConn
	var err error
	thread.Spend(func() {
		if err = unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err == nil {
			plain, err = net.ListenPacket("udp4", "127.0.0.11:0")
		}
	})
	must(t, err)
	defer plain.Close()
	send := func(port uint16) {
		t.Helper()
		c := dialIn(t, outside, "udp", netip.AddrPortFrom(Address, port).String())
		defer c.Close()
		_, _ = c.Write(ask(t, "db.", dnsmessage.TypeA))
	}
	// Both are sent in one order over one wire: when the plain socket has its own, which was sent last, the resolver has had its chance.
	c := dialIn(t, outside, "udp", netip.AddrPortFrom(Address, portOf(s.s.packets.LocalAddr())).String())
	buf := make([]byte, 512)
	for try := 0; ; try++ {
		_, _ = c.Write(ask(t, "db.", dnsmessage.TypeA))
		send(portOf(plain.LocalAddr()))
		_ = plain.SetReadDeadline(time.Now().Add(time.Second))
		if n, _, err := plain.ReadFrom(buf); err == nil && n > 0 {
			break
		}
		if try == 60 {
			t.Fatal("nothing arrives in the container at all: this test shows nothing")
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if n, err := c.Read(buf); err == nil {
		t.Errorf("the resolver has answered a neighbour: %x", buf[:n])
	}
	var tcp net.Conn
	thread.Spend(func() {
		if err = unix.Setns(int(outside.Fd()), unix.CLONE_NEWNET); err == nil {
			tcp, err = net.DialTimeout("tcp", s.s.streams.Addr().String(), 2*time.Second)
		}
	})
	if err == nil {
		tcp.Close()
		t.Error("the resolver has taken a neighbour's connection")
	}
	alive(t, inside, "udp")
}

// TestRefusedServers: what cannot be a server is said at the start.
func TestRefusedServers(t *testing.T) {
	for _, a := range []netip.AddrPort{{}, netip.MustParseAddrPort("0.0.0.0:53"), netip.MustParseAddrPort("224.0.0.1:53"), netip.MustParseAddrPort("192.0.2.1:0")} {
		if _, err := Start(-1, Config{Servers: []netip.AddrPort{a}}); err == nil || !strings.Contains(err.Error(), "DNS server") {
			t.Errorf("%v: %v", a, err)
		}
	}
	if _, err := Start(-1, Config{}); err == nil {
		t.Error("no namespace")
	}
}

// TestPace asks as fast as it can: the processor time that this costs the host is bounded, and what is asked by TCP, where nothing is lost, is all answered.
func TestPace(t *testing.T) {
	p := pace{}
	now := time.Now()
	for i := range maxQueries {
		if d := p.take(now); d != 0 {
			t.Fatalf("question %d waits for %v", i, d)
		}
	}
	if d := p.take(now.Add(queriesTime / 4)); d != queriesTime*3/4 {
		t.Errorf("one more waits for %v", d)
	}
	if d := p.take(now.Add(queriesTime)); d != 0 {
		t.Errorf("the next time: %v", d)
	}
	_, inside := start(t, Config{})
	c := dialIn(t, inside, "tcp", at)
	msg := framed(ask(t, "db.", dnsmessage.TypeA))
	const n = 4 * maxQueries
	began := time.Now()
	go func() {
		for range n {
			if _, err := c.Write(msg); err != nil {
				return
			}
		}
	}()
	r := bufio.NewReader(c)
	for i := range n {
		if _, err := readFramed(r, maxMessage); err != nil {
			t.Fatalf("after %d answers: %v", i, err)
		}
	}
	if took := time.Since(began); took < 2*queriesTime {
		t.Errorf("%d questions were answered in %v", n, took)
	}
}
