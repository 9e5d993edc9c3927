package resolver

import (
	"net/netip"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
)

// shortID is how much of a container's id is a name of it, as `ps` shows it.
const shortID = 12

// Of returns what a container can see: the ends of the networks that it is on itself, from the files of package network. On a network whose containers do not reach each other it sees
// itself only.
func Of(dir network.Dir, container string) *Watch {
	return NewWatch(func() (*Table, []string, error) { return read(dir, container) })
}

// For makes the configuration of a container's resolver.
func For(o *network.Orders, f *Files, p Policy) Config {
	c := Config{Names: Of(o.Dir, o.Container), Policy: p, Options: o.DNS.Options}
	for _, a := range o.DNS.Servers {
		c.Servers = append(c.Servers, netip.AddrPortFrom(a, dnsPort))
	}
	if f != nil {
		c.Changed = f.host
	}
	return c
}

// read makes a table of the files, and says which directories it depends on: those of networks that the container is not on are among them, as it may come to one.
func read(dir network.Dir, container string) (*Table, []string, error) {
	ids, err := dir.Networks()
	if err != nil {
		return nil, nil, err
	}
	t := &Table{}
	dirs := []string{string(dir)}
	for _, id := range ids {
		dirs = append(dirs, dir.Of(id), dir.EndsOf(id))
		own, err := dir.Endpoint(id, container)
		if errdef.Is(err, errdef.NotFound) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		n, err := dir.Network(id)
		if errdef.Is(err, errdef.NotFound) {
			continue // its last end is going
		}
		if err != nil {
			return nil, nil, err
		}
		ends := []*network.Endpoint{own}
		if n.Between {
			if ends, err = dir.Endpoints(id); err != nil {
				return nil, nil, err
			}
		}
		t.fill(n, own, ends)
	}
	return t, dirs, nil
}

// fill adds what is seen of a network from one end of it.
func (t *Table) fill(n *network.Network, own *network.Endpoint, ends []*network.Endpoint) {
	var prefixes []netip.Prefix
	for _, s := range n.Subnets {
		prefixes = append(prefixes, s.Prefix)
	}
	t.Network(n.Name, prefixes...)
	t.Out = t.Out || n.Outside
	for _, e := range ends {
		t.Add(n.Name, append([]string{e.Name}, e.Wish.Aliases...), e.Addresses())
		for alias, of := range own.Wish.Links {
			if of = strings.TrimPrefix(of, "/"); of == e.Name || len(of) >= shortID && strings.HasPrefix(e.Container, of) {
				t.Add(n.Name, []string{alias}, e.Addresses())
			}
		}
	}
	// What a container calls itself, and its id, are names only where nobody has them as a name that was given.
	for _, e := range ends {
		t.AddLesser(n.Name, []string{e.Hostname, e.Container[:min(shortID, len(e.Container))]}, e.Addresses())
	}
}
