// Package runflags turns the flags of `run` and `create` into a request in the types of Docker's API.
//
//	var f runflags.Flags
//	f.Register(cmd.Flags())
//	q, err := f.Request(args) // args: the image and the command
//
// Names, shorthands and grammars of values are Docker's, and Podman's where Docker has none. What is read on the side of the client is read here: files of variables and labels, and
// the seccomp profile of --security-opt. A flag that cannot be honoured is refused by its name, with the reason; none is passed over.
//
// Nothing is decided here that an API client could decide otherwise: what the request comes to is package assemble's business.
package runflags
