package netlink

import (
	"encoding/binary"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/thread"
	"golang.org/x/sys/unix"
)

// A Handle changes the devices, addresses, routes and neighbours of one network namespace. It is for one goroutine at a time. Errors are of kinds NotFound, Exists, Denied, Invalid,
// Unsupported, Conflict, and name the step; those that come of the kernel wrap its number.
type Handle struct{ c *conn }

// Open opens the network namespace of this process.
func Open() (*Handle, error) {
	c, err := dial()
	if err != nil {
		return nil, err
	}
	return &Handle{c}, nil
}

// OpenIn opens the network namespace behind a descriptor, which stays the caller's.
func OpenIn(ns int) (*Handle, error) {
	c, err := dialIn(ns)
	if err != nil {
		return nil, err
	}
	return &Handle{c}, nil
}

// Close closes it.
func (h *Handle) Close() { h.c.close() }

// Inside runs f on a thread of its own that is in the network namespace behind ns: for files of /proc/sys/net, and for sockets that are to belong there.
func Inside(ns int, f func() error) (err error) {
	thread.Spend(func() {
		if err = unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			err = errdef.Errorf(kindOf(err), "enter network namespace: %w", err)
			return
		}
		err = f()
	})
	return err
}

// A Link is a network device.
type Link struct {
	Index  int
	Name   string
	MAC    string // its bytes
	MTU    int
	Master int    // index of the bridge that it is a port of, 0: none
	Kind   string // bridge, veth ...; "": of none of these
	Up     bool
	Peer   int // index of the other end of a veth, in its namespace
}

func (l *link) exported() Link {
	return Link{
		Index: int(l.index), Name: l.name, MAC: l.hardware, MTU: int(l.mtu), Master: int(l.master), Kind: l.kind, Up: l.flags&unix.IFF_UP != 0, Peer: int(l.peer),
	}
}

// Link returns the device of a name; of kind NotFound if there is none.
func (h *Handle) Link(name string) (Link, error) {
	l, err := h.c.byName(name)
	if err != nil {
		return Link{}, err
	}
	return l.exported(), nil
}

// Links returns all devices.
func (h *Handle) Links() ([]Link, error) {
	all, err := h.c.all()
	if err != nil {
		return nil, err
	}
	out := make([]Link, 0, len(all))
	for i := range all {
		out = append(out, all[i].exported())
	}
	return out, nil
}

// Delete removes a device, and the other end of a veth with it. One that is not there is fine.
func (h *Handle) Delete(index int) error {
	err := h.c.exec(newMessage(unix.RTM_DELLINK, 0, ifinfo(int32(index), 0, 0)))
	if err == unix.ENODEV || err == unix.ENOENT {
		return nil
	}
	return wrap(err, "remove network device %d", index)
}

// Up brings a device up.
func (h *Handle) Up(index int) error {
	return wrap(h.c.setUp(int32(index)), "bring up network device %d", index)
}

// A Bridge says what bridge to make. What is not said is the kernel's choice; there is no spanning tree, and nothing is learned of multicast.
type Bridge struct {
	Name string
	MAC  string // its bytes; "": random
	MTU  int    // 0: the kernel's
}

// Numbers that x/sys lacks.
const (
	brportLocked     = 39   // IFLA_BRPORT_LOCKED, linux/if_link.h
	vethPeer         = 1    // VETH_INFO_PEER, linux/veth.h
	neighbourMaster  = 0x04 // NTF_MASTER, linux/neighbour.h
	neighbourStatic  = 0x40 // NUD_NOARP
	neighbourForGood = 0x80 // NUD_PERMANENT
)

// AddBridge makes a bridge, which is down, and returns its index.
func (h *Handle) AddBridge(b Bridge) (int, error) {
	if err := ValidName(b.Name, false); err != nil {
		return 0, err
	}
	m := newMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, 0, 0))
	m.string(unix.IFLA_IFNAME, b.Name)
	if b.MTU > 0 {
		m.uint32(unix.IFLA_MTU, uint32(b.MTU))
	}
	if b.MAC != "" {
		m.attr(unix.IFLA_ADDRESS, []byte(b.MAC))
	}
	var data, info message
	data.uint32(unix.IFLA_BR_FORWARD_DELAY, 0)
	data.uint32(unix.IFLA_BR_STP_STATE, 0)
	data.attr(unix.IFLA_BR_MCAST_SNOOPING, []byte{0})
	info.attr(unix.IFLA_INFO_KIND, []byte("bridge"))
	info.attr(unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, data.b)
	m.attr(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info.b)
	if err := h.c.exec(m); err != nil {
		err = wrap(err, "make bridge %s", b.Name)
		if errdef.Is(err, errdef.Unsupported) {
			err = errdef.WithHint(err, "modprobe bridge")
		}
		return 0, err
	}
	l, err := h.Link(b.Name)
	return l.Index, err
}

// A Veth says what pair of devices to make: one here, a port of a bridge, the other in another namespace.
type Veth struct {
	Name   string
	Master int // index of the bridge, 0: none
	MTU    int // 0: the kernel's
	Peer   string
	MAC    string // of the peer, its bytes
	NS     int    // descriptor of the peer's namespace
}

// AddVeth makes a pair of devices, both down, in one step.
func (h *Handle) AddVeth(v Veth) error {
	if err := ValidName(v.Peer, false); err != nil {
		return err
	}
	m := newMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifinfo(0, 0, 0))
	m.string(unix.IFLA_IFNAME, v.Name)
	peer := message{ifinfo(0, 0, 0)}
	peer.string(unix.IFLA_IFNAME, v.Peer)
	peer.uint32(unix.IFLA_NET_NS_FD, uint32(v.NS))
	if v.MAC != "" {
		peer.attr(unix.IFLA_ADDRESS, []byte(v.MAC))
	}
	if v.MTU > 0 {
		m.uint32(unix.IFLA_MTU, uint32(v.MTU))
		peer.uint32(unix.IFLA_MTU, uint32(v.MTU))
	}
	if v.Master != 0 {
		m.uint32(unix.IFLA_MASTER, uint32(v.Master))
	}
	var data, info message
	data.attr(vethPeer|unix.NLA_F_NESTED, peer.b)
	info.attr(unix.IFLA_INFO_KIND, []byte("veth"))
	info.attr(unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, data.b)
	m.attr(unix.IFLA_LINKINFO|unix.NLA_F_NESTED, info.b)
	err := wrap(h.c.exec(m), "make network device %s with %s in the container", v.Name, v.Peer)
	if errdef.Is(err, errdef.Unsupported) {
		err = errdef.WithHint(err, "modprobe veth")
	}
	return err
}

// A Port is what a port of a bridge may. The zero value is the strict one.
type Port struct {
	Learning bool // what it sends from teaches the bridge
	Flood    bool // it gets what is for addresses that the bridge does not know
	Others   bool // it reaches other ports that do not (the kernel's "isolated" is off)
	Hairpin  bool
	// Groups leads the frames that bridges keep to themselves (01:80:c2:00:00:00 and so on, but for those of MAC control, which are dropped anyway) through the rules for frames, instead of
	// to the programs of the host that listen to the device.
	Groups bool
}

// SetPort sets what a port may. What an older kernel lacks of it is not there: the rules of the firewall hold alone then.
func (h *Handle) SetPort(index int, p Port) error {
	groups := uint16(0)
	if p.Groups {
		groups = 0xffff &^ 2 // the kernel takes no other one for the second
	}
	return h.setPort(index, []portFlag{
		flag(unix.IFLA_BRPORT_LEARNING, p.Learning), flag(unix.IFLA_BRPORT_UNICAST_FLOOD, p.Flood), flag(unix.IFLA_BRPORT_ISOLATED, !p.Others), flag(unix.IFLA_BRPORT_MODE, p.Hairpin),
		{unix.IFLA_BRPORT_GROUP_FWD_MASK, binary.NativeEndian.AppendUint16(nil, groups)},
	})
}

// LockPort lets a port send only from addresses that the bridge has an entry for, and not be the one that makes entries (kernel 5.18; Unsupported before).
func (h *Handle) LockPort(index int) error {
	return h.setPort(index, []portFlag{flag(brportLocked, true)})
}

type portFlag struct {
	kind  uint16
	value []byte
}

func flag(kind uint16, on bool) portFlag {
	if on {
		return portFlag{kind, []byte{1}}
	}
	return portFlag{kind, []byte{0}}
}

func (h *Handle) setPort(index int, flags []portFlag) error {
	fixed := ifinfo(int32(index), 0, 0)
	fixed[0] = unix.AF_BRIDGE
	m := newMessage(unix.RTM_SETLINK, 0, fixed)
	var data message
	for _, f := range flags {
		data.attr(f.kind, f.value)
	}
	m.attr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, data.b)
	return wrap(h.c.exec(m), "set what bridge port %d may", index)
}

// AddEntry tells a bridge behind which port an address is, for good.
func (h *Handle) AddEntry(port int, mac string) error {
	m := newMessage(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, ndmsg(unix.AF_BRIDGE, port, neighbourStatic, neighbourMaster))
	m.attr(unix.NDA_LLADDR, []byte(mac))
	return wrap(h.c.exec(m), "add an entry for bridge port %d", port)
}

// AddNeighbour tells a device the hardware address of a neighbour, for good. ip has 4 or 16 bytes.
func (h *Handle) AddNeighbour(index int, ip []byte, mac string) error {
	m := newMessage(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, ndmsg(familyOf(ip), index, neighbourForGood, 0))
	m.attr(unix.NDA_DST, ip)
	m.attr(unix.NDA_LLADDR, []byte(mac))
	return wrap(h.c.exec(m), "add neighbour %x", ip)
}

// DeleteNeighbour forgets a neighbour. One that is not there is fine.
func (h *Handle) DeleteNeighbour(index int, ip []byte) error {
	m := newMessage(unix.RTM_DELNEIGH, 0, ndmsg(familyOf(ip), index, 0, 0))
	m.attr(unix.NDA_DST, ip)
	if err := h.c.exec(m); err != unix.ENOENT && err != unix.ENODEV {
		return wrap(err, "forget neighbour %x", ip)
	}
	return nil
}

func ndmsg(family byte, index int, state uint16, flags byte) []byte {
	b := []byte{family, 0, 0, 0}
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint16(b, state)
	return append(b, flags, 0)
}

func familyOf(ip []byte) byte {
	if len(ip) == 4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// wrap names the step of an error.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return errdef.Errorf(kindOf(err), format+": %w", append(args, err)...)
}
