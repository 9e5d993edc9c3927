package attachment

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/firewall"
	"github.com/bulkhead-engine/bulkhead/internal/network/link"
	"github.com/bulkhead-engine/bulkhead/internal/network/resolver"
	"golang.org/x/sys/unix"
)

// A Set is the networks of one container.
type Set struct {
	o *network.Orders

	mu      sync.Mutex
	ns      int // -1: no program runs
	ends    []*end
	files   *resolver.Files
	dns     *resolver.Server // nil: it does not run
	guard   *guard           // nil: it was never up
	pid     int              // of the container's first process; 0: not known
	granted []network.Port
	hold    io.Closer // of the ports; nil: none are held
	portal  string    // network whose end the ports are published by
}

// An end is one network of the container. Without an endpoint it is not connected now.
type end struct {
	network.Wanted
	e   *network.Endpoint
	had []netip.Addr // addresses that are claimed for it
}

func (d *end) attached() network.Attached {
	return network.Attached{Network: &d.Network, Endpoint: d.e}
}

// For says for which engine this process works, by its directory of networks, before anything else is done: what it has in the kernel bears its name.
func For(dir network.Dir) { firewall.For(dir) }

// New makes a set. Nothing is done yet.
func New(o *network.Orders) *Set {
	s := &Set{o: o, ns: -1, files: resolver.NewFiles(o)}
	for _, w := range o.Networks {
		s.ends = append(s.ends, &end{Wanted: w})
	}
	return s
}

// Process says which process will be the first of the container. It is to be called before Up, so that of what is refused it can be said to which process.
func (s *Set) Process(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
}

// Up connects the container, whose new network namespace is behind ns; it stays the caller's. On an error it is connected with nothing.
func (s *Set) Up(ctx context.Context, ns int) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ends) == 0 {
		return nil
	}
	if s.ns, err = unix.FcntlInt(uintptr(ns), unix.F_DUPFD_CLOEXEC, 3); err != nil {
		s.ns = -1
		return errdef.Errorf(errdef.Unavailable, "network namespace: %w", err)
	}
	defer func() {
		if err != nil {
			err = withHint(errors.Join(err, s.down(ctx)), err)
		}
	}()
	if s.guard == nil {
		if s.guard, err = s.newGuard(); err != nil {
			return err
		}
	}
	if err := s.claim(ctx, s.ends); err != nil {
		return err
	}
	s.guard.Set(s.connected(), s.pid)
	answering := make(chan error, 1)
	go func() { answering <- s.answer() }()
	for _, d := range s.ends {
		if err = link.Attach(&d.Network, d.e, s.ns); err != nil {
			break
		}
	}
	if aerr := <-answering; err == nil {
		err = aerr
	}
	if err != nil {
		return err
	}
	return s.files.Begin(s.connected())
}

// answer starts the resolver of the container. It goes on beside the making of devices, and touches nothing else of the set.
func (s *Set) answer() (err error) {
	s.dns, err = resolver.Start(s.ns, resolver.For(s.o, s.files, s.guard))
	return err
}

// withHint gives an error that was joined with others the kind and the hint of the first.
func withHint(err, first error) error {
	return errdef.WithHint(errdef.Errorf(errdef.KindOf(first), "%w", err), errdef.Hint(first))
}

// Down disconnects the container, whose program has ended. It keeps its addresses.
func (s *Set) Down(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down(ctx)
}

func (s *Set) down(ctx context.Context) error {
	if s.ns < 0 {
		return nil
	}
	if s.dns != nil {
		s.dns.Close()
		s.dns = nil
	}
	err := s.release(ctx, s.ends)
	_ = unix.Close(s.ns)
	s.ns = -1
	return err
}

// Close gives back all that the container has.
func (s *Set) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.down(ctx)
	for _, d := range s.ends {
		err = errors.Join(err, s.give(ctx, d))
	}
	if s.hold != nil {
		err = errors.Join(err, s.hold.Close())
		s.hold = nil
	}
	if s.guard != nil {
		err = errors.Join(err, s.guard.close())
		s.guard = nil
	}
	return err
}

// give gives back the addresses of an end that is not connected.
func (s *Set) give(ctx context.Context, d *end) error {
	if _, err := os.Lstat(s.o.Dir.Of(d.Network.ID)); err != nil {
		return nil //nolint:nilerr // nothing is kept of the network
	}
	unlock, err := s.o.Dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	c := claims(s.o.Dir, d.Network.ID)
	for _, a := range d.had {
		if err := c.Give(a, s.o.Container); err != nil {
			return err
		}
	}
	d.had = nil
	return forgetUnused(s.o.Dir, d.Network.ID)
}

// Connect connects the container with one more network. If no program runs, it is connected when one does.
func (s *Set) Connect(ctx context.Context, w network.Wanted) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.ends, func(d *end) bool { return d.Network.ID == w.Network.ID }) {
		return errdef.Errorf(errdef.Exists, "endpoint with name %s already exists in network %s", s.o.Name, w.Network.Name)
	}
	d := &end{Wanted: w}
	if s.ns < 0 {
		s.ends = append(s.ends, d)
		return nil
	}
	s.ends = append(s.ends, d)
	err := s.claim(ctx, []*end{d})
	if err == nil {
		if err = link.Attach(&d.Network, d.e, s.ns); err != nil {
			err = withHint(errors.Join(err, s.release(ctx, []*end{d})), err)
		}
	}
	if err == nil {
		if err = s.reroute(ctx); err == nil {
			s.guard.Set(s.connected(), s.pid)
			err = s.files.Change(s.connected())
		}
	}
	if err != nil {
		_ = s.forget(ctx, d) // what is left of it is void, and healed
	}
	return err
}

// Disconnect disconnects the container from a network.
func (s *Set) Disconnect(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.ends, func(d *end) bool { return d.Network.ID == id })
	if at < 0 {
		return errdef.Errorf(errdef.NotFound, "container %s is not connected to the network", s.o.Name)
	}
	if err := s.forget(ctx, s.ends[at]); err != nil {
		return err
	}
	if s.ns < 0 {
		return nil
	}
	if err := s.reroute(ctx); err != nil {
		return err
	}
	s.guard.Set(s.connected(), s.pid)
	return s.files.Change(s.connected())
}

// forget disconnects an end and gives back what it has.
func (s *Set) forget(ctx context.Context, d *end) error {
	err := s.release(ctx, []*end{d})
	s.ends = slices.DeleteFunc(s.ends, func(o *end) bool { return o == d })
	return errors.Join(err, s.give(ctx, d))
}

// prefixOption is what the interfaces of a network are called in containers, before their number.
const prefixOption = "com.docker.network.container_iface_prefix"

// interfaceName is the first of eth0, eth1 ..., or of another prefix, that no end has or wishes.
func (s *Set) interfaceName(n *network.Network) string {
	prefix := n.Options[prefixOption]
	if prefix == "" {
		prefix = "eth"
	}
	for i := 0; ; i++ {
		name := prefix + strconv.Itoa(i)
		if !slices.ContainsFunc(s.ends, func(d *end) bool { return d.Wish.Interface == name || d.e != nil && d.e.Interface == name }) {
			return name
		}
	}
}

// Rename gives the container another name, by which others find it from then on.
func (s *Set) Rename(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Name = name
	if s.ns < 0 {
		return nil
	}
	unlock, err := s.o.Dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, d := range s.ends {
		if d.e == nil {
			continue
		}
		d.e.Name = name
		if err := s.o.Dir.Put(d.e); err != nil {
			return err
		}
	}
	return nil
}

// Ends returns what the container is connected with now.
func (s *Set) Ends() []network.Attached {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected()
}

func (s *Set) connected() []network.Attached {
	var out []network.Attached
	for _, d := range s.ends {
		if d.e != nil {
			e := *d.e
			out = append(out, network.Attached{Network: &d.Network, Endpoint: &e})
		}
	}
	return out
}
