package network

import (
	"context"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/moby/moby/api/types/events"
	api "github.com/moby/moby/api/types/network"
)

// describe is a network in the types of the API.
func (r *Record) describe() api.Network {
	n := api.Network{
		Name: r.Name, ID: r.ID, Created: r.Created, Scope: "local", Driver: r.Driver, Internal: r.Driver == bridgeDriver && !r.Outside, Attachable: r.Attachable,
		Options: r.shown(), Labels: r.Labels, IPAM: api.IPAM{Driver: "default", Config: []api.IPAMConfig{}},
	}
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	_, n.EnableIPv4 = r.Subnet(false)
	_, n.EnableIPv6 = r.Subnet(true)
	n.EnableIPv4 = n.EnableIPv4 || r.Driver != bridgeDriver
	for _, s := range r.Subnets {
		n.IPAM.Config = append(n.IPAM.Config, api.IPAMConfig{Subnet: s.Prefix, IPRange: s.Range, Gateway: s.Gateway, AuxAddress: s.Auxiliary})
	}
	return n
}

// Inspect returns what is known of a network, and of the running containers that are connected with it.
func (s *Service) Inspect(ctx context.Context, name string) (api.Inspect, error) {
	r, err := s.find(ctx, name)
	if err != nil {
		return api.Inspect{}, err
	}
	out := api.Inspect{Network: r.describe(), Containers: map[string]api.EndpointResource{}}
	ends, err := s.ends(r.ID)
	for _, e := range ends {
		res := api.EndpointResource{Name: e.Name, EndpointID: e.ID, IPv4Address: e.IPv4, IPv6Address: e.IPv6}
		if merr := res.MacAddress.UnmarshalText([]byte(e.MAC)); merr != nil {
			return out, errdef.Errorf(errdef.Internal, "network %s: container %s: %w", r.Name, e.Name, merr)
		}
		out.Containers[e.Container] = res
	}
	return out, err
}

// ends are those of running containers.
func (s *Service) ends(id string) ([]*network.Endpoint, error) {
	all, err := s.o.Run.Endpoints(id)
	return slices.DeleteFunc(all, func(e *network.Endpoint) bool { return !s.o.Run.Alive(e.Container) }), err
}

// List returns the networks that pass the filters.
func (s *Service) List(ctx context.Context, f option.Filters) ([]api.Summary, error) {
	out := []api.Summary{}
	match, err := s.compile(f, []string{"dangling", "driver", "id", "label", "name", "scope", "type"})
	if err != nil {
		return out, err
	}
	all, err := s.all(ctx)
	if err != nil {
		return out, err
	}
	for _, r := range all {
		if match(r) {
			out = append(out, api.Summary{Network: r.describe()})
		}
	}
	return out, nil
}

// compile returns what a network must pass.
func (s *Service) compile(f option.Filters, known []string) (func(*Record) bool, error) {
	var tests []func(*Record) bool
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(known, key) {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "invalid filter '%.64s'", key), "filters are "+strings.Join(known, ", "))
		}
		test, err := s.filter(key, f[key])
		if err != nil {
			return nil, err
		}
		tests = append(tests, test)
	}
	return func(r *Record) bool {
		return !slices.ContainsFunc(tests, func(test func(*Record) bool) bool { return !test(r) })
	}, nil
}

// filter returns what a network must pass for one key.
func (s *Service) filter(key string, values []string) (func(*Record) bool, error) {
	one := func(is func(r *Record, v string) bool) func(*Record) bool {
		return func(r *Record) bool {
			return slices.ContainsFunc(values, func(v string) bool { return is(r, v) })
		}
	}
	switch key {
	case "dangling":
		return s.dangling(values)
	case "driver":
		return one(func(r *Record, v string) bool { return r.Driver == v }), nil
	case "id":
		return one(func(r *Record, v string) bool { return strings.Contains(r.ID, v) }), nil
	case "name":
		return one(func(r *Record, v string) bool { return strings.Contains(r.Name, v) }), nil
	case "scope":
		return one(func(_ *Record, v string) bool { return v == "local" }), nil
	case "type":
		for _, v := range values {
			if v != "custom" && v != "builtin" {
				return nil, errdef.Errorf(errdef.Invalid, "invalid filter: 'type'='%.64s': it is custom or builtin", v)
			}
		}
		return one(func(r *Record, v string) bool { return r.builtin == (v == "builtin") }), nil
	case "until":
		return until(values)
	}
	return func(r *Record) bool { // label, label!: all of them
		return !slices.ContainsFunc(values, func(v string) bool { return hasLabel(r.Labels, v) != (key == "label") })
	}, nil
}

func hasLabel(labels map[string]string, filter string) bool {
	key, want, valued := strings.Cut(filter, "=")
	value, ok := labels[key]
	return ok && (!valued || value == want)
}

func until(values []string) (func(*Record) bool, error) {
	var times []time.Time
	for _, v := range values {
		at, err := option.ParseTime(v, time.Now())
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "filter until: %w", err)
		}
		times = append(times, at)
	}
	return func(r *Record) bool {
		return !slices.ContainsFunc(times, func(at time.Time) bool { return !r.Created.Before(at) })
	}, nil
}

// dangling are networks that nobody is connected with and that somebody has made.
func (s *Service) dangling(values []string) (func(*Record) bool, error) {
	var wants []bool
	for _, v := range values {
		want, err := strconv.ParseBool(v)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "invalid filter 'dangling=%.64s': neither true nor false", v)
		}
		wants = append(wants, want)
	}
	return func(r *Record) bool {
		ends, err := s.ends(r.ID)
		return slices.Contains(wants, err == nil && len(ends) == 0 && !r.builtin)
	}, nil
}

// Remove removes a network that no running container is connected with.
func (s *Service) Remove(ctx context.Context, name string) error {
	r, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if r.builtin {
		return errdef.Errorf(errdef.Denied, "%s is a pre-defined network and cannot be removed", r.Name)
	}
	return s.remove(ctx, r)
}

func (s *Service) remove(ctx context.Context, r *Record) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.sweep()
	release, err := s.o.Run.Lock(ctx) // who connects looks under it whether the network is there
	if err != nil {
		return err
	}
	defer release()
	ends, err := s.ends(r.ID)
	if err != nil {
		return err
	}
	if len(ends) > 0 {
		var who []string
		for _, e := range ends {
			who = append(who, "name:"+strconv.Quote(e.Name)+" id:"+strconv.Quote(e.ID[:12]))
		}
		err := errdef.Errorf(errdef.Denied, "error while removing network: network %s has active endpoints (%s)", r.Name, strings.Join(who, ", "))
		return errdef.WithHint(err, "stop these containers, or disconnect them: network disconnect "+r.Name+" CONTAINER")
	}
	trash := s.path("." + r.ID + ".old")
	if err := os.Rename(s.path(r.ID), trash); err != nil {
		if os.IsNotExist(err) {
			return noSuch(r.Name) // by somebody else
		}
		return errdef.Errorf(errdef.Unavailable, "network %s: %w", r.Name, err)
	}
	s.event(events.ActionDestroy, r)
	if err := os.RemoveAll(trash); err != nil {
		return errdef.Errorf(errdef.Unavailable, "network %s: %w", r.Name, err)
	}
	return nil
}

// Prune removes the networks that no running container is connected with.
func (s *Service) Prune(ctx context.Context, f option.Filters) (api.PruneReport, error) {
	out := api.PruneReport{NetworksDeleted: []string{}}
	match, err := s.compile(f, []string{"label", "label!", "until"})
	if err != nil {
		return out, err
	}
	list, err := s.made()
	if err != nil {
		return out, err
	}
	for _, r := range list {
		if r.builtin || !match(r) {
			continue
		}
		err := s.remove(ctx, r)
		if errdef.Is(err, errdef.Denied) || errdef.Is(err, errdef.NotFound) {
			continue
		}
		if err != nil {
			return out, err
		}
		out.NetworksDeleted = append(out.NetworksDeleted, r.Name)
	}
	s.event(events.ActionPrune, &Record{Driver: bridgeDriver})
	return out, nil
}

// Connect connects a container with a network, at once if it runs, and whenever it is started.
func (s *Service) Connect(ctx context.Context, name string, q api.ConnectRequest) error {
	n, file, err := s.Find(ctx, name)
	if err != nil {
		return err
	}
	c, err := s.containers()
	if err != nil {
		return err
	}
	return c.Connect(ctx, q.Container, network.Wanted{Network: *n, Record: file}, q.EndpointConfig)
}

// Disconnect disconnects a container.
func (s *Service) Disconnect(ctx context.Context, name string, q api.DisconnectRequest) error {
	n, _, err := s.Find(ctx, name)
	if err != nil {
		return err
	}
	c, err := s.containers()
	if err != nil {
		return err
	}
	return c.Disconnect(ctx, q.Container, n, q.Force)
}

func (s *Service) containers() (Containers, error) {
	if s.o.Containers == nil {
		return nil, errdef.Errorf(errdef.Unsupported, "this engine has no containers")
	}
	return s.o.Containers()
}
