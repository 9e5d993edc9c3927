package policy

import "net/netip"

// Never are the addresses that no container reaches beyond its bridge, whatever its policy says: this host, loopback, multicast, broadcast, and IPv4 addresses in disguise.
func Never() []netip.Prefix {
	return prefixes("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", // multicast, reserved, broadcast
		"::/96", "::ffff:0:0/96", "fec0::/10", "ff00::/8", "fdb8:6b68::/32") // the last is that of published ports
}

// Metadata are link-local addresses, among them the metadata services of most clouds, and those metadata services that have others. A policy opens them by name only.
func Metadata() []netip.Prefix {
	return prefixes(
		"169.254.0.0/16",      // link-local
		"100.100.100.200/32",  // Alibaba
		"168.63.129.16/32",    // Azure's host
		"192.0.0.192/32",      // Oracle
		"fe80::/10",           // link-local
		"fd00:ec2::/32",       // Amazon
		"fd20:ce::254/128",    // Google
		"fd00:42::42/128",     // Scaleway
		"64:ff9b::a9fe:0/112", // link-local IPv4 by NAT64
		"64:ff9b:1::/48",      // and by NAT64 of one's own
		"2002:a9fe::/32",      // and by 6to4
	)
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Closed reports whether an address is closed to every container whose policy does not open it by name.
func Closed(a netip.Addr) bool {
	a = a.Unmap()
	for _, list := range [][]netip.Prefix{Never(), Metadata()} {
		for _, p := range list {
			if p.Contains(a) {
				return true
			}
		}
	}
	return false
}
