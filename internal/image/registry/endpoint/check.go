package endpoint

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Check reports why what is at from may not send us to to. It returns no query of either: those of storage have signatures in them.
func (s *Set) Check(from, to *url.URL) error {
	switch {
	case to.Scheme != "https" && to.Scheme != "http":
		return errdef.Errorf(errdef.Denied, "%s sends to a URL with the scheme %q", from.Host, shorten(to.Scheme))
	case to.Opaque != "" || !isHost(to.Host):
		return errdef.Errorf(errdef.Denied, "%s sends to a URL without a host: %q", from.Host, shorten(to.Host))
	case to.User != nil:
		return errdef.Errorf(errdef.Denied, "%s sends to a URL with a user in it, at %s", from.Host, to.Host)
	}
	if SameOrigin(from, to) {
		return nil
	}
	if to.Scheme == "http" {
		if from.Scheme == "https" && !s.Named(to.Host) {
			return errdef.Errorf(errdef.Denied, "%s sends from HTTPS to plain HTTP at %s", from.Host, to.Host)
		}
		if err := s.CheckPlain(to.Host); err != nil {
			return err
		}
	}
	if !isLocal(from.Host) && isLocal(to.Host) {
		return errdef.Errorf(errdef.Denied, "%s sends to this machine, at %s", from.Host, to.Host)
	}
	if addr, err := netip.ParseAddr(hostname(to.Host)); err == nil && isReserved(addr) && hostname(from.Host) != hostname(to.Host) {
		return errdef.Errorf(errdef.Denied, "%s sends to the link-local or reserved address %s", from.Host, addr)
	}
	return nil
}

// CheckPlain reports why plain HTTP may not be spoken with the host.
func (s *Set) CheckPlain(host string) error {
	if s.MayBePlain(host) {
		return nil
	}
	return errdef.WithHint(errdef.Errorf(errdef.Denied, "plain HTTP with %s: it is not insecure by name", host), "list "+host+" as an insecure registry, or give it a certificate")
}

// CheckSecret reports why a secret may not be sent to the URL: over plain HTTP it goes only to who is named.
func (s *Set) CheckSecret(u *url.URL) error {
	if u.Scheme == "https" || s.Named(u.Host) {
		return nil
	}
	return errdef.WithHint(errdef.Errorf(errdef.Denied, "%s asks for a password over plain HTTP", u.Host), "list "+u.Host+" as an insecure registry if that is meant")
}

// SameOrigin reports whether two URLs lead to one server: scheme, host and port.
func SameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

// hostname takes the port and the brackets off.
func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// isLocal reports whether the host is this machine by its spelling.
func isLocal(host string) bool {
	name := strings.TrimSuffix(strings.ToLower(hostname(host)), ".")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") { // RFC 6761, 6.3
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

func isReserved(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() || addr == netip.MustParseAddr("255.255.255.255") ||
		addr == netip.MustParseAddr("fd00:ec2::254") // EC2's metadata over IPv6
}

// isHost reports whether the text is host or host:port and no more. It is a file name in certs.d, too.
func isHost(s string) bool {
	if s == "" || len(s) > 255 || s[0] == '.' || strings.ContainsAny(s, " \t\r\n/\\?#@%\"<>") {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	u := &url.URL{Host: s}
	if u.Hostname() == "" {
		return false
	}
	if strings.Contains(u.Hostname(), ":") != strings.HasPrefix(s, "[") {
		return false
	}
	if !strings.Contains(strings.TrimPrefix(s, "["+u.Hostname()+"]"), ":") {
		return true
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && n > 0 && n < 65536
}

type guardKey struct{}

// Guarded marks a request whose address a registry chose: its name may not lead to this machine or to a link-local address.
func Guarded(ctx context.Context) context.Context { return context.WithValue(ctx, guardKey{}, true) }

// guard looks at the address that a name has led to, when the socket is there and before it connects.
func guard(ctx context.Context, _, address string, _ syscall.RawConn) error {
	if ctx.Value(guardKey{}) == nil {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	host, _, _ = strings.Cut(host, "%")
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	if addr.Unmap().IsLoopback() || isReserved(addr) {
		return errdef.Errorf(errdef.Denied, "a registry sends to %s, which is this machine or link-local", addr)
	}
	return nil
}

func shorten(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
