package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A lowering is the translation of one rule: what it depends on has to be checked once, before.
type lowering struct {
	family nftables.TableFamily
	done   map[dependency]bool
	index  func(device string) uint32
}

// A dependency is what a packet must be for a field to be there. nft adds such checks by itself, and does not list them.
type dependency uint8

const (
	always dependency = iota
	isIPv4
	isIPv6
	isARP
	isICMP
	isICMPv6
	isUDP
)

// First registers: of single values, and of keys that are put together.
const (
	register = unix.NFT_REG_1
	joined   = unix.NFT_REG32_00
)

// depend returns the checks for a dependency that the rule does not have yet.
func (l *lowering) depend(d dependency) []expr.Any {
	if d == always || l.done[d] {
		return nil
	}
	l.done[d] = true
	cmp := func(k expr.MetaKey, data []byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: k, Register: register}, &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data}}
	}
	four := map[dependency]bool{isIPv4: true, isICMP: true}[d]
	switch d {
	case isARP:
		return cmp(expr.MetaKeyPROTOCOL, binaryutil.BigEndian.PutUint16(unix.ETH_P_ARP))
	case isICMP:
		return append(l.depend(isIPv4), cmp(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_ICMP})...)
	case isICMPv6:
		return append(l.depend(isIPv6), cmp(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_ICMPV6})...)
	case isUDP:
		return cmp(expr.MetaKeyL4PROTO, []byte{unix.IPPROTO_UDP})
	}
	switch l.family {
	case nftables.TableFamilyINet:
		v := byte(unix.NFPROTO_IPV6)
		if four {
			v = unix.NFPROTO_IPV4
		}
		return cmp(expr.MetaKeyNFPROTO, []byte{v})
	case nftables.TableFamilyBridge:
		v := uint16(unix.ETH_P_IPV6)
		if four {
			v = unix.ETH_P_IP
		}
		return cmp(expr.MetaKeyPROTOCOL, binaryutil.BigEndian.PutUint16(v))
	}
	return nil
}

// A field is something of a packet.
type field struct {
	name  string
	size  uint32
	needs dependency
	load  func(register uint32) expr.Any
}

func payload(base expr.PayloadBase, offset, size uint32) func(uint32) expr.Any {
	return func(r uint32) expr.Any { return &expr.Payload{DestRegister: r, Base: base, Offset: offset, Len: size} }
}

func meta(k expr.MetaKey) func(uint32) expr.Any {
	return func(r uint32) expr.Any { return &expr.Meta{Key: k, Register: r} }
}

const (
	linkHeader      = expr.PayloadBaseLLHeader
	networkHeader   = expr.PayloadBaseNetworkHeader
	transportHeader = expr.PayloadBaseTransportHeader
)

var (
	iifname  = field{"iifname", 16, always, meta(expr.MetaKeyIIFNAME)}
	oifname  = field{"oifname", 16, always, meta(expr.MetaKeyOIFNAME)}
	l4proto  = field{"meta l4proto", 1, always, meta(expr.MetaKeyL4PROTO)}
	dport    = field{"th dport", 2, always, payload(transportHeader, 2, 2)}
	udpDport = field{"udp dport", 2, isUDP, payload(transportHeader, 2, 2)}
	etherSrc = field{"ether saddr", 6, always, payload(linkHeader, 6, 6)}
	etherTyp = field{"ether type", 2, always, payload(linkHeader, 12, 2)}
	ip4Src   = field{"ip saddr", 4, isIPv4, payload(networkHeader, 12, 4)}
	ip4Dst   = field{"ip daddr", 4, isIPv4, payload(networkHeader, 16, 4)}
	ip6Src   = field{"ip6 saddr", 16, isIPv6, payload(networkHeader, 8, 16)}
	ip6Dst   = field{"ip6 daddr", 16, isIPv6, payload(networkHeader, 24, 16)}
	ip6Next  = field{"ip6 nexthdr", 1, isIPv6, payload(networkHeader, 6, 1)}
	arpHType = field{"arp htype", 2, isARP, payload(networkHeader, 0, 2)}
	arpPType = field{"arp ptype", 2, isARP, payload(networkHeader, 2, 2)}
	arpHLen  = field{"arp hlen", 1, isARP, payload(networkHeader, 4, 1)}
	arpPLen  = field{"arp plen", 1, isARP, payload(networkHeader, 5, 1)}
	arpMAC   = field{"arp saddr ether", 6, isARP, payload(networkHeader, 8, 6)}
	arpIP    = field{"arp saddr ip", 4, isARP, payload(networkHeader, 14, 4)}
	icmpType = field{"icmp type", 1, isICMP, payload(transportHeader, 0, 1)}
	icmp6Typ = field{"icmpv6 type", 1, isICMPv6, payload(transportHeader, 0, 1)}
	// ndTarget is the address that a neighbour advertisement is about; nft knows a name for it from version 1.0.9 on only.
	ndTarget = field{"@th,64,128", 16, isICMPv6, payload(transportHeader, 8, 16)}
)

func fieldsText(list []field) string {
	var out []string
	for _, f := range list {
		out = append(out, f.name)
	}
	return strings.Join(out, " . ")
}

// load puts fields side by side, and returns the first register.
func (l *lowering) load(list []field) (out []expr.Any, first uint32) {
	for _, f := range list {
		out = append(out, l.depend(f.needs)...)
	}
	if len(list) == 1 {
		return append(out, list[0].load(register)), register
	}
	r := uint32(joined)
	for _, f := range list {
		out = append(out, f.load(r))
		r += (f.size + 3) / 4
	}
	return out, joined
}

// in matches packets whose fields are in a set; notIn those whose are not.
type membership struct {
	set    string
	not    bool
	fields []field
}

func in(set string, fields ...field) statement    { return membership{set, false, fields} }
func notIn(set string, fields ...field) statement { return membership{set, true, fields} }

func (m membership) text() string {
	op := ""
	if m.not {
		op = "!= "
	}
	return fieldsText(m.fields) + " " + op + "@" + m.set
}

func (m membership) lower(l *lowering) []expr.Any {
	out, r := l.load(m.fields)
	return append(out, &expr.Lookup{SourceRegister: r, SetName: m.set, Invert: m.not})
}

// lookup asks a verdict map.
type lookup struct {
	name  string
	field field
}

func (v lookup) text() string { return v.field.name + " vmap @" + v.name }

func (v lookup) lower(l *lowering) []expr.Any {
	out, r := l.load([]field{v.field})
	return append(out, &expr.Lookup{SourceRegister: r, SetName: v.name, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT})
}

// A comparison matches packets whose field, of which only the bits of the mask are looked at, is a value, or is not.
type comparison struct {
	field field
	op    expr.CmpOp
	data  []byte
	mask  []byte
	words string
}

func is(f field, data []byte, words string) statement {
	return comparison{f, expr.CmpOpEq, data, nil, words}
}

func isNot(f field, data []byte, words string) statement {
	return comparison{f, expr.CmpOpNeq, data, nil, words}
}

func (c comparison) text() string {
	name := c.field.name
	if c.mask != nil {
		return name + " & " + c.words
	}
	if c.op == expr.CmpOpNeq {
		name += " !="
	}
	return name + " " + c.words
}

func (c comparison) lower(l *lowering) []expr.Any {
	out, r := l.load([]field{c.field})
	if c.mask != nil {
		out = append(out, &expr.Bitwise{SourceRegister: r, DestRegister: r, Len: uint32(len(c.mask)), Mask: c.mask, Xor: make([]byte, len(c.mask))})
	}
	return append(out, &expr.Cmp{Op: c.op, Register: r, Data: c.data})
}

// from and to match the device that a packet comes in by, or leaves by. A name that ends with * is the beginning of one.
func from(name string) statement { return byDevice(iifname, name) }
func to(name string) statement   { return byDevice(oifname, name) }

func byDevice(f field, name string) statement {
	data := make([]byte, 16)
	copy(data, name)
	if n := len(name) - 1; name[n] == '*' {
		data = []byte(name[:n])
	}
	return is(f, data, fmt.Sprintf("%q", name))
}

// within matches packets whose address is in a subnet, whole bytes long.
func within(f field, p netip.Prefix) statement {
	first, _, text := part(p)
	f.size = uint32(p.Bits() / 8)
	load := f.load
	f.load = func(r uint32) expr.Any {
		e := *load(r).(*expr.Payload)
		e.Len = f.size
		return &e
	}
	return is(f, first[:f.size], text)
}

func number(f field, v uint16, words string) statement {
	if f.size == 1 {
		return is(f, []byte{byte(v)}, words)
	}
	return is(f, binary.BigEndian.AppendUint16(nil, v), words)
}
