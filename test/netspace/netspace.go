// Package netspace is network namespaces of tests: hosts and containers that a test makes, connects and looks into, without a trace on the machine that it runs on.
//
//	host, lan := netspace.New(t), netspace.New(t)
//	host.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", lan.Path())
//	host.Do(func() { ... })                       // on a thread that is there
//	lan.Serve("lan", "tcp", ":80")                // answers with its name and the address of who asks
//	answer, err := host.Ask("tcp", "192.0.2.2:80", time.Second)
//
// A namespace lives as long as the test, which has its descriptor, and so do the servers in it.
package netspace

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

	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

// A Space is a network namespace.
type Space struct {
	t  testing.TB
	fd int
}

// New makes one, with a loopback device that is up. Without root the test is skipped.
func New(t testing.TB) *Space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	s := &Space{t: t, fd: -1}
	var err error
	thread.Spend(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			s.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { unix.Close(s.fd) })
	s.Run("ip", "link", "set", "lo", "up")
	return s
}

// FD is a descriptor of the namespace.
func (s *Space) FD() int { return s.fd }

// Path is the namespace for `ip link ... netns`.
func (s *Space) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.fd) }

// Do runs f on a thread in the namespace. It must not end the test.
func (s *Space) Do(f func()) {
	thread.Spend(func() {
		if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
			s.t.Errorf("enter a network namespace: %v", err)
			return
		}
		f()
	})
}

// Run runs a program in the namespace and returns what it says. A failure is one of the test.
func (s *Space) Run(args ...string) string {
	s.t.Helper()
	out, err := s.Try(args...)
	if err != nil {
		s.t.Errorf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// Try runs a program in the namespace.
func (s *Space) Try(args ...string) (string, error) {
	var out []byte
	var err error
	s.Do(func() { out, err = exec.Command(args[0], args[1:]...).CombinedOutput() })
	return string(out), err
}

// Sysctl sets a file below /proc/sys/net, if the kernel has it.
func (s *Space) Sysctl(name, value string) {
	s.t.Helper()
	s.Do(func() {
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil && !os.IsNotExist(err) {
			s.t.Error(err)
		}
	})
}

// Serve answers everybody with a name and the address of who asks, until the test ends.
func (s *Space) Serve(name, network, addr string) {
	s.t.Helper()
	s.Do(func() {
		if strings.HasPrefix(network, "udp") {
			c, err := net.ListenPacket(network, addr)
			if err != nil {
				s.t.Error(err)
				return
			}
			s.t.Cleanup(func() { c.Close() })
			go answerPackets(name, c)
			return
		}
		l, err := net.Listen(network, addr)
		if err != nil {
			s.t.Error(err)
			return
		}
		s.t.Cleanup(func() { l.Close() })
		go answer(name, l)
	})
}

func answerPackets(name string, c net.PacketConn) {
	b := make([]byte, 2048)
	for {
		_, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		_, _ = c.WriteTo([]byte(name+" "+host(from)), from)
	}
}

func answer(name string, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, name+" "+host(c.RemoteAddr()))
		_ = c.Close()
	}
}

func host(a net.Addr) string {
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone("").String()
}

// Ask says what a server of Serve answers.
func (s *Space) Ask(network, addr string, within time.Duration) (answer string, err error) {
	s.Do(func() {
		var c net.Conn
		d := net.Dialer{Timeout: within}
		if c, err = d.Dial(network, addr); err != nil {
			return
		}
		defer c.Close()
		answer, err = read(c, network, time.Now().Add(within))
	})
	return answer, err
}

func read(c net.Conn, network string, end time.Time) (string, error) {
	b := make([]byte, 200)
	for {
		_ = c.SetDeadline(end)
		if strings.HasPrefix(network, "udp") { // which may be lost
			if _, err := c.Write([]byte("x")); err != nil {
				return "", err
			}
			if soon := time.Now().Add(time.Second); soon.Before(end) {
				_ = c.SetReadDeadline(soon)
			}
		}
		n, err := c.Read(b)
		switch {
		case n > 0:
			return string(b[:n]), nil
		case strings.HasPrefix(network, "udp") && errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(end):
		default:
			return "", err
		}
	}
}
