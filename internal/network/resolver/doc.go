// Package resolver is the DNS of one container. It answers on 127.0.0.11 in the container's network namespace, from the container's monitor: names of the
// containers on the same networks from a table, everything else by asking the host's resolvers, or those that the container was given, from the host's namespace.
//
//	s, err := resolver.Start(netns, resolver.Config{Names: names, Policy: policy}) // netns: a descriptor of the namespace
//	defer s.Close()
//
// Where it listens. The sockets are made by a thread that has entered the namespace and is thrown away. They have ports of their own, so that a DNS server in the
// container can bind port 53 on all addresses; two rules in the container's namespace, `table inet bulkhead`, write 53 into the packets and back, without tracking
// connections, which would cost each packet of the container something. The sockets are bound to the loopback device: whatever a container does to its own routing (route_localnet), nobody
// else's packet arrives there. The container's program cannot remove the rules without CAP_NET_ADMIN; with it, this is the program's own business.
//
// What it says. Names: of containers, aliases, hostnames, ids, on networks that the container itself is on, bare and as NAME.NETWORK; A, AAAA and PTR; in random order, for ten
// seconds. A name that exists without an address of the family is NODATA, one that does not is NXDOMAIN, neither with an SOA, so that no cache keeps it: the next container may have it.
// What never leaves the machine: names of one label (unlike Docker's, which asks the world for "db"), names below a network's name that cannot be a top-level domain (a digit, a hyphen or
// an underscore is in it; a network called "app" must not hide the world's .app), addresses in the container's networks, localhost, and .invalid, .onion and .alt.
//
// What it asks. A query is made anew: the name in lower case, the type, RD, AD, CD and DO; no options of EDNS, none of the client's other bytes. Each has a socket, and so a port, of
// its own, which is connected, so that the kernel checks the sender, and a random id; an answer counts if id and question are right and the whole message can be read. It is passed on as it
// came, DNSSEC's records included. UDP is asked for 1232 bytes (what passes everywhere unfragmented); what is cut is asked for by TCP if the client can take it. A server that fails is asked last for half a minute.
// There is no cache: the host's resolver has one, and a container's would cost memory and tell lies after a change.
//
// A policy of names (egress) is asked before anything leaves. What it refuses is NXDOMAIN with an extended error (RFC 8914, "Blocked"): REFUSED would be truer, and makes musl wait for ten seconds. The addresses
// of an answer are handed to Learn before the answer goes, for as long as the client may use it; an answer that names a loopback, link-local or metadata address, or one that the policy closes, is refused as a whole.
// HTTPS and SVCB have no data under a policy: their address hints would be used without having been learned.
//
// Hostile peers. Every count, size and time has a bound (limits.go): queries under way, connections, bytes, retries. Garbage is dropped or answered FORMERR; names are followed backwards
// only, so that no loop ends anywhere but in an error. What one container does to its resolver delays nobody else, as each has its own.
package resolver
