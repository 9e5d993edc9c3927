package network

import "net/netip"

// A Policy is what may be reached from a container. Closed to every container, whatever else is said, are link-local addresses, the metadata services of clouds, and the host's own
// services, unless they are opened here by name. The zero value allows nothing.
type Policy struct {
	Open     bool          `json:",omitempty"` // everything else: what a network is without a policy
	Metadata bool          `json:",omitempty"` // link-local addresses and metadata services too
	Host     bool          `json:",omitempty"` // the host's own services too, by the gateway's address
	Allow    []Destination `json:",omitempty"` // what is open besides; without Open, all that is
}

// A Destination is somewhere that may be reached. Either Host or Prefix is given.
type Destination struct {
	Host     string       `json:",omitempty"` // a name, lower case, without the last dot; *.NAME: all below it
	Prefix   netip.Prefix `json:",omitzero"`
	Protocol string       `json:",omitempty"` // "": tcp and udp
	Port     uint16       `json:",omitempty"` // 0: all
	Text     string       `json:",omitempty"` // as it was written, for the eyes of people
}
