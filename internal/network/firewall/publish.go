package firewall

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"golang.org/x/sys/unix"
)

// tries is how often a free port is looked for that is free on both loopback addresses.
const tries = 64

// Publish takes ports of the host for a container on a network. What it grants has an address and one port each; a wish without an address becomes one of each family that the network has.
//
// Each is held by a socket, so that nobody else takes it and taken ones are found: the sockets get nothing, because packets for the port are led to the container before, and a filter
// drops what comes while no rule does that. They are closed with the returned Closer, or with the process.
func Publish(wishes []network.Port, n *network.Network) (granted []network.Port, hold io.Closer, err error) {
	var held sockets
	for _, w := range wishes {
		got, err := held.grant(w, n)
		if err != nil {
			_ = held.Close()
			return nil, nil, err
		}
		granted = append(granted, got...)
	}
	return granted, &held, nil
}

// sockets hold ports.
type sockets []int

// Close gives the ports back.
func (s *sockets) Close() error {
	var all error
	for _, fd := range *s {
		all = errors.Join(all, unix.Close(fd))
	}
	*s = nil
	return all
}

// hosts are the addresses that a wish means.
func hosts(w network.Port, n *network.Network) ([]netip.Addr, error) {
	host := w.Host
	if !host.IsValid() {
		host = n.Bind
	}
	_, v4 := n.Subnet(false)
	_, v6 := n.Subnet(true)
	if !host.IsValid() {
		var out []netip.Addr
		if v4 {
			out = append(out, families[0].loopback)
		}
		if v6 {
			out = append(out, families[1].loopback)
		}
		if out == nil {
			return nil, errdef.Errorf(errdef.Invalid, "publish port %d: network %s has no addresses", w.Container, n.Name)
		}
		return out, nil
	}
	host = host.Unmap().WithZone("")
	if host.Is6() && !v6 || host.Is4() && !v4 {
		word := "IPv4"
		if host.Is6() {
			word = "IPv6"
		}
		err := errdef.Errorf(errdef.Invalid, "publish port %d on %s: network %s has no %s", w.Container, host, n.Name, word)
		return nil, errdef.WithHint(err, "make a network with --ipv6, or give an address of the other family")
	}
	if host.IsLoopback() {
		if _, err := loopEntry(host); err != nil {
			return nil, err
		}
	}
	return []netip.Addr{host}, nil
}

func (s *sockets) grant(w network.Port, n *network.Network) ([]network.Port, error) {
	if _, ok := protocols[w.Protocol]; !ok {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "publish port %d/%.16s: no such protocol", w.Container, w.Protocol), "tcp, udp, sctp")
	}
	if w.Container == 0 || w.First > w.Last {
		return nil, errdef.Errorf(errdef.Invalid, "publish ports %d-%d to port %d: is no range of ports", w.First, w.Last, w.Container)
	}
	if !n.Outside {
		err := errdef.Errorf(errdef.Invalid, "publish port %d: network %s is internal", w.Container, n.Name)
		return nil, errdef.WithHint(err, "nobody outside of it reaches its containers; connect the container to another network too")
	}
	list, err := hosts(w, n)
	if err != nil {
		return nil, err
	}
	if w.First == 0 {
		return s.free(w, list)
	}
	for p := uint32(w.First); p <= uint32(w.Last); p++ {
		got, err := s.take(w, list, uint16(p))
		if err == nil {
			return got, nil
		}
		if !errdef.Is(err, errdef.Conflict) || w.First == w.Last {
			return nil, err
		}
	}
	return nil, errdef.Errorf(errdef.Conflict, "publish on %s: all ports from %d to %d are taken", list[0], w.First, w.Last)
}

// free takes a port that the kernel chooses, from its range of such ports.
func (s *sockets) free(w network.Port, list []netip.Addr) ([]network.Port, error) {
	var err error
	for range tries {
		var got []network.Port
		if got, err = s.take(w, list, 0); err == nil || !errdef.Is(err, errdef.Conflict) {
			return got, err
		}
	}
	return nil, err
}

// take takes one port on all of some addresses; 0: any, the same on all.
func (s *sockets) take(w network.Port, list []netip.Addr, number uint16) (out []network.Port, err error) {
	var held sockets
	defer func() {
		if err != nil {
			_ = held.Close()
		}
	}()
	for _, host := range list {
		fd, got, err := bind(w.Protocol, host, number)
		if err != nil {
			return nil, err
		}
		number = got
		if fd >= 0 {
			held = append(held, fd)
		}
		out = append(out, network.Port{Protocol: w.Protocol, Container: w.Container, Host: host, First: got, Last: got})
	}
	*s = append(*s, held...)
	return out, nil
}

// bind holds a port by a socket that gets nothing. fd is -1 where the kernel has no sockets of the protocol: nobody else can have the port then, and two containers cannot have the same,
// because a map has one element of a kind.
func bind(protocol string, host netip.Addr, number uint16) (fd int, got uint16, err error) {
	where := fmt.Sprintf("%s/%s", netip.AddrPortFrom(host, number), protocol)
	kind, pr := unix.SOCK_STREAM, unix.IPPROTO_TCP
	switch protocol {
	case network.UDP:
		kind, pr = unix.SOCK_DGRAM, unix.IPPROTO_UDP
	case network.SCTP:
		pr = unix.IPPROTO_SCTP
	}
	domain := unix.AF_INET
	if host.Is6() {
		domain = unix.AF_INET6
	}
	fd, err = unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, pr)
	if protocol == network.SCTP && (errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ESOCKTNOSUPPORT)) {
		if number == 0 {
			err := errdef.Errorf(errdef.Unsupported, "publish a free port of SCTP: the kernel has no sockets of it")
			return -1, 0, errdef.WithHint(err, "give the port, as in 9000:9000/sctp, or modprobe sctp")
		}
		return -1, number, nil
	}
	if err != nil {
		return -1, 0, errdef.Errorf(errdef.Unavailable, "publish %s: socket: %w", where, err)
	}
	got, err = settle(fd, host, number, kind)
	if err == nil {
		return fd, got, nil
	}
	_ = unix.Close(fd)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		err = errdef.Errorf(errdef.Conflict, "publish %s: the port is taken", where)
		return -1, 0, errdef.WithHint(err, fmt.Sprintf("`ss -Hlnp sport = :%d` shows who has it; publish another one, or 0 for any that is free", number))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		err = errdef.Errorf(errdef.Invalid, "publish %s: this host has no such address", where)
		return -1, 0, errdef.WithHint(err, "`ip addr` shows its addresses; 0.0.0.0 and [::] are all of them")
	case errors.Is(err, unix.EACCES):
		return -1, 0, errdef.Errorf(errdef.Denied, "publish %s: %w", where, err)
	}
	return -1, 0, errdef.Errorf(errdef.Unavailable, "publish %s: %w", where, err)
}

// settle binds a socket, deaf: a filter drops all that it gets. A socket of a stream listens, because that is what excludes others while remains of old connections do not exclude it.
func settle(fd int, host netip.Addr, number uint16, kind int) (uint16, error) {
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]}); err != nil {
		return 0, fmt.Errorf("filter: %w", err)
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(number)}
	if host.Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return 0, fmt.Errorf("IPv6 only: %w", err)
		}
		sa = &unix.SockaddrInet6{Port: int(number), Addr: host.As16()}
	} else {
		sa.(*unix.SockaddrInet4).Addr = host.As4()
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return 0, fmt.Errorf("reuse: %w", err)
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, 1); err != nil {
			return 0, fmt.Errorf("listen: %w", err)
		}
	}
	name, err := unix.Getsockname(fd)
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return uint16(name.Port), nil
	case *unix.SockaddrInet6:
		return uint16(name.Port), nil
	}
	return 0, fmt.Errorf("getsockname: %w", err)
}
