// Package policy is what people write about where containers may connect to, and the addresses that are closed to all of them. It is pure.
//
//	p, err := policy.Parse([]string{"example.org:443", "10.1.0.0/16"})   // a network.Policy
//	words := policy.Words(p)                                             // and back
//	ok := policy.Closed(netip.MustParseAddr("169.254.169.254"))
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
package policy
