// Package network runs the engine on hosts that are network namespaces, with real containers on its networks, and asks from inside and from outside.
//
// Each host has engines' directories, a resolv.conf and a DNS server (Debian's dnsmasq) of its own, which stands for the world. Nothing of it is seen on the machine that the tests run on.
package network
