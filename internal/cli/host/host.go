// Package host finds the engine that a command line means when it is not the one inside its own process, and connects to it.
//
//	t, err := host.Find(host.Options{Host: "tcp://engine.example.org:2376", Verify: true, Config: "/root/.docker"})
//	conn, err := t.Dial(ctx)
//
// An address is one of Docker's:
//
//	unix:///run/docker.sock        a socket; a path alone is one, too
//	tcp://HOST[:PORT], HOST:PORT   with TLS (port 2376), or without it to this machine itself (port 2375)
//	ssh://[USER@]HOST[:PORT]       `bulkhead system dial-stdio` there, started by ssh, or docker's if that is what the host has
//
// A context is a name for an address with its keys, as `docker context create` keeps them below contexts/ of the configuration directory: what stands there is read.
//
// Security: a server is always verified unless the caller says otherwise in so many words (SkipVerify), and what is spoken in the clear never leaves the machine: who can
// speak to an engine is root on its host. A host's name goes to ssh behind `--`, so that none is taken for a flag.
package host

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Options are what the command line says.
type Options struct {
	Host    string // address; "": of the context
	Context string // name of a context; "", default: none

	TLS           bool   // speak TLS
	SkipVerify    bool   // take any certificate of the server
	CA, Cert, Key string // files; "": those of the configuration directory
	Config        string // directory
}

// A Target is an engine that can be reached.
type Target struct {
	Address string // for people
	Prefix  string // of every path
	dial    func(ctx context.Context) (net.Conn, error)
}

// Dial connects.
func (t *Target) Dial(ctx context.Context) (net.Conn, error) {
	c, err := t.dial(ctx)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "engine at %s: %w", t.Address, err)
	}
	return c, nil
}

// Find reads the options. Nothing is dialled yet. Without an address it returns nil: the engine of the process itself is meant.
func Find(o Options) (*Target, error) {
	if o.Host != "" && o.Context != "" {
		err := errdef.Errorf(errdef.Invalid, "--host and --context: both name an engine")
		return nil, errdef.WithHint(err, "leave one of them away")
	}
	if o.Context != "" && o.Context != "default" {
		if err := o.readContext(); err != nil {
			return nil, err
		}
	}
	if o.Host == "" {
		if o.TLS {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "--tls: the engine is in this process, and nothing is encrypted"), "name another: --host tcp://HOST:2376")
		}
		return nil, nil
	}
	return o.target()
}

// target reads the address.
func (o *Options) target() (*Target, error) {
	if strings.HasPrefix(o.Host, "/") {
		o.Host = "unix://" + o.Host
	}
	scheme, rest, ok := strings.Cut(o.Host, "://")
	if !ok {
		scheme, rest = "tcp", o.Host
	}
	switch scheme {
	case "unix":
		if rest == "" {
			rest = "/var/run/docker.sock"
		}
		abs, err := filepath.Abs(rest)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "--host %q: %w", o.Host, err)
		}
		return &Target{Address: "unix://" + abs, dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", abs)
		}}, nil
	case "tcp", "http", "https":
		if scheme == "https" {
			o.TLS = true
		}
		return o.tcp(rest)
	case "ssh":
		return ssh(o.Host)
	}
	err := errdef.Errorf(errdef.Invalid, "--host %.256q: there is no such way to an engine", o.Host)
	return nil, errdef.WithHint(err, "unix:///PATH, tcp://HOST:PORT, ssh://USER@HOST")
}

// tcp is an address of the network.
func (o *Options) tcp(rest string) (*Target, error) {
	bad := func(why string) (*Target, error) {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "--host %.256q: %s", o.Host, why), "tcp://HOST:PORT")
	}
	u, err := url.Parse("tcp://" + rest)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return bad("no address")
	}
	name, port := u.Hostname(), u.Port()
	if port == "" {
		port = "2375"
		if o.TLS {
			port = "2376"
		}
	}
	here := false
	switch ip := net.ParseIP(name); {
	case name == "" && u.Port() == "":
		return bad("it names no host")
	case name == "", ip != nil && ip.IsUnspecified():
		name, here = "127.0.0.1", true
		if ip != nil && ip.To4() == nil {
			name = "::1"
		}
	case name == "localhost", ip != nil && ip.IsLoopback():
		here = true
	}
	t := &Target{Address: "tcp://" + net.JoinHostPort(name, port), Prefix: strings.TrimSuffix(u.Path, "/")}
	address := net.JoinHostPort(name, port)
	if o.TLS {
		t.dial, err = o.secure(name, address)
		return t, err
	}
	if !here {
		err := errdef.Errorf(errdef.Denied, "--host %s: without TLS everybody on the way is root on that host", t.Address)
		return nil, errdef.WithHint(err, "say --tlsverify, with --tlscacert, --tlscert and --tlskey; or ssh://USER@HOST")
	}
	t.dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	return t, nil
}

// file is a file of the configuration directory.
func (o *Options) file(name string) string {
	path := filepath.Join(o.Config, name)
	if _, err := os.Stat(path); o.Config == "" || err != nil {
		return ""
	}
	return path
}
