package container

import (
	"context"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	api "github.com/moby/moby/api/types/container"
	apinet "github.com/moby/moby/api/types/network"
)

// Networks is what containers ask of networks: the service of networks.
type Networks interface {
	// Find returns a network, and the file without which it has been removed.
	Find(ctx context.Context, name string) (*network.Network, string, error)
}

// A Joined is a network that a container is to be in.
type Joined struct {
	ID   string
	Name string
	Wish network.Wish
}

// Options of an end of a network, Docker's names.
const (
	endInterface = "com.docker.network.endpoint.ifname"
	endSysctls   = "com.docker.network.endpoint.sysctls"
)

// Modes of a container's network that are no network's name.
const (
	modeHost = "host"
	modeNone = "none"
)

func (s *Service) netDir() network.Dir { return network.Dir(filepath.Join(s.o.Run, "network")) }

// netMode is the mode of a container's network: what was asked for, or what the level of its defaults has.
func netMode(r *Record) string {
	switch m := string(r.Host.NetworkMode); {
	case m != "" && m != "default":
		return m
	case r.Host.Annotations[egressKey] != "":
		return network.Default
	}
	if o, err := assemble.ParseOptions(r.Host.SecurityOpt); err == nil && o.Level == defaults.Untrusted {
		return modeNone
	}
	return network.Default
}

// ownNetwork reports whether the container's network namespace is one that the engine connects.
func ownNetwork(r *Record) bool {
	m := netMode(r)
	return m != modeHost && m != modeNone && !strings.HasPrefix(m, "container:") && !strings.HasPrefix(m, "ns:")
}

// joinNetworks finds the networks that are asked for, and keeps what is asked of each: first the one of the mode, then the others by name.
func (s *Service) joinNetworks(ctx context.Context, r *Record, asked map[string]*apinet.EndpointSettings) error {
	mode := netMode(r)
	names := slices.Sorted(maps.Keys(asked))
	names = slices.DeleteFunc(names, func(n string) bool { return n == "default" || n == mode })
	if !ownNetwork(r) {
		if len(names) > 0 {
			return errdef.Errorf(errdef.Invalid, "network %.64q: conflicting options: a container with network %s is in no other", names[0], mode)
		}
		return refuseWithout(r, mode, asked)
	}
	if s.rt.Rootless {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "network %.64q: networks of a user without root are not there yet", mode), "--network none")
	}
	for _, name := range append([]string{mode}, names...) {
		n, _, err := s.o.Networks.Find(ctx, name)
		if err != nil {
			return err
		}
		e := asked[name]
		if e == nil && name == mode {
			e = asked["default"]
		}
		j, err := s.joined(n, e)
		if err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "network %s: %w", n.Name, err), errdef.Hint(err))
		}
		if slices.ContainsFunc(r.Networks, func(o Joined) bool { return o.ID == j.ID }) {
			return errdef.Errorf(errdef.Invalid, "network %s is asked for twice", n.Name)
		}
		r.Networks = append(r.Networks, j)
	}
	_, _, err := wants(r)
	return err
}

// refuseWithout refuses what has no meaning without a network of the engine's.
func refuseWithout(r *Record, mode string, asked map[string]*apinet.EndpointSettings) error {
	for _, e := range asked {
		if e != nil && (e.IPAMConfig != nil || len(e.MacAddress)+len(e.Aliases)+len(e.Links)+len(e.DriverOpts) > 0) {
			return errdef.Errorf(errdef.Invalid, "conflicting options: network %s has no addresses, names and options of the container's own", mode)
		}
	}
	if h := &r.Host; strings.HasPrefix(mode, "container:") { // it has the files of the other container
		switch {
		case len(h.DNS)+len(h.DNSSearch)+len(h.DNSOptions) > 0:
			return errdef.Errorf(errdef.Invalid, "conflicting options: dns and the network mode")
		case len(h.ExtraHosts) > 0:
			return errdef.Errorf(errdef.Invalid, "conflicting options: custom host-to-IP mapping and the network mode")
		}
	}
	if len(r.Host.PortBindings) > 0 || r.Host.PublishAllPorts {
		switch {
		case strings.HasPrefix(mode, "container:"):
			return errdef.Errorf(errdef.Invalid, "conflicting options: port publishing and the container type network mode")
		case mode == modeHost:
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "conflicting options: port publishing and network host: its ports are the host's"), "leave -p away")
		}
		err := errdef.Errorf(errdef.Invalid, "conflicting options: port publishing and network %s", mode)
		return errdef.WithHint(err, "--network bridge; at level untrusted, --egress none with it has published ports and nothing else")
	}
	if r.Host.Annotations[egressKey] != "" {
		return errdef.Errorf(errdef.Invalid, "conflicting options: egress and network %s", mode)
	}
	return nil
}

// joined is what is asked of one network, which may be nothing.
func (s *Service) joined(n *network.Network, e *apinet.EndpointSettings) (Joined, error) {
	j := Joined{ID: n.ID, Name: n.Name}
	if e == nil {
		return j, nil
	}
	w := &j.Wish
	if i := e.IPAMConfig; i != nil {
		w.IPv4, w.IPv6, w.LinkLocal = i.IPv4Address, i.IPv6Address, i.LinkLocalIPs
	}
	if len(e.MacAddress) > 0 {
		w.MAC = e.MacAddress.String()
	}
	w.Aliases, w.Priority = e.Aliases, e.GwPriority
	if n.Name == network.Default && len(e.Aliases)+len(e.Links) > 0 {
		err := errdef.Errorf(errdef.Invalid, "network-scoped alias is supported only for containers in user defined networks")
		return j, errdef.WithHint(err, "network create NAME, and --network NAME")
	}
	for _, l := range e.Links {
		to, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = to
		}
		c, err := s.Get(to)
		if err != nil {
			return j, err
		}
		if w.Links == nil {
			w.Links = map[string]string{}
		}
		w.Links[alias] = c.ID
	}
	for _, key := range slices.Sorted(maps.Keys(e.DriverOpts)) {
		value := e.DriverOpts[key]
		switch key {
		case endInterface:
			w.Interface = value
		case endSysctls:
			w.Sysctls = map[string]string{}
			for kv := range strings.SplitSeq(value, ",") {
				k, v, ok := strings.Cut(kv, "=")
				if !ok {
					return j, errdef.Errorf(errdef.Invalid, "driver-opt %s=%.128q: wants NAME=VALUE,...", key, value)
				}
				w.Sysctls[k] = v
			}
		default:
			return j, errdef.WithHint(errdef.Errorf(errdef.Unsupported, "driver-opt %.128q: there is no such one", key), endInterface+", "+endSysctls)
		}
	}
	return j, nil
}

// wants are the ports that a container publishes, and what it may reach.
func wants(r *Record) (ports []network.Port, policy network.Policy, err error) {
	policy, err = egressOf(r)
	if err != nil {
		return nil, policy, err
	}
	for p, bindings := range r.Host.PortBindings {
		if len(bindings) == 0 {
			bindings = []apinet.PortBinding{{}}
		}
		for _, b := range bindings {
			port := network.Port{Protocol: string(p.Proto()), Container: p.Num(), Host: b.HostIP}
			if port.First, port.Last, err = hostPorts(b.HostPort); err != nil {
				return nil, policy, err
			}
			ports = append(ports, port)
		}
	}
	if r.Host.PublishAllPorts {
		for p := range r.Config.ExposedPorts {
			if len(r.Host.PortBindings[p]) == 0 {
				ports = append(ports, network.Port{Protocol: string(p.Proto()), Container: p.Num()})
			}
		}
	}
	slices.SortFunc(ports, func(a, b network.Port) int { // fixed ones first: a free one is not to be one that is asked for
		if (a.First == 0) != (b.First == 0) {
			if a.First == 0 {
				return 1
			}
			return -1
		}
		return int(a.Container) - int(b.Container)
	})
	return ports, policy, nil
}

// hostPorts reads PORT or FIRST-LAST; nothing is any that is free.
func hostPorts(text string) (first, last uint16, err error) {
	if text == "" || text == "0" {
		return 0, 0, nil
	}
	a, b, many := strings.Cut(text, "-")
	if !many {
		b = a
	}
	low, err1 := strconv.ParseUint(a, 10, 16)
	high, err2 := strconv.ParseUint(b, 10, 16)
	if err1 != nil || err2 != nil || low == 0 || high < low {
		return 0, 0, errdef.Errorf(errdef.Invalid, "publish: invalid port specification: %.64q", text)
	}
	return uint16(low), uint16(high), nil
}

// netOrders are what the monitor is to do about networks; nil: nothing.
func (s *Service) netOrders(ctx context.Context, c *Container) (*network.Orders, error) {
	if !ownNetwork(&c.Record) {
		return nil, nil
	}
	r := &c.Record
	ports, policy, err := wants(r)
	if err != nil {
		return nil, err
	}
	joins := r.Networks
	if len(joins) == 0 && !r.Disconnected { // of an engine that had no networks
		n, _, err := s.o.Networks.Find(ctx, netMode(r))
		if err != nil {
			return nil, err
		}
		joins = []Joined{{ID: n.ID, Name: n.Name}}
	}
	o := &network.Orders{
		Dir: s.netDir(), Container: r.ID, Name: r.Name, Hostname: hostname(r), Domain: r.Config.Domainname, Ports: ports, Policy: policy,
		Files: network.Files{Hosts: filepath.Join(s.dir(r.ID), "hosts"), Resolv: filepath.Join(s.dir(r.ID), "resolv.conf")},
		DNS:   network.DNS{Servers: r.Host.DNS, Search: r.Host.DNSSearch, Options: r.Host.DNSOptions},
	}
	for _, j := range joins {
		n, file, err := s.o.Networks.Find(ctx, j.ID)
		if err != nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "network %s not found: it has been removed", j.Name), "network disconnect "+j.Name+" "+r.Name)
		}
		o.Networks = append(o.Networks, network.Wanted{Network: *n, Record: file, Wish: j.Wish})
	}
	o.Hosts, err = extraHosts(&r.Host)
	return o, err
}

// Connect connects a container with a network: at once if it runs, and whenever it is started.
func (s *Service) Connect(ctx context.Context, name string, w network.Wanted, asked *apinet.EndpointSettings) error {
	c, unlock, err := s.toConnect(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	if slices.ContainsFunc(c.Networks, func(j Joined) bool { return j.ID == w.Network.ID }) {
		return errdef.Errorf(errdef.Denied, "endpoint with name %s already exists in network %s", c.Name, w.Network.Name)
	}
	j, err := s.joined(&w.Network, asked)
	if err != nil {
		return err
	}
	w.Wish = j.Wish
	if c.Alive {
		if err := s.tell(ctx, c.ID, control.Request{Op: "connect", Network: &w}); err != nil {
			return err
		}
	}
	r := c.Record
	r.Networks = append(slices.Clone(r.Networks), j)
	return s.write(s.dir(c.ID), &r)
}

// Disconnect disconnects a container. With force, one that is not there or not connected is fine.
func (s *Service) Disconnect(ctx context.Context, name string, n *network.Network, force bool) error {
	c, unlock, err := s.toConnect(ctx, name)
	if errdef.Is(err, errdef.NotFound) && force {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	at := slices.IndexFunc(c.Networks, func(j Joined) bool { return j.ID == n.ID })
	if at < 0 {
		if force {
			return nil
		}
		return errdef.Errorf(errdef.Denied, "container %s is not connected to the network %s", c.Name, n.Name)
	}
	if c.Alive {
		err := s.tell(ctx, c.ID, control.Request{Op: "disconnect", Network: &network.Wanted{Network: *n}})
		if err != nil && !errdef.Is(err, errdef.NotFound) {
			return err
		}
	}
	r := c.Record
	r.Networks = slices.Delete(slices.Clone(r.Networks), at, at+1)
	r.Disconnected = true
	return s.write(s.dir(c.ID), &r)
}

// toConnect opens a container that may be connected, and locks it against starts and removals.
func (s *Service) toConnect(ctx context.Context, name string) (*Container, func(), error) {
	id, err := s.Resolve(name)
	if err != nil {
		return nil, nil, err
	}
	lock, err := s.lock(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	c, err := s.get(id)
	if err == nil && !ownNetwork(&c.Record) {
		switch mode := netMode(&c.Record); mode {
		case modeNone:
			err = errdef.Errorf(errdef.Denied, "container cannot be connected to multiple networks with one of the networks in private (none) mode")
		case modeHost:
			err = errdef.Errorf(errdef.Denied, "container cannot be disconnected from host network or connected to host network")
		default:
			err = errdef.Errorf(errdef.Denied, "container sharing network namespace with another container or host cannot be connected to any other network")
		}
	}
	if err != nil {
		_ = lock.Close()
		return nil, nil, err
	}
	return c, func() { _ = lock.Close() }, nil
}

// tell asks something of a monitor.
func (s *Service) tell(ctx context.Context, id string, q control.Request) error {
	conn, err := control.Dial(ctx, s.runDir(id), q)
	if err != nil {
		return err
	}
	return conn.Close()
}

// healNetworks removes what killed monitors have left of networks. The monitor's program does it, which has what is needed for that.
func (s *Service) healNetworks(ctx context.Context) error {
	any, err := s.netDir().Networks()
	if err != nil || len(any) == 0 {
		return err
	}
	program, err := s.program()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, program, "--heal", string(s.netDir())).CombinedOutput()
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "networks: remove what killed monitors have left: %w: %.512s", err, out)
	}
	return nil
}

// healRemains heals if something of the networks of a container that does not run is left.
func (s *Service) healRemains(ctx context.Context, id string) error {
	left, err := filepath.Glob(filepath.Join(string(s.netDir()), "*", "endpoints", id))
	if err != nil || len(left) == 0 {
		return err
	}
	return s.healNetworks(ctx)
}

// hostname is what the container calls itself.
func hostname(r *Record) string {
	if r.Config.Hostname != "" {
		return r.Config.Hostname
	}
	return r.ID[:12]
}

// extraHosts are those of --add-host.
func extraHosts(h *api.HostConfig) ([]network.Name, error) {
	var out []network.Name
	for _, extra := range h.ExtraHosts {
		name, address, ok := strings.Cut(extra, ":")
		if !ok {
			return nil, errdef.Errorf(errdef.Invalid, "add-host %.128q: wants HOST:ADDRESS", extra)
		}
		n, err := hostOf(name, address)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}
