package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"github.com/bulkhead-engine/bulkhead/internal/network"
)

// soon is how long something that must happen may take; never is how long it is waited for what must not.
const (
	soon  = 30 * time.Second
	never = 700 * time.Millisecond
)

// A space is a network namespace of a test.
type space struct {
	t  testing.TB
	fd int
}

func newSpace(t testing.TB) *space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	s := &space{t: t, fd: -1}
	thread.Spend(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("a network namespace: %v", err)
			return
		}
		var err error
		if s.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			t.Error(err)
		}
	})
	if s.fd < 0 {
		t.FailNow()
	}
	t.Cleanup(func() { unix.Close(s.fd) })
	s.run("ip", "link", "set", "lo", "up")
	return s
}

// do runs f on a thread in the namespace.
func (s *space) do(f func()) {
	thread.Spend(func() {
		if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
			s.t.Errorf("setns: %v", err)
			return
		}
		f()
	})
}

func (s *space) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.fd) }

func (s *space) run(args ...string) string {
	s.t.Helper()
	var out []byte
	var err error
	s.do(func() { out, err = exec.Command(args[0], args[1:]...).CombinedOutput() })
	if err != nil {
		s.t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s *space) sysctl(name, value string) {
	s.t.Helper()
	s.do(func() {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil && !os.IsNotExist(err) {
			s.t.Error(err)
		}
	})
}

// serve answers everybody with its name and who it sees.
func (s *space) serve(name, network, addr string) {
	s.t.Helper()
	s.do(func() {
		if network == "udp" {
			c, err := net.ListenPacket(network, addr)
			if err != nil {
				s.t.Error(err)
				return
			}
			s.t.Cleanup(func() { c.Close() })
			go func() {
				b := make([]byte, 2048)
				for {
					_, from, err := c.ReadFrom(b)
					if err != nil {
						return
					}
					_, _ = c.WriteTo([]byte(name+" "+host(from)), from)
				}
			}()
			return
		}
		l, err := net.Listen(network, addr)
		if err != nil {
			s.t.Error(err)
			return
		}
		s.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, name+" "+host(c.RemoteAddr()))
				c.Close()
			}
		}()
	})
}

func host(a net.Addr) string {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().String()
}

// ask says what a server answers.
func (s *space) ask(network, addr string, within time.Duration) (answer string, err error) {
	s.do(func() {
		var c net.Conn
		d := net.Dialer{Timeout: within}
		if c, err = d.Dial(network, addr); err != nil {
			return
		}
		defer c.Close()
		end := time.Now().Add(within)
		for {
			_ = c.SetDeadline(end)
			if network == "udp" { // which may be lost
				if _, err = c.Write([]byte("x")); err != nil {
					return
				}
				_ = c.SetReadDeadline(time.Now().Add(min(time.Second, within)))
			}
			b := make([]byte, 200)
			n, e := c.Read(b)
			answer, err = string(b[:n]), e
			if network == "udp" && errors.Is(e, os.ErrDeadlineExceeded) && time.Now().Before(end) {
				continue
			}
			if n > 0 {
				err = nil
			}
			return
		}
	})
	return answer, err
}

// reaches expects an answer.
func (s *space) reaches(network, addr, want string) {
	s.t.Helper()
	if got, err := s.ask(network, addr, soon); err != nil || got != want {
		s.t.Errorf("%s %s: %q, %v; want %q", network, addr, got, err, want)
	}
}

// fails expects none.
func (s *space) fails(network, addr string) {
	s.t.Helper()
	if got, err := s.ask(network, addr, never); err == nil {
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
	w.host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", w.lan.path())
	for i, s := range []*space{w.host, w.lan} {
		s.run("ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "eth0")
		s.run("ip", "-6", "addr", "add", fmt.Sprintf("2001:db8::%d/64", i+1), "dev", "eth0", "nodad")
		s.run("ip", "link", "set", "eth0", "up")
	}
	for _, s := range [][2]string{{"ipv4/ip_forward", "1"}, {"ipv6/conf/all/forwarding", "1"}, {"ipv4/conf/all/rp_filter", "1"}, {"bridge/bridge-nf-call-iptables", "0"}, {"bridge/bridge-nf-call-ip6tables", "0"}} {
		w.host.sysctl(s[0], s[1])
	}
	return w
}

// attach makes a container on a network, with rules of ours before it is there, or without.
func (w *world) attach(n *network.Network, e *network.Endpoint, careless bool) *space {
	w.Helper()
	a := network.Attached{Network: n, Endpoint: e}
	if !careless {
		w.host.do(func() {
			if err := Add(a); err != nil {
				w.Errorf("add %s: %v", e.Name, err)
			}
		})
	}
	h, c := w.host, newSpace(w.T)
	if h.do(func() { _, _ = net.InterfaceByName(n.Bridge) }); !strings.Contains(h.run("ip", "-o", "link"), n.Bridge+":") {
		h.run("ip", "link", "add", n.Bridge, "type", "bridge", "mcast_snooping", "0")
		for _, s := range n.Subnets {
			h.run("ip", "addr", "add", netip.PrefixFrom(s.Gateway, s.Prefix.Bits()).String(), "dev", n.Bridge, "nodad")
		}
		h.run("ip", "link", "set", n.Bridge, "up")
	}
	h.run("ip", "link", "add", e.Device, "master", n.Bridge, "type", "veth", "peer", "name", "eth0", "address", e.MAC, "netns", c.path())
	if !careless && !n.Between {
		h.run("ip", "link", "set", e.Device, "type", "bridge_slave", "isolated", "on")
	}
	h.run("ip", "link", "set", e.Device, "up")
	c.run("ip", "addr", "add", e.IPv4.String(), "dev", "eth0")
	c.run("ip", "-6", "addr", "add", e.IPv6.String(), "dev", "eth0", "nodad")
	c.run("ip", "link", "set", "eth0", "up")
	c.run("ip", "route", "add", "default", "via", n.Subnets[0].Gateway.String())
	c.run("ip", "-6", "route", "add", "default", "via", n.Subnets[1].Gateway.String())
	w.all = append(w.all, a)
	w.ends[e.Name] = c
	return c
}

// publish gives an end ports.
func (w *world) publish(n *network.Network, e *network.Endpoint, ports ...network.Port) {
	w.Helper()
	w.host.do(func() {
		granted, hold, err := Publish(ports, n)
		if err != nil {
			w.Errorf("publish: %v", err)
			return
		}
		w.Cleanup(func() { hold.Close() })
		e.Ports = granted
	})
}
