package attachment

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/address"
	"github.com/bulkhead-engine/bulkhead/internal/network/firewall"
	"github.com/bulkhead-engine/bulkhead/internal/network/link"
)

func claims(dir network.Dir, id string) address.Claims {
	return address.Claims{Dir: filepath.Join(dir.Of(id), "addresses"), Alive: dir.Alive}
}

// claim gives ends their addresses, writes them down, and makes what must be there before their devices. On an error nothing is written down.
func (s *Set) claim(ctx context.Context, list []*end) (err error) {
	unlock, err := s.o.Dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer func() {
		if err != nil {
			err = withHint(errors.Join(err, s.drop(list)), err)
		}
	}()
	for _, d := range list {
		if err := s.make(d); err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "network %s: %w", d.Network.Name, err), errdef.Hint(err))
		}
	}
	if len(list) == len(s.ends) { // else reroute does, when the devices are there
		s.choose()
	}
	if len(list) == len(s.ends) {
		if err := s.publish(); err != nil {
			return err
		}
	}
	for _, d := range list {
		if err := s.o.Dir.PutNetwork(&d.Network); err != nil {
			return err
		}
		if err := s.o.Dir.Put(d.e); err != nil {
			return err
		}
		if err := link.Bridge(s.o.Dir, &d.Network); err != nil {
			return err
		}
		if err := firewall.Forget(d.attached()); err != nil { // of somebody who was killed, and has had the address
			return err
		}
		if err := firewall.Add(d.attached()); err != nil {
			return err
		}
	}
	return nil
}

// publish takes the ports of the host that the container wants, for the end by which it leads outside. If that is another one than before, they are taken anew.
func (s *Set) publish() error {
	if len(s.o.Ports) == 0 {
		return nil
	}
	var portal *end
	for _, d := range s.ends {
		if d.e != nil && (d.e.Default4 || d.e.Default6 && portal == nil) {
			portal = d
		}
	}
	if portal == nil {
		err := errdef.Errorf(errdef.Conflict, "publish: no network of the container leads outside")
		return errdef.WithHint(err, "connect it with a network that is not internal, or publish nothing")
	}
	for _, d := range s.ends {
		if d.e != nil && d != portal {
			d.e.Ports = nil
		}
	}
	if s.hold != nil && s.portal != portal.Network.ID {
		_ = s.hold.Close() // sockets that nothing was written to
		s.hold = nil
	}
	if s.hold == nil {
		granted, hold, err := firewall.Publish(s.o.Ports, &portal.Network)
		if err != nil {
			return err
		}
		s.granted, s.hold, s.portal = granted, hold, portal.Network.ID
	}
	portal.e.Ports = s.granted
	return nil
}

// make decides what an end is.
func (s *Set) make(d *end) error {
	if d.Record != "" {
		if _, err := os.Lstat(d.Record); err != nil {
			return errdef.Errorf(errdef.NotFound, "network %s not found: it has been removed", d.Network.Name)
		}
	}
	var raw [32]byte
	_, _ = rand.Read(raw[:]) // which never fails
	e := &network.Endpoint{
		ID: hex.EncodeToString(raw[:]), Network: d.Network.ID, Container: s.o.Container, Name: s.o.Name, Hostname: s.o.Hostname, Wish: d.Wish, Policy: s.o.Policy,
		Group: s.guard.group(),
	}
	e.Device = "bh" + e.ID[:8]
	if e.Interface = d.Wish.Interface; e.Interface == "" {
		e.Interface = s.interfaceName(&d.Network)
	}
	if err := s.address(d, e); err != nil {
		return err
	}
	if e.MAC = d.Wish.MAC; e.MAC == "" {
		e.MAC = address.MAC(e.Addresses()[0])
	} else if err := s.alone(e); err != nil {
		return err
	}
	d.e = e
	return nil
}

// alone refuses a hardware address that another container on the network has: the bridge would take what is for the one to the other.
func (s *Set) alone(e *network.Endpoint) error {
	all, err := s.o.Dir.Endpoints(e.Network)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.MAC == e.MAC && o.Container != e.Container && s.o.Dir.Alive(o.Container) {
			return errdef.Errorf(errdef.Conflict, "mac-address %s: already in use by container %.64s", e.MAC, o.Name)
		}
	}
	return nil
}

// address claims what the end has for addresses.
func (s *Set) address(d *end, e *network.Endpoint) error {
	c := claims(s.o.Dir, d.Network.ID)
	for _, f := range []struct {
		v6      bool
		wish    netip.Addr
		out     *netip.Prefix
		gateway *netip.Addr
	}{{false, d.Wish.IPv4, &e.IPv4, &e.Gateway4}, {true, d.Wish.IPv6, &e.IPv6, &e.Gateway6}} {
		sub, ok := d.Network.Subnet(f.v6)
		if !ok {
			if f.wish.IsValid() {
				return errdef.Errorf(errdef.Invalid, "address %s: the network has no subnet of its family", f.wish)
			}
			continue
		}
		a, err := c.Take(sub, d.kept(sub, f.wish), s.o.Container)
		if err != nil {
			return err
		}
		if !slices.Contains(d.had, a) {
			d.had = append(d.had, a)
		}
		*f.out = netip.PrefixFrom(a, sub.Prefix.Bits())
		if d.Network.Outside {
			*f.gateway = sub.Gateway
		}
	}
	if len(e.Addresses()) == 0 {
		return errdef.Errorf(errdef.Invalid, "the network has no subnet")
	}
	return nil
}

// kept is the address that the container has had in its last run, if it wishes none.
func (d *end) kept(sub network.Subnet, wish netip.Addr) netip.Addr {
	if wish.IsValid() {
		return wish
	}
	for _, a := range d.had {
		if sub.Prefix.Contains(a) {
			return a
		}
	}
	return netip.Addr{}
}

// choose says which ends the default routes go by: of those that lead outside, the one of the highest priority; of several, the first.
func (s *Set) choose() {
	var best4, best6 *end
	for _, d := range s.ends {
		if d.e == nil {
			continue
		}
		d.e.Default4, d.e.Default6 = false, false
		if d.e.Gateway4.IsValid() && (best4 == nil || d.Wish.Priority > best4.Wish.Priority) {
			best4 = d
		}
		if d.e.Gateway6.IsValid() && (best6 == nil || d.Wish.Priority > best6.Wish.Priority) {
			best6 = d
		}
	}
	if best4 != nil {
		best4.e.Default4 = true
	}
	if best6 != nil {
		best6.e.Default6 = true
	}
}

// reroute makes the default routes what choose says now that an end has come or gone.
func (s *Set) reroute(ctx context.Context) error {
	unlock, err := s.o.Dir.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	before := map[*end]network.Endpoint{}
	for _, d := range s.ends {
		if d.e != nil {
			before[d] = *d.e
		}
	}
	s.choose()
	if err := s.publish(); err != nil && !errdef.Is(err, errdef.Conflict) { // the last way out is gone, as was wished: the ports are with it
		return err
	}
	var changed []*end
	for _, d := range s.ends {
		if d.e == nil {
			continue
		}
		old := before[d]
		if old.Default4 == d.e.Default4 && old.Default6 == d.e.Default6 && slices.Equal(old.Ports, d.e.Ports) {
			continue
		}
		changed = append(changed, d)
		if err := s.o.Dir.Put(d.e); err != nil {
			return err
		}
		if err := firewall.Remove(network.Attached{Network: &d.Network, Endpoint: &old}, false); err != nil {
			return err
		}
		if err := firewall.Add(d.attached()); err != nil {
			return err
		}
	}
	// Those that lose a route first: the kernel has one of each kind.
	for _, gains := range []bool{false, true} {
		for _, d := range changed {
			e := *d.e
			if !gains {
				e.Default4, e.Default6 = e.Default4 && before[d].Default4, e.Default6 && before[d].Default6
			}
			if err := link.Route(&e, s.ns); err != nil {
				return err
			}
		}
	}
	return nil
}

// release disconnects ends. What one of them had is kept for it.
func (s *Set) release(ctx context.Context, list []*end) error {
	var err error
	for _, d := range list {
		if d.e != nil {
			err = errors.Join(err, link.Detach(&d.Network, d.e))
		}
	}
	unlock, lerr := s.o.Dir.Lock(ctx)
	if lerr != nil {
		return errors.Join(err, lerr)
	}
	defer unlock()
	return errors.Join(err, s.drop(list))
}

// drop forgets ends. The caller has the lock.
func (s *Set) drop(list []*end) error {
	var err error
	for _, d := range list {
		if d.e == nil {
			continue
		}
		err = errors.Join(err, forgetEnd(s.o.Dir, d.attached()))
		d.e = nil
	}
	return err
}
