package firewall

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// plain is a statement that needs nothing of the rule that it is in.
type plain struct {
	words string
	exprs []expr.Any
}

func (p plain) text() string               { return p.words }
func (p plain) lower(*lowering) []expr.Any { return p.exprs }

func verdict(k expr.VerdictKind, words, chain string) statement {
	return plain{strings.TrimSpace(words + " " + chain), []expr.Any{&expr.Verdict{Kind: k, Chain: chain}}}
}

func jump(chain string) statement { return verdict(expr.VerdictJump, "jump", chain) }
func goTo(chain string) statement { return verdict(expr.VerdictGoto, "goto", chain) }

var (
	accept  = verdict(expr.VerdictAccept, "accept", "")
	drop    = verdict(expr.VerdictDrop, "drop", "")
	counter = plain{"counter", []expr.Any{&expr.Counter{}}}
	// reject answers that the administrator forbids it, in either family.
	reject = plain{"reject with icmpx admin-prohibited", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_MAX}}}
	// reset refuses a connection of TCP. It is not reject, because an ICMP error that comes back while the socket still sends is only noted by it, and it tries again a second later.
	reset = plain{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
	// masquerade gives a connection the address of the device that it leaves by.
	masquerade = plain{"masquerade", []expr.Any{&expr.Masq{}}}
	// toHost matches what is for an address of the host's.
	toHost = plain{"fib daddr type local", []expr.Any{
		&expr.Fib{Register: register, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}}
	// sparing holds what is told of refusals to a rate.
	sparing = plain{"limit rate 20/second burst 50 packets", []expr.Any{&expr.Limit{Type: expr.LimitTypePkts, Rate: 20, Unit: expr.LimitTimeSecond, Burst: 50}}}

	established = state(expr.CtStateBitESTABLISHED, "established")
	related     = state(expr.CtStateBitRELATED, "related")
	known       = state(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED, "established,related")
	notNew      = ctBits(expr.CtKeySTATE, expr.CtStateBitNEW|expr.CtStateBitRELATED, expr.CmpOpEq, "ct state ! related,new")
	// translated matches connections whose destination is not what was asked for.
	translated = ctBits(expr.CtKeySTATUS, 0x20, expr.CmpOpNeq, "ct status dnat") // IPS_DST_NAT
	// options matches IPv4 headers longer than five words.
	options = plain{"ip hdrlength != 5", []expr.Any{
		&expr.Payload{DestRegister: register, Base: networkHeader, Offset: 0, Len: 1},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{0x0f}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: []byte{5}},
	}}
	// reserved matches the addresses that bridges keep to themselves, 01:80:c2:00:00:0x.
	reserved = plain{"ether daddr & ff:ff:ff:ff:ff:f0 == 01:80:c2:00:00:00", []expr.Any{
		&expr.Payload{DestRegister: register, Base: linkHeader, Offset: 0, Len: 6},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 6, Mask: []byte{255, 255, 255, 255, 255, 0xf0}, Xor: make([]byte, 6)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{1, 0x80, 0xc2, 0, 0, 0}},
	}}
)

func state(bits uint32, words string) statement {
	return ctBits(expr.CtKeySTATE, bits, expr.CmpOpNeq, "ct state "+words)
}

func ctBits(k expr.CtKey, bits uint32, op expr.CmpOp, words string) statement {
	return plain{words, []expr.Any{
		&expr.Ct{Key: k, Register: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: register, Data: make([]byte, 4)},
	}}
}

// toLog tells a listener of a log group of the packet.
func toLog(group uint16) statement {
	return plain{fmt.Sprintf("log group %d", group), []expr.Any{&expr.Log{Key: 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_SNAPLEN, Group: group, Snaplen: 128}}}
}

// A destination rewrites where a connection goes, to an address and port that a map says.
type destination struct {
	v6     bool
	name   string
	fields []field
}

func (d destination) text() string {
	out := fmt.Sprintf("dnat %s to %s map @%s", ipWord(d.v6), fieldsText(d.fields), d.name)
	if d.fields[0].needs == always {
		return ipOnly{d.v6}.text() + " " + out
	}
	return out
}

func ipWord(v6 bool) string {
	if v6 {
		return "ip6"
	}
	return "ip"
}

func protoOf(v6 bool) (family uint32, d dependency, registers uint32) {
	if v6 {
		return unix.NFPROTO_IPV6, isIPv6, 4
	}
	return unix.NFPROTO_IPV4, isIPv4, 1
}

func (d destination) lower(l *lowering) []expr.Any {
	family, needs, registers := protoOf(d.v6)
	out := l.depend(needs)
	load, r := l.load(d.fields)
	return append(append(out, load...), &expr.Lookup{SourceRegister: r, SetName: d.name, IsDestRegSet: true, DestRegister: joined},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: joined, RegProtoMin: joined + registers, Specified: true})
}

// A translation rewrites one end of a connection to an address, and leaves the port.
type translation struct {
	kind expr.NATType
	addr netip.Addr
}

func (t translation) text() string {
	word := "dnat"
	if t.kind == expr.NATTypeSourceNAT {
		word = "snat"
	}
	return fmt.Sprintf("%s %s to %s", word, ipWord(t.addr.Is6()), t.addr)
}

func (t translation) lower(l *lowering) []expr.Any {
	family, needs, _ := protoOf(t.addr.Is6())
	return append(l.depend(needs), &expr.Immediate{Register: register, Data: t.addr.AsSlice()},
		&expr.NAT{Type: t.kind, Family: family, RegAddrMin: register})
}

// A copyTo sends the packet once more, by a device.
type copyTo struct {
	addr   netip.Addr
	device string
}

func (c copyTo) text() string { return fmt.Sprintf("dup to %s device %q", c.addr, c.device) }

func (c copyTo) lower(l *lowering) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: unix.NFT_REG_1, Data: c.addr.AsSlice()},
		&expr.Immediate{Register: unix.NFT_REG_2, Data: binaryutil.NativeEndian.PutUint32(l.index(c.device))},
		&expr.Dup{RegAddr: unix.NFT_REG_1, RegDev: unix.NFT_REG_2, IsRegDevSet: true},
	}
}

// ipOnly matches one of the two families.
type ipOnly struct{ v6 bool }

func (i ipOnly) text() string {
	if i.v6 {
		return "meta nfproto ipv6"
	}
	return "meta nfproto ipv4"
}

func (i ipOnly) lower(l *lowering) []expr.Any {
	_, d, _ := protoOf(i.v6)
	return l.depend(d)
}
