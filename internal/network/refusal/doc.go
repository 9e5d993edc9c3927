// Package refusal is what containers were refused by the firewall and by their resolver: heard from the kernel, written down for `bulkhead why`, and read back.
//
//	l, err := refusal.Listen(container)       // in the monitor, in the host's network namespace; l.Group() goes into the container's Endpoint
//	log, err := refusal.OpenLog(dir)          // the container's run directory
//	go l.Run(ctx, func(p refusal.Packet) { log.Add(...) })
//	list, err := refusal.Read(dir)            // what was refused, the oldest first
//
// The kernel hands the beginnings of refused packets to whoever listens to the log group that the rule names (NFLOG). A group has one listener, so each container has a group of its own,
// found from its id: the listener takes the first one from there on that nobody has. The rules send at most 20 packets a second, so a container that tries all day costs little, and the
// file is bounded: equal refusals within a minute are one with a count, and of a file that is full the older half goes.
//
// What the packets say was written by the container: it is shown escaped, and believed in nothing but as its own words. Addresses are those that the rules have checked before.
package refusal
