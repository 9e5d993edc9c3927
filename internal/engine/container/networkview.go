package container

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	api "github.com/moby/moby/api/types/container"
	apinet "github.com/moby/moby/api/types/network"
)

// hostOf is a line of --add-host.
func hostOf(name, address string) (network.Name, error) {
	if address == "host-gateway" {
		return network.Name{Name: name}, nil
	}
	a, err := netip.ParseAddr(strings.Trim(address, "[]"))
	if err != nil {
		return network.Name{}, errdef.Errorf(errdef.Invalid, "add-host %.128s: %.64q is no address", name, address)
	}
	return network.Name{Name: name, Addr: a}, nil
}

// ends are what a container that runs has of its networks, by network.
func (v *view) ends() map[string]*network.Endpoint {
	out := map[string]*network.Endpoint{}
	if !v.Alive {
		return out
	}
	for _, j := range v.Networks {
		if e, err := v.net.Endpoint(j.ID, v.ID); err == nil {
			out[j.ID] = e
		}
	}
	return out
}

// networks are Docker's: what was asked for, and what the container has of it if it runs.
func (v *view) networks() map[string]*apinet.EndpointSettings {
	mode := netMode(&v.Record)
	if mode == modeHost || mode == modeNone {
		return map[string]*apinet.EndpointSettings{mode: {NetworkID: mode}}
	}
	out := map[string]*apinet.EndpointSettings{}
	ends := v.ends()
	for _, j := range v.Networks {
		s := &apinet.EndpointSettings{NetworkID: j.ID, Aliases: j.Wish.Aliases, GwPriority: j.Wish.Priority}
		if w := j.Wish; w.IPv4.IsValid() || w.IPv6.IsValid() || len(w.LinkLocal) > 0 {
			s.IPAMConfig = &apinet.EndpointIPAMConfig{IPv4Address: w.IPv4, IPv6Address: w.IPv6, LinkLocalIPs: w.LinkLocal}
		}
		for alias, id := range j.Wish.Links {
			s.Links = append(s.Links, id[:12]+":"+alias)
		}
		slices.Sort(s.Links)
		if j.Name != network.Default {
			s.DNSNames = append(append([]string{v.Name}, j.Wish.Aliases...), v.ID[:12])
			if h := v.Config.Hostname; h != "" && !slices.Contains(s.DNSNames, h) {
				s.DNSNames = append(s.DNSNames, h)
			}
		}
		if e := ends[j.ID]; e != nil {
			s.EndpointID, s.Gateway, s.IPv6Gateway = e.ID, e.Gateway4, e.Gateway6
			_ = s.MacAddress.UnmarshalText([]byte(e.MAC)) // our own
			if e.IPv4.IsValid() {
				s.IPAddress, s.IPPrefixLen = e.IPv4.Addr(), e.IPv4.Bits()
			}
			if e.IPv6.IsValid() {
				s.GlobalIPv6Address, s.GlobalIPv6PrefixLen = e.IPv6.Addr(), e.IPv6.Bits()
			}
		}
		out[j.Name] = s
	}
	return out
}

// ports are Docker's: the published ones of a container that runs, and those that are exposed only.
func (v *view) ports() apinet.PortMap {
	out := apinet.PortMap{}
	if !v.Alive || !ownNetwork(&v.Record) {
		return out
	}
	for p := range v.Config.ExposedPorts {
		out[p] = nil
	}
	for _, e := range v.ends() {
		for _, p := range e.Ports {
			port, ok := apinet.PortFrom(p.Container, apinet.IPProtocol(p.Protocol))
			if ok {
				out[port] = append(out[port], apinet.PortBinding{HostIP: p.Host, HostPort: strconv.Itoa(int(p.First))})
			}
		}
	}
	for _, list := range out {
		slices.SortFunc(list, func(a, b apinet.PortBinding) int { return a.HostIP.Compare(b.HostIP) })
	}
	return out
}

// portList is ports as `ps` has them.
func (v *view) portList() []api.PortSummary {
	out := []api.PortSummary{}
	for p, list := range v.ports() {
		if len(list) == 0 {
			out = append(out, api.PortSummary{PrivatePort: p.Num(), Type: string(p.Proto())})
		}
		for _, b := range list {
			n, _ := strconv.ParseUint(b.HostPort, 10, 16) // our own
			out = append(out, api.PortSummary{IP: b.HostIP, PrivatePort: p.Num(), PublicPort: uint16(n), Type: string(p.Proto())})
		}
	}
	slices.SortFunc(out, func(a, b api.PortSummary) int {
		if a.PrivatePort != b.PrivatePort {
			return int(a.PrivatePort) - int(b.PrivatePort)
		}
		return strings.Compare(a.Type+a.IP.String(), b.Type+b.IP.String())
	})
	return out
}

// netSettings are those of inspect.
func (v *view) netSettings() *api.NetworkSettings {
	out := &api.NetworkSettings{Ports: v.ports(), Networks: v.networks()}
	if v.Alive && v.State.PID > 0 && ownNetwork(&v.Record) {
		out.SandboxID, out.SandboxKey = v.ID, "/proc/"+strconv.Itoa(v.State.PID)+"/ns/net"
	}
	return out
}
