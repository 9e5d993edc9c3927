// Package address decides who has which address: subnets for networks, addresses for containers.
//
//	used, err := address.Host()                                  // what the machine's own routes and addresses cover
//	p, err := address.Choose(address.Pools(), used)              // a subnet that overlaps with nothing
//	s, err := address.Complete(network.Subnet{Prefix: p})        // with its gateway; what does not fit is refused
//	c := address.Claims{Dir: dir, Alive: alive}
//	a, err := c.Take(s, netip.Addr{}, id)                        // the lowest that is free
//	err = c.Give(a, id)
//
// The pools are Docker's: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and so on. IPv6 subnets are /64s of a /48 of unique local addresses that an engine draws once (Prefix48).
//
// A claim is a file of the address's name with the owner's id in it. It is made exclusively, so that of many processes one has the address. It is void when its owner is not alive: who
// needs the address takes it over, which those who claim do one at a time, under the lock of package network.
package address
