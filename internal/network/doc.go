// Package network is what all parts of the engine's networks speak of, as plain data: a network, the end of one in a container, a published port, what a container may reach; and
// the files below the run directory in which the ends are written down.
//
//	dir := network.Dir("/run/bulkhead/network")
//	unlock, err := dir.Lock(ctx)                 // those who change bridges, rules and ends, one at a time
//	err = dir.Put(&network.Endpoint{...})        // seen by the resolvers and firewalls of all other containers from now on
//	all, err := dir.Endpoints("NETWORK")         // "": of all networks
//	err = dir.Drop("NETWORK", "CONTAINER")
//
// There is no daemon. Networks that somebody has made are files below the engine's root (package engine/network); what a running container has of them is files below the run
// directory, which is gone with the machine; and what the kernel has is made from both by the monitor of each container (package network/attachment), which lives as long as it.
//
//	RUN/network/lock                          flock: held by who changes bridges, nftables or the files below
//	RUN/network/NETWORK/network               the Network, as it was when its first end was made
//	RUN/network/NETWORK/endpoints/CONTAINER   an Endpoint, JSON, replaced as a whole
//	RUN/network/NETWORK/addresses/ADDRESS     a claim, package network/address
//
// An end is void when the monitor of its container is gone: Dir.Alive says so, and whoever holds the lock and meets a void one removes it with all that belongs to it.
//
// The zero values are the strict ones: a network whose containers do not reach each other, nor the outside; a policy that allows nothing.
package network
