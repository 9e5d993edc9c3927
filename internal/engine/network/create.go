package network

import (
	"context"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/address"
	"github.com/moby/moby/api/types/events"
	api "github.com/moby/moby/api/types/network"
)

// Create makes a network.
func (s *Service) Create(ctx context.Context, q api.CreateRequest) (api.CreateResponse, error) {
	var out api.CreateResponse
	if err := check(&q); err != nil {
		return out, err
	}
	if _, err := s.all(ctx); err != nil { // the default network has the first subnet
		return out, err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return out, err
	}
	defer unlock()
	s.sweep()
	r, err := s.plan(&q)
	if err != nil {
		return out, err
	}
	others, err := s.made()
	if err != nil {
		return out, err
	}
	if slices.ContainsFunc(others, func(o *Record) bool { return o.Name == r.Name }) {
		return out, errdef.Errorf(errdef.Exists, "network with name %s already exists", r.Name)
	}
	if i := slices.IndexFunc(others, func(o *Record) bool { return o.Bridge == r.Bridge }); i >= 0 {
		return out, errdef.Errorf(errdef.Conflict, "network %s: bridge name %s already in use by network %s", r.Name, r.Bridge, others[i].Name)
	}
	if err := s.subnets(r, q.IPAM, others); err != nil {
		return out, err
	}
	if err := s.keep(r); err != nil {
		return out, err
	}
	s.event(events.ActionCreate, r)
	out.ID = r.ID
	return out, nil
}

// first makes the default network.
func (s *Service) first(ctx context.Context) (*Record, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	others, err := s.made()
	if err != nil {
		return nil, err
	}
	for _, o := range others {
		if o.builtin {
			return o, nil
		}
	}
	r, err := s.plan(&api.CreateRequest{Name: network.Default})
	if err != nil {
		return nil, err
	}
	r.builtin, r.Between = true, false
	if err := s.subnets(r, nil, others); err != nil {
		return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "the default network: %w", err), errdef.Hint(err))
	}
	return r, s.keep(r)
}

// check refuses what cannot be, before anything is looked at.
func check(q *api.CreateRequest) error {
	switch {
	case q.Name == network.Default || q.Name == "host" || q.Name == "none" || q.Name == "default":
		return errdef.Errorf(errdef.Denied, "operation is not permitted on predefined %s network", q.Name)
	case !ValidName(q.Name):
		return errdef.Errorf(errdef.Invalid, "invalid network name: %.140q: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", q.Name)
	case q.Driver == hostDriver || q.Driver == nullDriver:
		return errdef.Errorf(errdef.Denied, "only one instance of %q network is allowed", q.Driver)
	case q.Driver != "" && q.Driver != bridgeDriver && q.Driver != "default":
		err := errdef.Errorf(errdef.Unsupported, "network driver %.64q: there is no such one", q.Driver)
		return errdef.WithHint(err, "the driver is "+bridgeDriver)
	case q.Scope != "" && q.Scope != "local":
		return errdef.Errorf(errdef.Unsupported, "network scope %.64q: there are no clusters: it is local", q.Scope)
	case q.Ingress:
		return errdef.Errorf(errdef.Unsupported, "ingress: is a cluster's")
	case q.ConfigOnly || q.ConfigFrom != nil && q.ConfigFrom.Network != "":
		return errdef.Errorf(errdef.Unsupported, "config-only, config-from: a network has its own configuration")
	}
	if q.IPAM == nil {
		return nil
	}
	if d := q.IPAM.Driver; d != "" && d != "default" {
		return errdef.Errorf(errdef.Unsupported, "ipam-driver %.64q: there is no such one", d)
	}
	if len(q.IPAM.Options) > 0 {
		return errdef.Errorf(errdef.Unsupported, "ipam-opt: the ipam driver has no options")
	}
	return nil
}

// ValidName reports whether a network may have the name: as containers and volumes.
func ValidName(s string) bool {
	return option.ValidName(s, 1, 128)
}

// plan is the record of a request, but for its subnets.
func (s *Service) plan(q *api.CreateRequest) (*Record, error) {
	r := &Record{Network: network.Network{
		ID: newID(), Name: q.Name, Created: time.Now().UTC(), Labels: q.Labels, Options: q.Options, Outside: !q.Internal, Between: true, Masquerade: !q.Internal,
		Policy: network.Policy{Open: true},
	}, Driver: bridgeDriver, Attachable: q.Attachable}
	r.Bridge = "bh-" + r.ID[:8]
	r.withoutIPv4 = q.EnableIPv4 != nil && !*q.EnableIPv4
	if err := setOptions(r, q.Options); err != nil {
		return nil, err
	}
	if q.EnableIPv6 != nil && *q.EnableIPv6 {
		r.Subnets = append(r.Subnets, network.Subnet{}) // a place for one
	}
	return r, nil
}

// subnets gives a network its subnets: those that were asked for, and chosen ones for families of which none was.
func (s *Service) subnets(r *Record, ipam *api.IPAM, others []*Record) error {
	v4, v6 := !r.withoutIPv4, len(r.Subnets) > 0
	r.Subnets = nil
	used := map[string][]netip.Prefix{}
	for _, o := range others {
		for _, sub := range o.Subnets {
			used["network "+o.Name] = append(used["network "+o.Name], sub.Prefix)
		}
	}
	host, err := address.Host()
	if err != nil {
		return err
	}
	if r.Options[bridgeName] == "" { // a bridge that is there has its addresses already
		used["the host"] = host
	}
	if ipam != nil {
		for _, c := range ipam.Config {
			if err := s.asked(r, c, used); err != nil {
				return err
			}
		}
	}
	if _, has := r.Subnet(true); has { // asked for by its subnet
		v6 = true
	}
	if _, has := r.Subnet(false); has && !v4 {
		return errdef.Errorf(errdef.Invalid, "network %s: an IPv4 subnet, and no IPv4", r.Name)
	}
	if !v4 && !v6 {
		return errdef.Errorf(errdef.Invalid, "network %s: IPv4 or IPv6 must be enabled", r.Name)
	}
	all := append([]netip.Prefix{}, host...)
	for _, list := range used {
		all = append(all, list...)
	}
	for _, f := range []struct{ want, six bool }{{v4, false}, {v6, true}} {
		if _, has := r.Subnet(f.six); has || !f.want {
			continue
		}
		if err := s.choose(r, f.six, all); err != nil {
			return err
		}
	}
	slices.SortFunc(r.Subnets, func(a, b network.Subnet) int { return a.Prefix.Addr().BitLen() - b.Prefix.Addr().BitLen() })
	return nil
}

// choose gives a network a subnet of a family that is free.
func (s *Service) choose(r *Record, six bool, used []netip.Prefix) error {
	pools := address.Pools()
	if six {
		p, err := address.Prefix48(filepath.Join(s.o.Root, "ipv6-prefix"))
		if err != nil {
			return err
		}
		pools = []address.Pool{{Base: p, Bits: 64}}
	}
	p, err := address.Choose(pools, used)
	if err != nil {
		return err
	}
	sub, err := address.Complete(network.Subnet{Prefix: p})
	r.Subnets = append(r.Subnets, sub)
	return err
}

// asked takes a subnet as it was asked for.
func (s *Service) asked(r *Record, c api.IPAMConfig, used map[string][]netip.Prefix) error {
	if !c.Subnet.IsValid() {
		if c.IPRange.IsValid() || c.Gateway.IsValid() || len(c.AuxAddress) > 0 {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "network %s: a gateway, ip-range or aux-address without a subnet", r.Name), "give --subnet too")
		}
		return nil
	}
	sub, err := address.Complete(network.Subnet{Prefix: c.Subnet, Gateway: c.Gateway, Range: c.IPRange, Auxiliary: c.AuxAddress})
	if err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "network %s: %w", r.Name, err), errdef.Hint(err))
	}
	if _, has := r.Subnet(sub.Prefix.Addr().Is6()); has {
		return errdef.Errorf(errdef.Unsupported, "network %s: has one subnet of each family, and no more", r.Name)
	}
	if err := address.Overlap(sub.Prefix, used); err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "network %s: %w", r.Name, err), errdef.Hint(err))
	}
	r.Subnets = append(r.Subnets, sub)
	return nil
}
