package resolver

import (
	"encoding/binary"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// TableName is the name of the nftables table, of family inet, in the container's namespace.
const TableName = "bulkhead"

// Offsets in the headers of IPv4, UDP and TCP.
const (
	ipSource, ipDestination     = 12, 16
	sourcePort, destinationPort = 0, 2
	udpChecksum, tcpChecksum    = 6, 16
	dnsPort                     = 53
)

// redirect makes port 53 of the resolver's address lead to its sockets, by writing the port into what goes there, before anything tracks connections, and back into the
// answers, after that:
//
//	table inet bulkhead {
//		chain ask    { type filter hook output priority -300; oif "lo" ip daddr 127.0.0.11 udp dport 53 udp dport set PORT ... }
//		chain answer { type filter hook input  priority  300; iif "lo" ip saddr 127.0.0.11 udp sport PORT udp sport set 53 ... }
//	}
//
// The rules of the container's own, if it may have any, see the port that they expect on neither side or on both.
func redirect(netns int, packets, streams uint16) error {
	c, err := nftables.New(nftables.WithNetNSFd(netns))
	if err != nil {
		return errdef.Errorf(errdef.Internal, "resolver: nftables: %w", err)
	}
	t := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: TableName})
	ask := c.AddChain(&nftables.Chain{
		Name: "ask", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw,
	})
	answer := c.AddChain(&nftables.Chain{
		Name: "answer", Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRef(300),
	})
	for _, p := range []struct {
		protocol byte
		port     uint16
		checksum uint32
	}{{unix.IPPROTO_UDP, packets, udpChecksum}, {unix.IPPROTO_TCP, streams, tcpChecksum}} {
		c.AddRule(&nftables.Rule{Table: t, Chain: ask, Exprs: rewrite(rewriting{
			device: expr.MetaKeyOIF, address: ipDestination, protocol: p.protocol, at: destinationPort, from: dnsPort, to: p.port, checksum: p.checksum,
		})})
		c.AddRule(&nftables.Rule{Table: t, Chain: answer, Exprs: rewrite(rewriting{
			device: expr.MetaKeyIIF, address: ipSource, protocol: p.protocol, at: sourcePort, from: p.port, to: dnsPort, checksum: p.checksum,
		})})
	}
	if err := c.Flush(); err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "resolver: nftables in the container's namespace: %w", err), "the kernel needs nf_tables with nf_tables_inet")
	}
	return nil
}

// A rewriting changes one port of packets to or from the resolver.
type rewriting struct {
	device   expr.MetaKey
	address  uint32 // where the resolver's address stands in the IP header
	protocol byte
	at       uint32 // where the port stands
	from, to uint16
	checksum uint32 // where the checksum stands
}

const loopbackIndex = 1 // of the first device of every namespace, LOOPBACK_IFINDEX in include/net/flow.h

func rewrite(r rewriting) []expr.Any {
	equals := func(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }
	port := func(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }
	return []expr.Any{
		&expr.Meta{Key: r.device, Register: 1},
		equals(binary.NativeEndian.AppendUint32(nil, loopbackIndex)),
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		equals([]byte{unix.NFPROTO_IPV4}),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		equals([]byte{r.protocol}),
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: r.address, Len: 4},
		equals(Address.AsSlice()),
		&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: r.at, Len: 2},
		equals(port(r.from)),
		&expr.Immediate{Register: 1, Data: port(r.to)},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: r.at, Len: 2,
			CsumType: expr.CsumTypeInet, CsumOffset: r.checksum,
		},
	}
}
