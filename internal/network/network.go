package network

import (
	"net/netip"
	"time"
)

// Default is the name of the network of containers that ask for none.
const Default = "bridge"

// A Network is what somebody has made: a bridge, with subnets. The zero value has none, and is closed to all sides.
type Network struct {
	ID      string // 64 hexadecimal digits
	Name    string
	Created time.Time
	Labels  map[string]string `json:",omitempty"`
	Options map[string]string `json:",omitempty"` // of the driver, as they were given

	Bridge  string   // name of the device
	MTU     int      `json:",omitempty"` // 0: the kernel's
	Subnets []Subnet // at most one of each family

	Outside    bool `json:",omitempty"` // there is a way out: a gateway, and published ports; false is Docker's --internal
	Between    bool `json:",omitempty"` // its containers reach each other; false: each is alone with the gateway
	Masquerade bool `json:",omitempty"` // what leaves the host has the host's address
	// Bind is where ports are published that name no address; the zero value is the loopback addresses of the host.
	Bind   netip.Addr `json:",omitzero"`
	Policy Policy     // what every container of it may reach; each of them may be held to less
}

// A Subnet is the addresses of one family.
type Subnet struct {
	Prefix    netip.Prefix
	Gateway   netip.Addr            `json:",omitzero"` // the bridge's own address; the zero value: it has none
	Range     netip.Prefix          `json:",omitzero"` // containers that ask for no address get one of these; the zero value: of all
	Auxiliary map[string]netip.Addr `json:",omitempty"`
}

// Subnet returns that of a family.
func (n *Network) Subnet(v6 bool) (Subnet, bool) {
	for _, s := range n.Subnets {
		if s.Prefix.Addr().Is6() == v6 {
			return s, true
		}
	}
	return Subnet{}, false
}

// A Wish is what a container asks of one network.
type Wish struct {
	IPv4      netip.Addr        `json:",omitzero"` // the zero value: a free one
	IPv6      netip.Addr        `json:",omitzero"`
	LinkLocal []netip.Addr      `json:",omitempty"` // besides
	MAC       string            `json:",omitempty"` // "": made from the address
	Interface string            `json:",omitempty"` // in the container; "": the first free of eth0, eth1 ...
	Aliases   []string          `json:",omitempty"` // names of it on this network
	Links     map[string]string `json:",omitempty"` // names that it has for others: alias to name or id
	Priority  int               `json:",omitempty"` // of the default gateway: the highest wins
	Sysctls   map[string]string `json:",omitempty"` // of the interface: net.ipv4.conf.IFNAME.log_martians
	Options   map[string]string `json:",omitempty"` // of the driver, as they were given
}

// An Endpoint is the end of a network in one container, while that runs.
type Endpoint struct {
	ID        string // 64 hexadecimal digits
	Network   string // id
	Container string // id
	Name      string // of the container, without a slash
	Hostname  string `json:",omitempty"`
	Wish      Wish

	Device    string       // the host's end: a port of the bridge
	Interface string       // in the container
	MAC       string       // of the container's end: aa:bb:cc:dd:ee:ff
	IPv4      netip.Prefix `json:",omitzero"` // with the length of the subnet
	IPv6      netip.Prefix `json:",omitzero"`
	Gateway4  netip.Addr   `json:",omitzero"` // of the network; whether it is the container's default is Default4
	Gateway6  netip.Addr   `json:",omitzero"`
	Default4  bool         `json:",omitempty"` // the container's default route goes here
	Default6  bool         `json:",omitempty"`

	Ports  []Port `json:",omitempty"` // published by way of this end; all of them granted
	Group  uint16 `json:",omitempty"` // of nftables' log, that the container's monitor listens to for what is refused; 0: it is not told
	Policy Policy // of the container; the network's own holds besides
}

// Addresses are those that the container has in the network: the one of each family, and the additional link-local ones.
func (e *Endpoint) Addresses() []netip.Addr {
	var out []netip.Addr
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			out = append(out, p.Addr())
		}
	}
	return append(out, e.Wish.LinkLocal...)
}

// Protocols of published ports.
const (
	TCP  = "tcp"
	UDP  = "udp"
	SCTP = "sctp"
)

// A Port is one of a container that the host passes on.
type Port struct {
	Protocol  string
	Container uint16
	// Host is the address of the host that is listened on. The zero value of a wish is the network's Bind, and so, where nothing was said, both loopback addresses; an unspecified
	// address is all of its family. A granted port has an address.
	Host netip.Addr `json:",omitzero"`
	// First and Last are the ports of the host of which one is taken; 0: any that is free. They are equal in a granted port.
	First uint16 `json:",omitempty"`
	Last  uint16 `json:",omitempty"`
}

// An Attached is an end with its network.
type Attached struct {
	Network  *Network
	Endpoint *Endpoint
}
