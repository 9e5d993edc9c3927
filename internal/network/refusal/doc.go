// Package refusal is what containers were refused by the firewall and by their resolver: written down by the monitor, and read back for `bulkhead why`.
//
//	log, err := refusal.OpenLog(dir)          // the container's run directory
//	log.Add(refusal.Record{...})
//	list, err := refusal.Read(dir)            // what was refused, the oldest first
//
// The file is bounded: equal refusals within a minute are one with a count, and of a file that is full the older half goes. Packets are heard by package network/nflog, and explained by
// package network/egress; Process finds whose socket it was.
//
// What the packets say was written by the container: it is shown escaped, and believed in nothing but as its own words. Addresses are those that the rules have checked before.
package refusal
