package refusal

import (
	"net/netip"
	"time"
)

// A Packet is a refused one, as far as its headers go.
type Packet struct {
	Time     time.Time
	ToHost   bool // it was for the host itself
	In, Out  int  // numbers of devices; Out is 0 where it was for the host
	Protocol uint8
	Src, Dst netip.AddrPort // ports of TCP, UDP, SCTP and UDP-Lite; 0 otherwise
}
