package netlink

import (
	"golang.org/x/sys/unix"
)

// A Pair says what pair of devices to make in one namespace. Both ends have the same hardware address, and ask nobody for others': what goes into one comes out of the other.
type Pair struct {
	Names [2]string
	MAC   string // its bytes
	MTU   int
}

// AddPair makes a pair of devices, both down, in one step, and returns their indices.
func (h *Handle) AddPair(p Pair) (first, second int, err error) {
	for _, name := range p.Names {
		if err := ValidName(name, false); err != nil {
			return 0, 0, err
		}
	}
	m := newMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, unix.IFF_NOARP, unix.IFF_NOARP))
	peer := message{ifinfo(0, unix.IFF_NOARP, unix.IFF_NOARP)}
	for i, side := range []*message{m, &peer} {
		side.string(unix.IFLA_IFNAME, p.Names[i])
		side.attr(unix.IFLA_ADDRESS, []byte(p.MAC))
		side.uint32(unix.IFLA_MTU, uint32(p.MTU))
	}
	var data, info message
	data.attr(vethPeer|unix.NLA_F_NESTED, peer.b)
	info.attr(unix.IFLA_INFO_KIND, []byte("veth"))
	info.attr(unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, data.b)
	m.attr(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info.b)
	if err := h.c.exec(m); err != nil {
		return 0, 0, wrap(err, "make network devices %s and %s", p.Names[0], p.Names[1])
	}
	var index [2]int
	for i, name := range p.Names {
		l, err := h.Link(name)
		if err != nil {
			return 0, 0, err
		}
		index[i] = l.Index
		noARP := newMessage(unix.RTM_NEWLINK, 0, ifinfo(int32(l.Index), unix.IFF_NOARP, unix.IFF_NOARP))
		if err := h.c.exec(noARP); err != nil {
			return 0, 0, wrap(err, "network device %s without ARP", name)
		}
	}
	return index[0], index[1], nil
}

// AddLocal makes an address one of the host's own for what a device receives, without giving it to the device.
func (h *Handle) AddLocal(index int, p Prefix) error {
	b := rtmsg(p, unix.RT_SCOPE_HOST)
	b[4], b[7] = unix.RT_TABLE_LOCAL, unix.RTN_LOCAL
	m := newMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, b)
	m.attr(unix.RTA_DST, p.IP)
	m.uint32(unix.RTA_OIF, uint32(index))
	if err := h.c.exec(m); err != unix.EEXIST {
		return wrap(err, "make %x local to network device %d", p.IP, index)
	}
	return nil
}
