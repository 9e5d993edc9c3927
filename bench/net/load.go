package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

const patience = 20 * time.Second

// A space is a network namespace.
type space struct{ fd int }

func newSpace() (*space, error) {
	s := &space{-1}
	var err error
	thread.Spend(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			s.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
	})
	if err == nil {
		err = s.run("ip link set lo up")
	}
	return s, err
}

// spaceOf is that of a process.
func spaceOf(pid int) (*space, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return &space{fd}, err
}

func (s *space) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.fd) }

// do runs f on a thread in the namespace.
func (s *space) do(f func() error) (err error) {
	thread.Spend(func() {
		if err = unix.Setns(s.fd, unix.CLONE_NEWNET); err == nil {
			err = f()
		}
	})
	return err
}

func (s *space) run(lines ...string) error { return s.do(func() error { return all(lines...) }) }

// wires are this host and another one.
type wires struct{ host, lan *space }

func newWires() (*wires, error) {
	host, err := spaceOf(os.Getpid())
	if err != nil {
		return nil, err
	}
	lan, err := newSpace()
	if err != nil {
		return nil, err
	}
	err = all("ip link set lo up", "ip link add eth0 type veth peer name eth0 netns "+lan.path(), "ip addr add 192.0.2.1/24 dev eth0", "ip link set eth0 up")
	if err == nil {
		err = lan.run("ip addr add 192.0.2.2/24 dev eth0", "ip link set eth0 up")
	}
	for name, value := range map[string]string{"ipv4/ip_forward": "1", "bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0"} {
		if werr := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); werr != nil && !os.IsNotExist(werr) && !strings.Contains(name, "bridge") && err == nil {
			err = werr
		}
	}
	return &wires{host, lan}, err
}

func (w *wires) close() { _ = all("ip link del eth0") }

// serve takes streams and echoes bytes, until it is stopped.
func serve(s *space) (stop func(), err error) {
	var listeners []net.Listener
	err = s.do(func() error {
		for port, f := range map[int]func(net.Conn){streamPort: discard, echoPort: answer} {
			l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
			if err != nil {
				return err
			}
			listeners = append(listeners, l)
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go f(c)
				}
			}()
		}
		return nil
	})
	return func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}, err
}

func discard(c net.Conn) {
	defer c.Close()
	b := make([]byte, 1<<17)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

func answer(c net.Conn) {
	defer c.Close()
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

func dial(s *space, addr string) (c net.Conn, took time.Duration, err error) {
	err = s.do(func() error {
		begin := time.Now()
		var err error
		c, err = net.DialTimeout("tcp4", addr, patience)
		took = time.Since(begin)
		return err
	})
	if err == nil {
		err = c.SetDeadline(time.Now().Add(patience))
	}
	return c, took, err
}

// stream sends for a time, and returns Gbit/s.
func stream(s *space, addr string, length time.Duration) (float64, error) {
	c, _, err := dial(s, addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	b := make([]byte, 1<<17)
	begin, sent := time.Now(), 0
	for time.Since(begin) < length {
		n, err := c.Write(b)
		if err != nil {
			return 0, err
		}
		sent += n
	}
	return float64(sent) * 8 / time.Since(begin).Seconds() / 1e9, nil
}

// echo returns the median times, in microseconds, of a byte there and back and of a new connection.
func echo(s *space, addr string) (trip, connect float64, err error) {
	var trips, connects []float64
	for range 30 {
		c, took, err := dial(s, addr)
		if err != nil {
			return 0, 0, err
		}
		connects = append(connects, float64(took.Nanoseconds())/1000)
		b := []byte{1}
		for range 50 {
			begin := time.Now()
			if err := bounce(c, b); err != nil {
				c.Close()
				return 0, 0, err
			}
			trips = append(trips, float64(time.Since(begin).Nanoseconds())/1000)
		}
		c.Close()
	}
	return median(trips), median(connects), nil
}

// bounce sends a byte, and waits for it.
func bounce(c net.Conn, b []byte) error {
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}
