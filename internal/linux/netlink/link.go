package netlink

import (
	"encoding/binary"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// link is a network device.
type link struct {
	index    int32
	flags    uint32 // IFF_*
	name     string
	mtu      uint32
	hardware string // the address's bytes
	master   uint32 // index of the bridge that it is a port of
	peer     uint32 // IFLA_LINK: of a veth, the index of its other end
	kind     string // bridge, veth ...
}

// address is an IP address of a device.
type address struct {
	family, prefix byte
	scope          byte
	flags          uint32 // IFA_F_*
	index          uint32
	local, peer    []byte // peer equals local but on point-to-point links
	broadcast      []byte
	metric         []byte // of the prefix route, IFA_RT_PRIORITY
}

// ValidName returns an error of kind Invalid unless the kernel takes name for a device (dev_valid_name in net/core/dev.c): 1 to 15
// bytes, no slash, colon or white space, not "." or "..". template allows one %d, for which the kernel puts in a number.
func ValidName(name string, template bool) error {
	bad := ""
	switch {
	case name == "" || len(name) >= unix.IFNAMSIZ:
		bad = "must have 1 to 15 bytes"
	case name == "." || name == "..":
		bad = "reserved"
	case strings.ContainsAny(name, "/: \t\n\v\f\r\x00"):
		bad = "slash, colon or white space"
	}
	if rest := name; bad == "" && strings.Contains(rest, "%") {
		if !template || strings.Count(rest, "%") != 1 || !strings.Contains(rest, "%d") {
			bad = "% other than one %d"
		}
	}
	if bad != "" {
		return errdef.Errorf(errdef.Invalid, "network device name %q: %s", name, bad)
	}
	return nil
}

func ifinfo(index int32, flags, change uint32) []byte {
	b := make([]byte, 4, 16) // family, padding, device type
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

const skipStats = 1 << 3 // RTEXT_FILTER_SKIP_STATS in linux/rtnetlink.h: keeps the reply short

// byName returns the device of this name.
func (c *conn) byName(name string) (link, error) {
	m := newMessage(unix.RTM_GETLINK, 0, ifinfo(0, 0, 0))
	m.string(unix.IFLA_IFNAME, name)
	m.uint32(unix.IFLA_EXT_MASK, skipStats)
	links, err := c.links(m)
	if err != nil {
		return link{}, errdef.Errorf(kindOf(err), "network device %q: %w", name, err)
	}
	if len(links) != 1 {
		return link{}, errdef.Errorf(errdef.Internal, "network device %q: %d replies", name, len(links))
	}
	return links[0], nil
}

// all returns the devices of the namespace.
func (c *conn) all() ([]link, error) {
	m := newMessage(unix.RTM_GETLINK, unix.NLM_F_DUMP, ifinfo(0, 0, 0))
	m.uint32(unix.IFLA_EXT_MASK, skipStats)
	links, err := c.links(m)
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "list network devices: %w", err)
	}
	return links, nil
}

func (c *conn) links(m *message) ([]link, error) {
	replies, err := c.query(m)
	if err != nil {
		return nil, err
	}
	var links []link
	for _, b := range replies {
		l, err := parseLink(b)
		if err != nil {
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

func parseLink(b []byte) (link, error) {
	if len(b) < 16 {
		return link{}, errdef.Errorf(errdef.Internal, "rtnetlink: link of %d bytes", len(b))
	}
	l := link{index: int32(binary.NativeEndian.Uint32(b[4:])), flags: binary.NativeEndian.Uint32(b[8:])}
	err := attributes(b[16:], func(kind uint16, v []byte) {
		switch {
		case kind == unix.IFLA_IFNAME:
			l.name = strings.TrimRight(string(v), "\x00")
		case kind == unix.IFLA_MTU && len(v) == 4:
			l.mtu = binary.NativeEndian.Uint32(v)
		case kind == unix.IFLA_ADDRESS:
			l.hardware = string(v)
		case kind == unix.IFLA_MASTER && len(v) == 4:
			l.master = binary.NativeEndian.Uint32(v)
		case kind == unix.IFLA_LINK && len(v) == 4:
			l.peer = binary.NativeEndian.Uint32(v)
		case kind == unix.IFLA_LINKINFO:
			_ = attributes(v, func(kind uint16, v []byte) { // what is no list of attributes says nothing
				if kind == unix.IFLA_INFO_KIND {
					l.kind = strings.TrimRight(string(v), "\x00")
				}
			})
		}
	})
	return l, err
}

// setUp brings a device up.
func (c *conn) setUp(index int32) error {
	return c.exec(newMessage(unix.RTM_NEWLINK, 0, ifinfo(index, unix.IFF_UP, unix.IFF_UP)))
}

// setMTU sets a device's MTU in bytes.
func (c *conn) setMTU(index int32, mtu uint32) error {
	m := newMessage(unix.RTM_NEWLINK, 0, ifinfo(index, 0, 0))
	m.uint32(unix.IFLA_MTU, mtu)
	return c.exec(m)
}

// addresses returns all addresses of a device, of every family.
func (c *conn) addresses(index int32) ([]address, error) {
	replies, err := c.query(newMessage(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, 8)))
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "list addresses: %w", err)
	}
	var list []address
	for _, b := range replies {
		a, err := parseAddress(b)
		if err != nil {
			return nil, err
		}
		if a.index == uint32(index) {
			list = append(list, a)
		}
	}
	return list, nil
}

func parseAddress(b []byte) (address, error) {
	if len(b) < 8 {
		return address{}, errdef.Errorf(errdef.Internal, "rtnetlink: address of %d bytes", len(b))
	}
	a := address{family: b[0], prefix: b[1], flags: uint32(b[2]), scope: b[3], index: binary.NativeEndian.Uint32(b[4:])}
	err := attributes(b[8:], func(kind uint16, v []byte) {
		switch {
		case kind == unix.IFA_LOCAL:
			a.local = v
		case kind == unix.IFA_ADDRESS:
			a.peer = v
		case kind == unix.IFA_BROADCAST:
			a.broadcast = v
		case kind == unix.IFA_RT_PRIORITY:
			a.metric = v
		case kind == unix.IFA_FLAGS && len(v) == 4:
			a.flags = binary.NativeEndian.Uint32(v)
		}
	})
	return a, err
}

// lasting reports whether the address goes along with its device: permanent and global, as runtime-spec demands.
func (a address) lasting() bool {
	return a.flags&unix.IFA_F_PERMANENT != 0 && a.scope == unix.RT_SCOPE_UNIVERSE
}

// addAddress gives a device an address. Its label, which begins with the old name, is left behind.
func (c *conn) addAddress(index int32, a address) error {
	fixed := []byte{a.family, a.prefix, 0, a.scope}
	fixed = binary.NativeEndian.AppendUint32(fixed, uint32(index))
	m := newMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, fixed)
	for _, v := range []struct {
		kind  uint16
		value []byte
	}{{unix.IFA_LOCAL, a.local}, {unix.IFA_ADDRESS, a.peer}, {unix.IFA_BROADCAST, a.broadcast}, {unix.IFA_RT_PRIORITY, a.metric}} {
		if v.value != nil {
			m.attr(v.kind, v.value)
		}
	}
	// What the administrator chose; the other flags are states of the kernel.
	if keep := a.flags & (unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_HOMEADDRESS); keep != 0 {
		m.uint32(unix.IFA_FLAGS, keep)
	}
	return c.exec(m)
}
