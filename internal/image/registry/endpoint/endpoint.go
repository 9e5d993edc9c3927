// Package endpoint knows, before anything is sent, where a registry is, how it may be reached and what makes a connection to it a trusted one.
//
//	set, err := endpoint.New(endpoint.Options{Insecure: []string{"registry.lan:5000"}, Mirrors: map[string][]string{"docker.io": {"mirror.lan"}}})
//	for _, e := range set.Pull("docker.io") { ... }                  // the mirrors in their order, then the registry itself
//	err = set.Check(from, to)                                        // may a registry at from send us to to?
//	rt, err := set.RoundTripper(ctx, u)                              // with the CAs and the client certificate of its host
//
// The rules:
//
//   - HTTPS with a certificate that verifies, TLS 1.2 at least. CAs are the system's and those of certs.d.
//   - A host that Insecure names is spoken to over TLS whatever its certificate is, else over plain HTTP. It is named as host, as host:port, or, where images are named by
//     address, by a range like 10.0.0.0/8. A DNS name never falls in a range: whoever answers for the name would choose.
//   - The machine itself (127.0.0.0/8, ::1, localhost) may speak plain HTTP without being named, but gets no password over it. Its certificate is verified like any.
//   - certs.d is looked up as Docker and Podman do: the first directory HOST[:PORT] below /etc/bulkhead/certs.d, /etc/containers/certs.d and /etc/docker/certs.d; in it
//     *.crt are CAs, NAME.cert with NAME.key is a client certificate.
//   - Proxies come from HTTPS_PROXY, HTTP_PROXY and NO_PROXY; the machine itself is reached without one.
//   - HTTP/1.1 only: a connection per transfer can be timed and dropped by itself, and HTTP/2's frames are surface that a registry needs not.
//
// Security: Check is the fence of every address that a registry chooses: redirects, realms of tokens, places to upload to. It lets nobody lead from TLS to
// plain HTTP, to a link-local address (where clouds keep credentials), or from elsewhere to this machine; names are checked again when they are dialled.
package endpoint

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Options say how registries are reached. The zero value is the strict one.
type Options struct {
	Insecure []string            // host, host:port, or a range of addresses
	Mirrors  map[string][]string // by registry: host[:port][/prefix], with http:// before it for plain HTTP
	CertDirs []string            // instead of DefaultCertDirs
	Connect  time.Duration       // for a connection with its TLS handshake; 0 means 15 s
	// Proxy is http.ProxyFromEnvironment if nil.
	Proxy func(*http.Request) (*url.URL, error)
	// Notice is told once per host what the user ought to know: that it speaks plain HTTP.
	Notice func(string)
}

// DefaultCertDirs returns where CAs and client certificates of registries are.
func DefaultCertDirs() []string {
	return []string{"/etc/bulkhead/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d"}
}

// An Endpoint is a registry or a mirror of one.
type Endpoint struct {
	Domain string // what credentials are kept under
	Host   string // host[:port] to connect to
	Prefix string // put before the repository, without slashes at its ends; only for mirrors
	Plain  bool   // the user wrote http://
	Mirror bool
}

// URL returns an address below /v2/. The parts must be ones that package reference let pass.
func (e Endpoint) URL(repository, rest string) *url.URL {
	u := &url.URL{Scheme: "https", Host: e.Host, Path: "/v2/"}
	if e.Plain {
		u.Scheme = "http"
	}
	if repository != "" {
		u.Path += e.Repository(repository) + "/" + rest
	}
	return u
}

// Repository returns the name that the repository has there.
func (e Endpoint) Repository(repository string) string {
	if e.Prefix != "" {
		return e.Prefix + "/" + repository
	}
	return repository
}

// A Set holds the rules and the connections. It may be used from many goroutines.
type Set struct {
	options  Options
	names    map[string]bool // insecure
	ranges   []netip.Prefix  // insecure
	mirrors  map[string][]Endpoint
	dialer   *net.Dialer
	mu       sync.Mutex
	plain    map[string]bool            // hosts that were found to speak plain HTTP
	carriers map[string]*http.Transport // by host where it has settings of its own, "" for all others
}

// New checks the options.
func New(o Options) (*Set, error) {
	if o.CertDirs == nil {
		o.CertDirs = DefaultCertDirs()
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	if o.Connect == 0 {
		o.Connect = 15 * time.Second
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	s := &Set{
		options: o, names: map[string]bool{}, mirrors: map[string][]Endpoint{},
		plain: map[string]bool{}, carriers: map[string]*http.Transport{},
	}
	s.dialer = &net.Dialer{Timeout: o.Connect, KeepAlive: 30 * time.Second, ControlContext: guard}
	for _, name := range o.Insecure {
		if prefix, err := netip.ParsePrefix(name); err == nil {
			s.ranges = append(s.ranges, prefix.Masked())
			continue
		}
		if !isHost(name) {
			return nil, errdef.Errorf(errdef.Invalid, "insecure registry %q: neither host[:port] nor a range of addresses", name)
		}
		s.names[strings.ToLower(name)] = true
	}
	for domain, list := range o.Mirrors {
		for _, text := range list {
			e, err := s.mirror(text)
			if err != nil {
				return nil, errdef.Errorf(errdef.KindOf(err), "mirror %q of %s: %w", text, domain, err)
			}
			s.mirrors[domain] = append(s.mirrors[domain], e)
		}
	}
	return s, nil
}

func (s *Set) mirror(text string) (Endpoint, error) {
	rest, plain := strings.CutPrefix(text, "http://")
	rest = strings.TrimSuffix(strings.TrimPrefix(rest, "https://"), "/")
	host, prefix, _ := strings.Cut(rest, "/")
	if !isHost(host) || strings.ContainsAny(prefix, " ?#%\\\x00") || strings.Contains("/"+prefix+"/", "/../") {
		return Endpoint{}, errdef.Errorf(errdef.Invalid, "it is not host[:port][/prefix]")
	}
	e := Endpoint{Domain: host, Host: connectHost(host), Prefix: prefix, Plain: plain, Mirror: true}
	if plain && !s.Named(host) && !isLocal(host) {
		return e, errdef.WithHint(errdef.Errorf(errdef.Denied, "plain HTTP to a host that is not insecure by name"), "list "+host+" as an insecure registry, or give it a certificate")
	}
	return e, nil
}

// Registry returns the registry itself.
func (s *Set) Registry(domain string) Endpoint {
	return Endpoint{Domain: domain, Host: connectHost(domain)}
}

// Pull returns where a registry's images can be had: its mirrors, then itself.
func (s *Set) Pull(domain string) []Endpoint {
	return append(append([]Endpoint(nil), s.mirrors[domain]...), s.Registry(domain))
}

// connectHost is where a registry answers that is named by its domain.
func connectHost(domain string) string {
	if domain == "docker.io" || domain == "index.docker.io" {
		return "registry-1.docker.io"
	}
	return domain
}

// Named reports whether the user named the host as insecure.
func (s *Set) Named(host string) bool {
	host = strings.ToLower(host)
	name := hostname(host)
	if s.names[host] || s.names[name] {
		return true
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	for _, prefix := range s.ranges {
		if prefix.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// MayBePlain reports whether the host may speak plain HTTP: if it is named, or this machine.
func (s *Set) MayBePlain(host string) bool { return s.Named(host) || isLocal(host) }

// SetPlain remembers that a host speaks plain HTTP, and tells the user.
func (s *Set) SetPlain(host string) {
	s.mu.Lock()
	known := s.plain[host]
	s.plain[host] = true
	s.mu.Unlock()
	if !known {
		s.options.Notice("registry " + host + " speaks plain HTTP: what comes from it can be changed on the way, but for what is named by digest")
	}
}

// Scheme returns https, or http where that was found to be it.
func (s *Set) Scheme(host string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plain[host] {
		return "http"
	}
	return "https"
}

// Close drops the idle connections.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.carriers {
		t.CloseIdleConnections()
	}
}
