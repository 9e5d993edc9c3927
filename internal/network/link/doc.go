// Package link makes what networks are in the kernel: a bridge for each, and a pair of devices for each end, with addresses, routes and neighbours. It knows nothing of containers but a
// descriptor of their network namespace, and keeps nothing: what is there is asked of the kernel.
//
//	made, err := link.Bridge(n)              // there, up, with its addresses; by whoever needs it first
//	err = link.Attach(n, e, ns)              // e's end made, straight in the namespace
//	err = link.Detach(n, e)
//	err = link.Remove(n)                     // the bridge, if it is one that Bridge has made
//
// Layer 2 is closed. Ports of a bridge learn nothing: what is behind a port was told the bridge when the port was made, and a port that sends from another address is locked out by the
// kernel (from 5.18 on; the firewall does the same on every kernel). Frames for addresses that nobody has go nowhere. The bridge's own neighbours are permanent entries. On a network whose
// containers do not reach each other, ports are isolated: they exchange frames with the bridge alone.
//
// The host. Interfaces of ours take no router advertisements and no redirects, and answer for no address by rp_filter but those behind them. A network with a way out needs a host that
// forwards, which is a setting of the whole host: Bridge turns it on (net.ipv4.ip_forward, and net.ipv6.conf.all.forwarding for a network with IPv6, after it has told interfaces with
// addresses by router advertisement to go on taking them) and says that it did in RUN/network/forwarding, so that the firewall keeps the host from forwarding for anybody else.
//
// A bridge that somebody else has made may be given by name. It gets the network's addresses, and stays when the network's last end is gone. Which bridges are ours is seen by their
// hardware address, which is made from the network's id; so it is the same again after a restart, and no neighbour has to learn.
package link
