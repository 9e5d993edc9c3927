package resolver

import (
	"bytes"
	"net/netip"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
)

// Files keeps a container's hosts and resolv.conf right. The files are bound into the container, and are never replaced.
type Files struct {
	o    *network.Orders
	path string // the host's resolv.conf

	mu   sync.Mutex
	own  []Host // the lines that are in the hosts file for the container itself
	conf []byte // what was written into resolv.conf
}

// NewFiles returns the files of a container. Nothing is written yet.
func NewFiles(o *network.Orders) *Files { return &Files{o: o, path: HostConf} }

// Begin writes the files anew, before a program starts. ends are those of the container.
func (f *Files) Begin(ends []network.Attached) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	added, err := f.added(ends)
	if err != nil {
		return err
	}
	f.own = f.lines(ends)
	if f.o.Files.Hosts != "" {
		if err := Rewrite(f.o.Files.Hosts, func([]byte) []byte { return HostsFile(added, f.own) }); err != nil {
			return err
		}
	}
	conf, err := readConf(f.path)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "the host's resolv.conf: %w", err)
	}
	f.conf = ContainerConf(conf, f.o.DNS.Search, f.o.DNS.Options).Bytes()
	if f.o.Files.Resolv == "" {
		return nil
	}
	return Rewrite(f.o.Files.Resolv, func([]byte) []byte { return f.conf })
}

// Change writes the lines of a container that was connected with a network or disconnected, while its program runs; what the program has written stays.
func (f *Files) Change(ends []network.Attached) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	own := f.lines(ends)
	if f.o.Files.Hosts != "" {
		if err := Rewrite(f.o.Files.Hosts, func(text []byte) []byte { return ReplaceHosts(text, f.own, own) }); err != nil {
			return err
		}
	}
	f.own = own
	return nil
}

// host writes resolv.conf again when the host's has changed; not if the program has written something of its own.
func (f *Files) host(conf Conf) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := ContainerConf(conf, f.o.DNS.Search, f.o.DNS.Options).Bytes()
	if f.o.Files.Resolv == "" || f.conf == nil || bytes.Equal(next, f.conf) {
		return
	}
	wrote := false
	err := Rewrite(f.o.Files.Resolv, func(text []byte) []byte {
		if wrote = bytes.Equal(text, f.conf); wrote {
			return next
		}
		return nil
	})
	if err == nil && wrote {
		f.conf = next
	}
}

// lines are those of the container's own names.
func (f *Files) lines(ends []network.Attached) []Host {
	var addrs []netip.Addr
	for _, a := range ends {
		for _, p := range []netip.Prefix{a.Endpoint.IPv4, a.Endpoint.IPv6} {
			if p.IsValid() {
				addrs = append(addrs, p.Addr())
			}
		}
	}
	return OwnHosts(addrs, f.o.Hostname, f.o.Domain)
}

// added are the lines of --add-host.
func (f *Files) added(ends []network.Attached) ([]Host, error) {
	var gateway netip.Addr
	for _, a := range ends {
		switch e := a.Endpoint; {
		case e.Default4 && e.Gateway4.IsValid():
			gateway = e.Gateway4
		case e.Default6 && e.Gateway6.IsValid() && !gateway.IsValid():
			gateway = e.Gateway6
		}
	}
	var out []Host
	for _, n := range f.o.Hosts {
		h := Host{Addr: n.Addr, Names: []string{n.Name}}
		if !h.Addr.IsValid() {
			if h.Addr = gateway; !gateway.IsValid() {
				return nil, errdef.WithHint(errdef.Errorf(errdef.Conflict, "--add-host %s:host-gateway: no network of the container leads to the host", n.Name), "connect it with a network that is not internal, or give the address itself")
			}
		}
		out = append(out, h)
	}
	return out, nil
}
