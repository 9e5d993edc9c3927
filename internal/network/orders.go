package network

import "net/netip"

// Orders are what a container wants of networks, told its monitor by the engine. Without networks it has none but the loopback device.
type Orders struct {
	Dir       Dir
	Container string // id
	Name      string // without a slash
	Hostname  string
	Domain    string   `json:",omitempty"`
	Networks  []Wanted // in the order of their interfaces
	Ports     []Port   `json:",omitempty"` // to be published
	Policy    Policy   // of the container
	Files     Files
	Hosts     []Name // further lines of the hosts file
	DNS       DNS
}

// A Wanted is a network that a container wants to be in.
type Wanted struct {
	Network Network
	Record  string // file of the network: without it, it has been removed
	Wish    Wish
}

// Files are those on the host that the container has as /etc/hosts and /etc/resolv.conf; "": it has none of the engine's.
type Files struct {
	Hosts  string
	Resolv string
}

// A Name is one of hosts(5). Without an address it is that of the gateway of the container's default route: of the host.
type Name struct {
	Name string
	Addr netip.Addr `json:",omitzero"`
}

// DNS is what was said of names: servers besides the engine's own, and words of resolv.conf(5). What was not said is the host's.
type DNS struct {
	Servers []netip.Addr `json:",omitempty"`
	Search  []string     `json:",omitempty"`
	Options []string     `json:",omitempty"`
}
