package firewall

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// A probe is something of the kernel that the rules need, and how its configuration calls it.
type probe struct {
	option string
	what   string
	table  nftables.TableFamily
	hook   string
	nat    bool
	exprs  []expr.Any
}

func probes() []probe {
	inet := nftables.TableFamilyINet
	return []probe{
		{"CONFIG_NF_TABLES_INET", "nftables for IPv4 and IPv6 (modprobe nf_tables)", inet, "", false, nil},
		{"CONFIG_NFT_CT", "the state of connections in rules (modprobe nft_ct)", inet, "forward", false, exprs(established)},
		{"CONFIG_NFT_REJECT_INET", "answers to what is refused (modprobe nft_reject_inet)", inet, "forward", false, exprs(reject)},
		{"CONFIG_NFT_LIMIT", "rates in rules (modprobe nft_limit)", inet, "forward", false, exprs(sparing)},
		{"CONFIG_NFT_LOG", "a log of what is refused (modprobe nft_log)", inet, "forward", false, exprs(toLog(1))},
		{"CONFIG_NFT_FIB_INET", "routes in rules (modprobe nft_fib_inet)", inet, "input", false, exprs(toHost)},
		{"CONFIG_NFT_NAT", "translation of addresses (modprobe nft_chain_nat nft_nat)", inet, "output", true, nil},
		{"CONFIG_NFT_MASQ", "translation to the host's address (modprobe nft_masq)", inet, "postrouting", true, exprs(masquerade)},
		{"CONFIG_NF_TABLES_BRIDGE", "nftables for bridges", nftables.TableFamilyBridge, "prerouting", false, nil},
		{"CONFIG_NFT_DUP_IPV4", "copies of packets (modprobe nft_dup_ipv4)", nftables.TableFamilyIPv4, "input", false, exprs(copyTo{loopGate4, "lo"})},
		{"CONFIG_NFT_DUP_IPV6", "copies of packets (modprobe nft_dup_ipv6)", nftables.TableFamilyIPv6, "input", false, exprs(copyTo{loopGate6, "lo"})},
	}
}

func exprs(s statement) []expr.Any {
	return s.lower(&lowering{family: nftables.TableFamilyINet, done: map[dependency]bool{}, index: indexOf})
}

// explain finds out which part of the kernel is missing when a batch has failed, by one small batch for each part.
func explain(err error) error { return explainBy(err, probes()) }

func explainBy(err error, list []probe) error {
	if err == nil || errdef.Is(err, errdef.Denied) {
		return err
	}
	for _, p := range list {
		if p.try() != nil {
			err := errdef.Errorf(errdef.Unsupported, "networks need %s: this kernel has it not", p.what)
			return errdef.WithHint(err, "the kernel's configuration has to have "+p.option+"; --network none and --network host do without")
		}
	}
	return err
}

// try makes a table with nothing but this in it, and removes it in the same step.
func (p probe) try() error {
	b, err := newBatch(indexOf)
	if err != nil {
		return err
	}
	t := b.conn.AddTable(&nftables.Table{Name: tableName + probeSuffix, Family: p.table})
	if p.hook != "" {
		c := base("probe", p.hook, 0)
		if p.nat {
			c = nat("probe", p.hook, priorityDst)
		}
		b.chain(t, c)
		if p.exprs != nil {
			b.conn.AddRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: "probe", Table: t}, Exprs: p.exprs})
		}
	}
	b.conn.DelTable(t)
	return b.commit()
}
