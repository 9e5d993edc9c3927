// Package egress is what people write about where containers may connect to, and what a container's resolver makes of it.
//
//	p, err := egress.Parse([]string{"example.org:443", "10.1.0.0/16"})   // a network.Policy
//	g := egress.New(own, log)                                            // in the monitor; g is what the resolver asks
//	g.Set(ends)                                                          // the ends of networks that the container has now
//
// # Words
//
//	none                  nothing
//	HOST[:PORT[/PROTO]]   a name; *.NAME is all names below it
//	ADDRESS[:PORT[/PROTO]], CIDR[:PORT[/PROTO]]
//	                      addresses; IPv6 with a port in brackets: [2001:db8::/32]:443
//	metadata              link-local addresses and the metadata services of clouds, which are closed otherwise
//	host                  the host's own services, by the gateway's address, which are closed otherwise
//
// Without a port all is meant that the address has; a port without a protocol is TCP and UDP. metadata and host open something, and restrict nothing: without other words everything else
// stays open. With a destination, nothing else is. What a network's policy says holds for its containers besides: both have to allow.
//
// A name is a promise about answers of our resolver: an address that the name was not given by it is not open. Names that the policy does not name are not even asked for, so that names
// carry nothing out. Addresses of the neighbours on a network are not egress.
package egress
