// Package net is hostile containers on networks: each test is a way around the isolation of networks, of the host, or of an egress policy, tried with raw frames by somebody who is root in
// the container's network namespace with all capabilities there, which is more than any container gets.
//
// Every way is tried twice. In the first world the engine's own packages have made bridges, devices and rules (network/link and network/firewall), and it must fail. In the second one
// somebody careless did, with a plain bridge, masquerading and a rule that publishes a port, and it must succeed: that is how it is known that the test would see it. A frame carries a mark,
// and all places that it must not get to are listened at.
//
// Both worlds are network namespaces of the test: a host, another host on its wire, and containers.
package net
