// Package firewall keeps containers apart from each other, from the host and from what they have no business with, publishes their ports, and holds them to what they may reach: with
// nftables, and without a process.
//
//	granted, hold, err := firewall.Publish(wishes, n)     // ports of the host, bound so that they are found taken, and stay so
//	err = firewall.Add(network.Attached{n, e})            // before the container's device is a port of the bridge
//	err = firewall.Remove(network.Attached{n, e}, last)   // last: no other end of any network is left
//	go firewall.Watch(ctx, func() { ... firewall.Restore(all) })
//
// # Tables
//
// All tables are called bulkhead; those of an engine with an unusual run directory have digits after that (For). Base chains and rules are always the same; a container is a few elements of
// their sets and maps, and one chain of its own, which says its name, counts what was refused to it, and has it logged. So a start is one small batch, whatever else runs, and the kernel takes a batch as a whole or not at all. The text of the tables is compiled
// purely (Text), and is what `nft list ruleset` shows.
//
//	table inet bulkhead     what is routed: sources, segments, the host's own services, closed addresses, egress policies, translation
//	table bridge bulkhead   frames of containers: hardware and IP addresses, ARP, neighbours, routers, DHCP
//	table ip, ip6 bulkhead  the first packet of connections to published ports; there only while a port is published
//
// All verdicts of ours are refusals or "others may judge": the tables of others are not read, not written, and keep their say.
//
// # What holds
//
// A frame leaves a container's device only with the addresses that the container was given, as IPv4 without options, IPv6 without extension headers, or ARP about itself. Beyond its bridge
// it reaches what is outside the host, and of that neither link-local addresses nor metadata services; with a policy, only what that names. It reaches no other bridge, and of the host the
// echo of its gateway and published ports. Nobody from outside reaches a container but by a published port: that somebody routes to its address is not enough. ICMP errors of a container
// about connections are dropped, because they could be about a neighbour's. What has not been seen to begin is judged as new.
//
// # Published ports
//
// The host's firewall judges them as what they are for whoever sets it up: ports of the host. So the first packet of a connection is not translated: it goes through everybody's input
// chains, and the last one, which is ours, sends what is left into a pair of devices, bhloop0 and bhloop1, out of which it comes as a new packet, and is translated to the container. All
// later packets follow the kernel's table of connections, and never see this. The addresses 127.0.0.1 and ::1 go through the same pair, so that no bridge needs route_localnet, with which
// containers would reach the host's loopback. ADR 13 has the reasons and the measurements.
//
// # Egress
//
// A policy is subnets, which are elements, and names, which become elements when the container's resolver has got an answer (Learn), for as long as the answer lasts. Connections that are
// open stay open.
package firewall
