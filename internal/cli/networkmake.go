package cli

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/cli/runflags"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/network"
	"github.com/spf13/cobra"
)

// networkFlags are those of `network create`.
type networkFlags struct {
	driver, scope, ipamDriver                                string
	internal, attachable, ipv4, ipv6                         bool
	labels, options, subnets, ranges, gateways, aux, ipamOpt []string
}

func networkCreateCommand(p *program) *cobra.Command {
	var o networkFlags
	c := &cobra.Command{
		Use: "create [OPTIONS] NETWORK", Short: "Make a network", Args: count(1, 1),
		Long: "Make a network: a segment whose containers reach each other by name, and no other network. What is not said is chosen: a subnet that overlaps with nothing, its first address for the gateway.",
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := o.request(args[0])
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("ipv4") {
				q.EnableIPv4 = nil
			}
			if !cmd.Flags().Changed("ipv6") {
				q.EnableIPv6 = nil
			}
			client, err := p.engine()
			if err != nil {
				return err
			}
			var r network.CreateResponse
			if err := client.Post(cmd.Context(), "/networks/create", nil, q, &r); err != nil {
				return err
			}
			if r.Warning != "" {
				p.warn(r.Warning)
			}
			return p.printOthers(r.ID)
		},
	}
	f := c.Flags()
	f.StringVarP(&o.driver, "driver", "d", "bridge", "the driver: bridge")
	f.BoolVar(&o.internal, "internal", false, "it leads nowhere: its containers reach each other only")
	f.BoolVar(&o.attachable, "attachable", false, "kept for Docker, and means nothing: every network can be connected with")
	f.BoolVar(&o.ipv4, "ipv4", true, "it has IPv4")
	f.BoolVar(&o.ipv6, "ipv6", false, "it has IPv6, too")
	f.StringArrayVar(&o.subnets, "subnet", nil, "ADDRESS/BITS, one of each family")
	f.StringArrayVar(&o.gateways, "gateway", nil, "address of the host on it; else the first one of the subnet")
	f.StringArrayVar(&o.ranges, "ip-range", nil, "ADDRESS/BITS from which containers get addresses; else the whole subnet")
	f.StringArrayVar(&o.aux, "aux-address", nil, "NAME=ADDRESS that no container gets")
	f.StringArrayVar(&o.labels, "label", nil, "KEY[=VALUE] that is kept with it")
	f.StringArrayVarP(&o.options, "opt", "o", nil, "KEY=VALUE for the driver")
	f.StringVar(&o.scope, "scope", "", "local")
	f.StringVar(&o.ipamDriver, "ipam-driver", "default", "who gives addresses: default")
	f.StringArrayVar(&o.ipamOpt, "ipam-opt", nil, "KEY=VALUE for who gives addresses, which has no options")
	for _, name := range []string{"config-only", "ingress"} {
		refuse(f, name, "", refusedFlag{reason: "is for a cluster, and there is none", hint: "leave it away", boolean: true})
	}
	refuse(f, "config-from", "", refusedFlag{reason: "is for a cluster, and there is none", hint: "leave it away"})
	return c
}

// request is what the flags ask for. Ranges, gateways and auxiliary addresses go with the subnet that they are in.
func (o *networkFlags) request(name string) (*network.CreateRequest, error) {
	q := &network.CreateRequest{
		Name: name, Driver: o.driver, Scope: o.scope, Internal: o.internal, Attachable: o.attachable, EnableIPv4: &o.ipv4, EnableIPv6: &o.ipv6,
		Labels: pairs(o.labels), Options: pairs(o.options), IPAM: &network.IPAM{Driver: o.ipamDriver, Options: pairs(o.ipamOpt), Config: []network.IPAMConfig{}},
	}
	for _, text := range o.subnets {
		for one := range strings.SplitSeq(text, ",") {
			p, err := netip.ParsePrefix(one)
			if err != nil {
				return nil, errdef.Errorf(errdef.Invalid, "--subnet %.64q: wants ADDRESS/BITS", one)
			}
			q.IPAM.Config = append(q.IPAM.Config, network.IPAMConfig{Subnet: p})
		}
	}
	in := func(flag, text string, a netip.Addr) (*network.IPAMConfig, error) {
		for i := range q.IPAM.Config {
			if c := &q.IPAM.Config[i]; c.Subnet.Contains(a) {
				return c, nil
			}
		}
		return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "--%s %.64q: no matching subnet", flag, text), "give --subnet too, in which it lies")
	}
	for _, text := range o.ranges {
		r, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "--ip-range %.64q: wants ADDRESS/BITS", text)
		}
		c, err := in("ip-range", text, r.Addr())
		if err != nil {
			return nil, err
		}
		if c.IPRange.IsValid() {
			return nil, errdef.Errorf(errdef.Invalid, "--ip-range %s: cannot configure multiple ranges (%s, %s) on the same subnet (%s)", text, r, c.IPRange, c.Subnet)
		}
		c.IPRange = r
	}
	for _, text := range o.gateways {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "--gateway %.64q: wants an address", text)
		}
		c, err := in("gateway", text, a)
		if err != nil {
			return nil, err
		}
		if c.Gateway.IsValid() {
			return nil, errdef.Errorf(errdef.Invalid, "--gateway %s: cannot configure multiple gateways (%s, %s) for the same subnet (%s)", text, a, c.Gateway, c.Subnet)
		}
		c.Gateway = a
	}
	return q, o.reserve(in)
}

// reserve adds the auxiliary addresses.
func (o *networkFlags) reserve(in func(flag, text string, a netip.Addr) (*network.IPAMConfig, error)) error {
	for _, text := range o.aux {
		key, value, _ := strings.Cut(text, "=")
		a, err := netip.ParseAddr(value)
		if err != nil || key == "" {
			return errdef.Errorf(errdef.Invalid, "--aux-address %.64q: wants NAME=ADDRESS", text)
		}
		c, err := in("aux-address", text, a)
		if err != nil {
			return err
		}
		if c.AuxAddress == nil {
			c.AuxAddress = map[string]netip.Addr{}
		}
		c.AuxAddress[key] = a
	}
	return nil
}

func networkConnectCommand(p *program) *cobra.Command {
	var e runflags.Endpoint
	c := &cobra.Command{
		Use: "connect [OPTIONS] NETWORK CONTAINER", Short: "Connect a container with a network, at once if it runs", Args: count(2, 2), ValidArgsFunction: p.completeConnect,
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := e.Settings()
			if err != nil {
				return err
			}
			client, err := p.engine()
			if err != nil {
				return err
			}
			return client.Post(cmd.Context(), "/networks/"+url.PathEscape(args[0])+"/connect", nil, &network.ConnectRequest{Container: args[1], EndpointConfig: settings}, nil)
		},
	}
	e.Register(c.Flags())
	return c
}

func networkDisconnectCommand(p *program) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "disconnect [OPTIONS] NETWORK CONTAINER", Short: "Disconnect a container from a network", Args: count(2, 2), ValidArgsFunction: p.completeConnect,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := p.engine()
			if err != nil {
				return err
			}
			q := &network.DisconnectRequest{Container: args[1], Force: force}
			return client.Post(cmd.Context(), "/networks/"+url.PathEscape(args[0])+"/disconnect", nil, q, nil)
		},
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "a container that is not connected, or not there, is no error")
	return c
}

// completeConnect completes a network, and then a container.
func (p *program) completeConnect(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return p.completeNetworks(cmd, args, begin)
	}
	return p.completeContainers(nil)(cmd, args[1:], begin)
}
