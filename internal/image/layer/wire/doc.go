// Package wire is what the engine and the confined worker that unpacks layers say to each other, over one SEQPACKET socket.
//
// The engine sends requests, each with descriptors; the worker answers each with one Done, and asks in between for the two things that it
// has no right to: a device node, and an overlay attribute of the trusted namespace. Messages are packets of at most MaxMessage bytes:
//
//	err := conn.Send(&wire.Message{Kind: wire.Unpack, ID: 1, Name: "0"}, streamFD)
//	m, fds, err := conn.Receive()
//
// Security: what a worker says is hostile, because whoever wrote the layer may have taken it over. Decoding is bounds-checked, has no
// recursion and allocates no more than the packet has bytes; descriptors are never taken from a worker.
package wire
