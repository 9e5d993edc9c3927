// Package attachment connects a container with its networks: from what it wants to what the kernel has of it, and back to nothing.
//
//	s := attachment.New(orders)
//	err := s.Up(ns)            // each time that the program is started, with a descriptor of its new network namespace
//	err = s.Connect(wanted)    // while it runs
//	err = s.Disconnect(id)
//	err = s.Down()             // its program has ended
//	err = s.Close()            // for good: ports and addresses are given back
//
// A Set belongs to the monitor of the container, and does nothing by itself. Between Down and the next Up the container keeps its addresses and its published ports.
//
// Order of things. What others see, and what the kernel must know before a packet can come, is made under the lock of the run directory: addresses claimed, the end written down, the
// bridge there, the firewall told. Only then devices are made, so there is no moment in which a container is connected and not held. It ends in the opposite order. The bridge of a network
// is there as long as an end of it is.
//
// A monitor that is killed leaves its ends written down. Heal finds and removes what belongs to them; the engine calls it when it finds such a container dead, and for all when it tidies up.
package attachment
