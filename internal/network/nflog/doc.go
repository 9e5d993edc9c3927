// Package nflog hears from the kernel what the firewall refuses to a container.
//
//	l, err := nflog.Listen(container)       // in the monitor, in the host's network namespace; l.Group() goes into the container's Endpoint
//	go l.Run(ctx, func(p refusal.Packet) { ... })
//
// The kernel hands the beginnings of refused packets to whoever listens to the log group that the rule names (NFLOG). A group has one listener, so each container has a group of its own,
// found from its id: the listener takes the first one from there on that nobody has. The rules send at most 20 packets a second, so a container that tries all day costs little.
package nflog
