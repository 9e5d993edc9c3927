// Package network keeps the networks that containers can be in: made, listed, removed, and who is connected with them.
//
//	s := network.New(network.Options{Root: "/var/lib/bulkhead/networks", Run: "/run/bulkhead/network"})
//	id, err := s.Create(ctx, api.CreateRequest{Name: "web"})
//	n, file, err := s.Find(ctx, "web")                          // for a container that is to be connected
//	err = s.Connect(ctx, "web", api.ConnectRequest{Container: "db"})
//	err = s.Remove(ctx, "web")                                  // Denied while a running container is connected
//
// A network is a file, Root/ID/network.json, made under a name that no network has, and renamed when it is whole. What it is in the kernel is made when a container needs it and goes with the
// last one (package internal/network/attachment), so that a network which nobody uses costs a file.
//
// There are three that nobody has made. bridge is where containers are that ask for nothing else: it leads outside, and its containers do not reach each other. host and none are
// names for no network of the engine's: they cannot be connected with, nor removed.
//
// Subnets are chosen so that they overlap with no other network and no route or address of the host; one that is asked for and does is refused. All who make networks do so one at a time.
package network
