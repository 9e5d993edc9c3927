package runflags

import (
	"encoding/csv"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/pflag"
)

// Options of an end of a network, Docker's names.
const (
	optionInterface = "com.docker.network.endpoint.ifname"
	optionSysctls   = "com.docker.network.endpoint.sysctls"
)

// Egress is the annotation that carries --egress: words with commas between.
const Egress = "bulkhead.egress"

// An Endpoint is what the flags say of a container in one network: those of `network connect`.
type Endpoint struct {
	ip, ip6, mac       string
	aliases, linkLocal []string
	links, options     []string
	priority           int
}

// Register adds the flags.
func (e *Endpoint) Register(s *pflag.FlagSet) {
	s.StringVar(&e.ip, "ip", "", "IPv4 address in the network")
	s.StringVar(&e.ip6, "ip6", "", "IPv6 address in the network")
	s.StringVar(&e.mac, "mac-address", "", "hardware address in the network")
	s.StringArrayVar(&e.aliases, "alias", nil, "a further name of the container in the network")
	s.StringArrayVar(&e.links, "link", nil, "CONTAINER[:ALIAS]: a name that the container has for another")
	s.StringArrayVar(&e.linkLocal, "link-local-ip", nil, "a link-local address besides")
	s.StringArrayVar(&e.options, "driver-opt", nil, "KEY=VALUE for the driver")
	s.IntVar(&e.priority, "gw-priority", 0, "the network with the highest one has the default route")
}

// Settings are what they ask for.
func (e *Endpoint) Settings() (*network.EndpointSettings, error) {
	out := &network.EndpointSettings{Aliases: e.aliases, Links: e.links, GwPriority: e.priority}
	ipam := network.EndpointIPAMConfig{}
	for _, f := range []struct {
		flag, text string
		six        bool
		into       *netip.Addr
	}{{"ip", e.ip, false, &ipam.IPv4Address}, {"ip6", e.ip6, true, &ipam.IPv6Address}} {
		if f.text == "" {
			continue
		}
		a, err := netip.ParseAddr(f.text)
		if err != nil || a.Is4() == f.six || a.Zone() != "" {
			return nil, bad(f.flag, f.text, "is no address of its family")
		}
		*f.into = a
	}
	for _, text := range e.linkLocal {
		a, err := netip.ParseAddr(text)
		if err != nil || !a.IsLinkLocalUnicast() {
			return nil, bad("link-local-ip", text, "is no link-local address")
		}
		ipam.LinkLocalIPs = append(ipam.LinkLocalIPs, a)
	}
	if ipam.IPv4Address.IsValid() || ipam.IPv6Address.IsValid() || len(ipam.LinkLocalIPs) > 0 {
		out.IPAMConfig = &ipam
	}
	if e.mac != "" {
		hw, err := net.ParseMAC(e.mac)
		if err != nil || len(hw) != 6 {
			return nil, bad("mac-address", e.mac, "wants six pairs of hexadecimal digits")
		}
		out.MacAddress = network.HardwareAddr(hw)
	}
	for _, o := range e.options {
		key, value, ok := strings.Cut(o, "=")
		if !ok || key == "" {
			return nil, bad("driver-opt", o, "wants KEY=VALUE")
		}
		if out.DriverOpts == nil {
			out.DriverOpts = map[string]string{}
		}
		out.DriverOpts[key] = value
	}
	return out, nil
}

// either collects the values of flags that have two names: those of pflag forget what the other name has got.
type either []string

func (e *either) String() string { return strings.Join(*e, ",") }
func (e *either) Type() string   { return "stringArray" }
func (e *either) Set(text string) error {
	*e = append(*e, text)
	return nil
}

// networkFlags are those of run and create.
type networkFlags struct {
	networks, publish, egress []string
	all                       bool
	first                     Endpoint // of the first network
}

func (f *networkFlags) register(s *pflag.FlagSet) {
	s.Var((*either)(&f.networks), "network", "a network: NAME[:ip=,mac=,alias=...], name=NAME,ip=,alias=..., none, host, container:NAME, ns:PATH; several may be given")
	s.Var((*either)(&f.networks), "net", "the same")
	s.StringArrayVarP(&f.publish, "publish", "p", nil, "[[ADDRESS:]HOSTPORT:]PORT[/PROTOCOL]: a port of the container that the host passes on; without an address, of 127.0.0.1 and ::1")
	s.BoolVarP(&f.all, "publish-all", "P", false, "publish all exposed ports, each on a free port of the host")
	s.StringVar(&f.first.ip, "ip", "", "IPv4 address in the network")
	s.StringVar(&f.first.ip6, "ip6", "", "IPv6 address in the network")
	s.StringVar(&f.first.mac, "mac-address", "", "hardware address in the network")
	s.StringArrayVar(&f.first.linkLocal, "link-local-ip", nil, "a link-local address besides")
	s.StringArrayVar(&f.first.links, "link", nil, "CONTAINER[:ALIAS]: a name that the container has for another, in a network that somebody has made")
	s.Var((*either)(&f.first.aliases), "network-alias", "a further name of the container in the network")
	s.Var((*either)(&f.first.aliases), "net-alias", "the same")
	s.StringArrayVar(&f.egress, "egress", nil, "what the container may reach, and nothing else: none, HOST[:PORT], ADDRESS[/BITS][:PORT]; metadata opens that of clouds")
}

// endpoints gives the request its networks: by name, with what is asked of each.
func (f *networkFlags) endpoints(h *container.HostConfig) (map[string]*network.EndpointSettings, error) {
	out := map[string]*network.EndpointSettings{}
	for i, text := range f.networks {
		name, e, err := parseNetwork(text)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			h.NetworkMode = container.NetworkMode(name)
			if err := f.merge(e); err != nil {
				return nil, err
			}
			e = &f.first
		}
		if _, twice := out[name]; twice {
			return nil, bad("network", text, "network \""+name+"\" is specified multiple times")
		}
		if len(f.networks) > 1 && (name == "host" || name == "none" || strings.HasPrefix(name, "container:") || strings.HasPrefix(name, "ns:")) {
			return nil, bad("network", text, "conflicting options: cannot attach both user-defined and non-user-defined network-modes")
		}
		if out[name], err = e.Settings(); err != nil {
			return nil, err
		}
	}
	if len(f.networks) == 0 {
		s, err := f.first.Settings()
		if err != nil {
			return nil, err
		}
		out["default"] = s
	}
	return out, nil
}

// merge puts what a value of --network says to what other flags say of the first network.
func (f *networkFlags) merge(e *Endpoint) error {
	for _, v := range []struct {
		flag    string
		of, own *string
	}{{"ip", &e.ip, &f.first.ip}, {"ip6", &e.ip6, &f.first.ip6}, {"mac-address", &e.mac, &f.first.mac}} {
		if *v.of != "" && *v.own != "" {
			return bad(v.flag, *v.own, "conflicting options: cannot specify both --"+v.flag+" and per-network "+v.flag)
		}
		if *v.of != "" {
			*v.own = *v.of
		}
	}
	f.first.aliases = append(f.first.aliases, e.aliases...)
	f.first.linkLocal = append(f.first.linkLocal, e.linkLocal...)
	f.first.links = append(f.first.links, e.links...)
	f.first.options = append(f.first.options, e.options...)
	f.first.priority = e.priority
	return nil
}

// parseNetwork reads a value of --network: a name, Docker's name=NAME,KEY=VALUE..., or Podman's NAME:KEY=VALUE,...
func parseNetwork(text string) (name string, e *Endpoint, err error) {
	e = &Endpoint{}
	rest := ""
	switch head, tail, colon := strings.Cut(text, ":"); {
	case head == "container" || head == "ns":
		return text, e, nil
	case colon && !strings.Contains(head, "="):
		name, rest = head, tail
	case strings.Contains(text, "="):
		rest = text
	default:
		if text == "" {
			err = bad("network", text, "invalid value: is empty")
		}
		return text, e, err
	}
	fields, cerr := csv.NewReader(strings.NewReader(rest)).Read()
	if cerr != nil {
		return "", nil, bad("network", text, "wants KEY=VALUE,...")
	}
	for _, field := range fields {
		key, value, ok := strings.Cut(strings.TrimSpace(field), "=")
		if !ok || value == "" {
			return "", nil, bad("network", text, "invalid field "+strconv.Quote(field))
		}
		switch key = strings.ToLower(key); key {
		case "name":
			name = value
		case "interface_name":
			e.options = append(e.options, optionInterface+"="+value)
		default:
			if err := e.field(key, value); err != nil {
				return "", nil, bad("network", text, err.Error())
			}
		}
	}
	if name == "" {
		return "", nil, bad("network", text, "network name/id is not specified")
	}
	return name, e, nil
}

// field takes one KEY=VALUE.
func (e *Endpoint) field(key, value string) (err error) {
	switch key {
	case "alias":
		e.aliases = append(e.aliases, value)
	case "ip", "ipv4":
		if a, perr := netip.ParseAddr(value); perr == nil && a.Is6() { // Podman has one word for both
			e.ip6 = value
			break
		}
		e.ip = value
	case "ip6", "ipv6":
		e.ip6 = value
	case "mac", "mac-address":
		e.mac = value
	case "link-local-ip":
		e.linkLocal = append(e.linkLocal, value)
	case "driver-opt", "opt":
		e.options = append(e.options, value)
	case "gw-priority":
		if e.priority, err = strconv.Atoi(value); err != nil {
			return errText("invalid gw-priority (" + value + "): it is no number")
		}
	default:
		return errText("invalid field key " + strconv.Quote(key))
	}
	return nil
}

type errText string

func (e errText) Error() string { return string(e) }

// apply puts networks, ports and the egress policy into the request.
func (f *networkFlags) apply(q *Request) (err error) {
	q.Host.PublishAllPorts = f.all
	if q.Networks, err = f.endpoints(&q.Host); err != nil {
		return err
	}
	for _, text := range f.publish {
		if err := publish(q, text); err != nil {
			return err
		}
	}
	if len(f.egress) > 0 {
		if q.Host.Annotations == nil {
			q.Host.Annotations = map[string]string{}
		}
		q.Host.Annotations[Egress] = strings.Join(f.egress, ",")
	}
	return nil
}

// publish adds what a value of --publish says: Docker's short form, or its long one, target=,published=,protocol=.
func publish(q *Request, text string) error {
	short, err := long(text)
	if err != nil {
		return bad("publish", text, err.Error())
	}
	addr, host, inner, err := splitPublish(short)
	if err != nil {
		return bad("publish", text, err.Error())
	}
	ports, err := network.ParsePortRange(inner)
	if err != nil {
		return bad("publish", text, "invalid containerPort: "+inner)
	}
	switch ports.Proto() {
	case network.TCP, network.UDP, network.SCTP:
	default:
		return bad("publish", text, "invalid proto: "+string(ports.Proto()))
	}
	count := int(ports.End()) - int(ports.Start()) + 1
	var hosts network.PortRange
	if host != "" {
		if hosts, err = network.ParsePortRange(host); err != nil || hosts.Start() == 0 {
			return bad("publish", text, "invalid hostPort: "+host)
		}
		if have := int(hosts.End()) - int(hosts.Start()) + 1; have != count && count != 1 {
			return bad("publish", text, "invalid ranges specified for container and host Ports: "+inner+" and "+host)
		}
	}
	if q.Config.ExposedPorts == nil {
		q.Config.ExposedPorts = network.PortSet{}
	}
	if q.Host.PortBindings == nil {
		q.Host.PortBindings = network.PortMap{}
	}
	i := 0
	for p := range ports.All() {
		b := network.PortBinding{HostIP: addr}
		switch {
		case host == "":
		case count == 1 && hosts.End() != hosts.Start(): // one of them
			b.HostPort = strconv.Itoa(int(hosts.Start())) + "-" + strconv.Itoa(int(hosts.End()))
		default:
			b.HostPort = strconv.Itoa(int(hosts.Start()) + i)
		}
		q.Config.ExposedPorts[p] = struct{}{}
		q.Host.PortBindings[p] = append(q.Host.PortBindings[p], b)
		i++
	}
	return nil
}

// splitPublish takes [[ADDRESS:]HOST:]PORT apart. An IPv6 address may stand in brackets.
func splitPublish(text string) (addr netip.Addr, host, inner string, err error) {
	at := strings.LastIndex(text, ":")
	if at < 0 {
		return addr, "", text, nil
	}
	rest := text[:at]
	inner = text[at+1:]
	at = strings.LastIndex(rest, ":")
	if at < 0 {
		return addr, rest, inner, nil
	}
	ip := rest[:at]
	host = rest[at+1:]
	if len(ip) > 2 && ip[0] == '[' && ip[len(ip)-1] == ']' {
		ip = ip[1 : len(ip)-1]
	}
	if ip == "" { // Docker takes it for every address; here it says nothing
		return addr, host, inner, nil
	}
	if addr, err = netip.ParseAddr(ip); err != nil {
		return addr, "", "", errText("invalid IP address: " + ip)
	}
	return addr, host, inner, nil
}

// long turns Docker's long form into the short one.
func long(text string) (string, error) {
	if !strings.Contains(text, "=") {
		return text, nil
	}
	target, published, protocol := "", "", "tcp"
	for field := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(field, "=")
		switch strings.ToLower(key) {
		case "target":
			target = value
		case "published":
			published = value
		case "protocol":
			protocol = value
		case "mode":
			if value != "host" && value != "ingress" {
				return "", errText("invalid publish mode value (" + value + "): must be either 'ingress' or 'host'")
			}
		default:
			return "", errText("invalid field key: " + key)
		}
	}
	if target == "" {
		return "", errText("missing mandatory field 'target'")
	}
	if published != "" {
		target = published + ":" + target
	}
	return target + "/" + protocol, nil
}
