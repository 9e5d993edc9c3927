package firewall

import (
	"fmt"
	"net/netip"

	"github.com/bulkhead-engine/bulkhead/internal/network/policy"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Priorities: after defragmentation and before connections are tracked; before and after the filters of others; and where addresses are translated.
const (
	priorityRaw    = -300
	priorityFirst  = -10
	priorityDst    = -100
	prioritySrc    = 100
	priorityLast   = 1000
	priorityBridge = -300
)

var (
	hooks = map[string]*nftables.ChainHook{
		"prerouting": nftables.ChainHookPrerouting, "input": nftables.ChainHookInput, "forward": nftables.ChainHookForward,
		"output": nftables.ChainHookOutput, "postrouting": nftables.ChainHookPostrouting,
	}
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	loopback6 = netip.IPv6Loopback()
)

func base(name, hook string, priority int32, rules ...rule) *chain {
	return &chain{name: name, typ: nftables.ChainTypeFilter, hook: hooks[hook], hookName: hook, priority: priority, rules: rules}
}

func nat(name, hook string, priority int32, rules ...rule) *chain {
	c := base(name, hook, priority, rules...)
	c.typ = nftables.ChainTypeNAT
	return c
}

func plainChain(name string, rules ...rule) *chain { return &chain{name: name, rules: rules} }

// A family is the fields and names of rules that are there twice, for IPv4 and for IPv6.
type family struct {
	v6                          bool
	digit                       string
	addr                        kind
	src, dst                    field
	loopback, entry, back, gate netip.Addr
}

var families = [2]family{
	{false, "4", kindIPv4, ip4Src, ip4Dst, netip.MustParseAddr("127.0.0.1"), loopEntry4, loopBack4, loopGate4},
	{true, "6", kindIPv6, ip6Src, ip6Dst, loopback6, loopEntry6, loopBack6, loopGate6},
}

// routed is the table that judges what the host routes: from containers, to them, to the host, by way of published ports.
func routed() *table {
	t := &table{family: nftables.TableFamilyINet}
	names := func(name string) *set { return &set{name: name, key: []kind{kindName}} }
	t.sets = append(t.sets, names("bridges"), names("outside"), &set{name: "between", key: []kind{kindName, kindName}})
	for _, f := range families {
		t.sets = append(t.sets, routedSets(f)...)
	}
	t.chains = append(t.chains, inbound(), forward(), input())
	t.chains = append(t.chains, leaving(), entering(), toHostChain())
	t.chains = append(t.chains, heldChain(), refuse())
	t.chains = append(t.chains, translations()...)
	return t
}

func routedSets(f family) []*set {
	a := f.addr
	s := func(name string, kinds ...kind) *set { return &set{name: name + f.digit, key: kinds} }
	ends := s("ends", kindName, a)
	ends.counter = true
	ports, loop, any := s("ports", a, kindProto, kindPort), s("loop", a, kindProto, kindPort), s("any", kindProto, kindPort)
	ports.value, loop.value, any.value = []kind{a, kindPort}, []kind{a, kindPort}, []kind{a, kindPort}
	never, metadata := s("never", a), s("metadata", a)
	never.interval, metadata.interval = true, true
	for _, p := range policy.Never() {
		if p.Addr().Is6() == f.v6 {
			never.elements = append(never.elements, key(p))
		}
	}
	for _, p := range policy.Metadata() {
		if p.Addr().Is6() == f.v6 {
			metadata.elements = append(metadata.elements, key(p))
		}
	}
	allow, allowPort := s("allow", a, a), s("allowport", a, a, kindProto, kindPort)
	allow.interval, allowPort.interval = true, true
	name, namePort := s("name", a, a), s("nameport", a, a, kindProto, kindPort)
	name.timeout, namePort.timeout = true, true
	refused := s("refused", a)
	refused.value = []kind{kindVerdict}
	return []*set{
		ends, s("gateways", kindName, a), s("masquerade", a), never, metadata, s("openmeta", a), s("openhost", a),
		s("held", a), allow, allowPort, name, namePort, s("published", a, kindProto, kindPort), s("publishedany", kindProto, kindPort),
		ports, loop, any, refused,
	}
}

// inbound drops what comes from a bridge with an address that no end on it has.
func inbound() *chain {
	return base("inbound", "prerouting", priorityRaw,
		when(notIn("bridges", iifname), accept),
		when(within(ip4Dst, loopback4), counter, drop).because("nothing of a container is for the host's loopback"),
		when(in("ends4", iifname, ip4Src), accept),
		when(in("ends6", iifname, ip6Src), accept),
		when(counter, drop).because("not the address of an end on this bridge"),
	)
}

func forward() *chain {
	return base("forward", "forward", priorityFirst,
		when(to(loopNear), counter, drop).because("into this pair goes what the host itself sends"),
		when(to(loopFar), known, accept),
		when(to(loopFar), counter, drop),
		when(in("bridges", iifname), jump("leaving")),
		when(in("bridges", oifname), goTo("entering")),
	)
}

func input() *chain {
	return base("input", "input", priorityFirst,
		when(in("bridges", iifname), jump("tohost")),
		when(from(loopNear), established, accept),
		when(from(loopName+"*"), counter, drop).because("this pair carries published ports, nothing else"),
	)
}

// leaving judges what a container sends beyond its bridge; what it accepts others may still refuse.
func leaving() *chain {
	c := plainChain("leaving",
		when(established, accept),
		// What a bridge passes on comes here too where the host wants that of bridges (br_netfilter); nobody tracks these.
		when(is(icmp6Typ, []byte{135}, "nd-neighbor-solicit"), in("between", iifname, oifname), accept),
		when(is(icmp6Typ, []byte{136}, "nd-neighbor-advert"), in("between", iifname, oifname), accept),
		when(notNew, counter, drop).because("invalid or untracked"),
		errors4, errors6,
		when(in("between", iifname, oifname), accept),
		when(in("bridges", oifname), goTo("refuse")).because("another segment"),
		when(notIn("outside", iifname), goTo("refuse")).because("an internal network"),
	)
	for _, f := range families {
		c.rules = append(c.rules,
			when(in("never"+f.digit, f.dst), goTo("refuse")),
			when(in("metadata"+f.digit, f.dst), in("openmeta"+f.digit, f.src), accept),
			when(in("metadata"+f.digit, f.dst), goTo("refuse")),
			when(in("held"+f.digit, f.src), goTo("held")),
		)
	}
	c.rules = append(c.rules, when(accept))
	return c
}

// entering judges what somebody else than a container sends to one.
func entering() *chain {
	return plainChain("entering",
		when(known, accept),
		when(from(loopFar), translated, accept).because("published, and the host's own input has let it in"),
		when(counter, drop).because("not published"),
	)
}

// toHostChain judges what a container sends to the host itself.
func toHostChain() *chain {
	c := plainChain("tohost",
		when(established, accept),
		when(is(icmp6Typ, []byte{135}, "nd-neighbor-solicit"), accept),
		when(is(icmp6Typ, []byte{136}, "nd-neighbor-advert"), accept),
		when(notNew, counter, drop).because("invalid or untracked"),
		errors4, errors6,
		when(is(icmpType, []byte{8}, "echo-request"), in("gateways4", iifname, ip4Dst), accept),
		when(is(icmp6Typ, []byte{128}, "echo-request"), in("gateways6", iifname, ip6Dst), accept),
		when(in("metadata6", ip6Src), counter, drop).because("link-local addresses are for neighbours alone"),
		when(in("openhost4", ip4Src), accept),
		when(in("openhost6", ip6Src), accept),
		when(notIn("outside", iifname), goTo("refuse")).because("an internal network"),
	)
	for _, f := range families {
		exact, any := in("published"+f.digit, f.dst, l4proto, dport), in("publishedany"+f.digit, l4proto, dport)
		c.rules = append(c.rules,
			when(in("held"+f.digit, f.src), exact, goTo("held")), when(exact, accept),
			when(in("held"+f.digit, f.src), any, goTo("held")), when(ipOnly{f.v6}, any, accept))
	}
	c.rules = append(c.rules, when(goTo("refuse")))
	return c
}

// Errors about connections are nothing that a container has to say to anybody: it could say them of a neighbour's.
var (
	errors4 = when(number(l4proto, unix.IPPROTO_ICMP, "icmp"), related, counter, drop).because("errors about connections")
	errors6 = when(number(l4proto, unix.IPPROTO_ICMPV6, "ipv6-icmp"), related, counter, drop).because("errors about connections")
)

// heldChain judges what a container under an egress policy sends.
func heldChain() *chain {
	c := plainChain("held")
	for _, f := range families {
		c.rules = append(c.rules,
			when(in("name"+f.digit, f.src, f.dst), accept),
			when(in("nameport"+f.digit, f.src, f.dst, l4proto, dport), accept),
			when(in("allow"+f.digit, f.src, f.dst), accept),
			when(in("allowport"+f.digit, f.src, f.dst, l4proto, dport), accept),
		)
	}
	c.rules = append(c.rules, when(goTo("refuse")))
	return c
}

// refuse leads to the chain of the container that is refused something.
func refuse() *chain {
	return plainChain("refuse", when(lookup{"refused4", ip4Src}), when(lookup{"refused6", ip6Src}), when(counter, drop))
}

// translations are the chains that rewrite addresses.
func translations() []*chain {
	pre, out, post := nat("published", "prerouting", priorityDst), nat("local", "output", priorityDst), nat("source", "postrouting", prioritySrc)
	for _, f := range families {
		exact, any := []field{f.dst, l4proto, dport}, []field{l4proto, dport}
		pre.rules = append(pre.rules, when(from(loopFar), destination{f.v6, "ports" + f.digit, exact}), when(from(loopFar), destination{f.v6, "any" + f.digit, any}))
		out.rules = append(out.rules, when(destination{f.v6, "loop" + f.digit, exact}))
		loop := within(f.dst, loopback4)
		if f.v6 {
			loop = is(f.dst, loopback6.AsSlice(), loopback6.String())
		}
		out.rules = append(out.rules,
			when(loop, in("publishedany"+f.digit, any...), translation{expr.NATTypeDestNAT, f.entry}),
			when(destination{f.v6, "ports" + f.digit, exact}), when(toHost, destination{f.v6, "any" + f.digit, any}))
		post.rules = append(post.rules,
			when(to(loopNear), within(f.dst, loopPrefix(f.v6)), translation{expr.NATTypeSourceNAT, f.back}),
			when(from(loopFar), is(f.src, f.back.AsSlice(), f.back.String()), masquerade),
			when(from(loopFar), in("ends"+f.digit, oifname, f.src), masquerade).because("to a neighbour by the host's address"),
			when(in("masquerade"+f.digit, f.src), notIn("bridges", oifname), masquerade))
	}
	return []*chain{pre, out, post}
}

// first is the table that has nothing but the first packet of connections to published ports: everybody's input has accepted it, so it goes on to where it is translated.
func first(v6 bool) *table {
	f, fam := families[0], nftables.TableFamilyIPv4
	if v6 {
		f, fam = families[1], nftables.TableFamilyIPv6
	}
	t := &table{family: fam}
	t.sets = []*set{{name: "published", key: []kind{f.addr, kindProto, kindPort}}, {name: "publishedany", key: []kind{kindProto, kindPort}}}
	t.chains = []*chain{
		base("accepted", "input", priorityLast,
			when(from("lo"), accept),
			when(from(loopName+"*"), accept),
			when(notNew, accept),
			when(in("published", f.dst, l4proto, dport), goTo("goon")),
			when(toHost, in("publishedany", l4proto, dport), goTo("goon")),
		),
		plainChain("goon", when(counter, copyTo{f.gate, loopNear}), when(drop)),
	}
	return t
}

// framed is the table that judges the frames of containers' ends, before a bridge does anything with them.
func framed() *table {
	t := &table{family: nftables.TableFamilyBridge}
	t.sets = []*set{
		{name: "ports", key: []kind{kindName}},
		{name: "macs", key: []kind{kindName, kindMAC}},
		{name: "ends4", key: []kind{kindName, kindIPv4}},
		{name: "ends6", key: []kind{kindName, kindIPv6}},
		{name: "sure4", key: []kind{kindName, kindMAC, kindIPv4}},
		{name: "sure6", key: []kind{kindName, kindMAC, kindIPv6}},
	}
	t.chains = []*chain{
		// TCP of an end with its own addresses is most of what there is: one look at a set, in place of four, and no DHCP or neighbours to look for.
		base("frames", "prerouting", priorityBridge,
			when(number(etherTyp, unix.ETH_P_IP, "ip"), in("sure4", iifname, etherSrc, ip4Src), goTo("sure4")),
			when(number(etherTyp, unix.ETH_P_IPV6, "ip6"), in("sure6", iifname, etherSrc, ip6Src), goTo("sure6")),
			when(in("ports", iifname), goTo("frame"))),
		plainChain("sure4",
			when(options, counter, drop).because("options: source routes and the like"),
			when(within(ip4Dst, loopback4), counter, drop),
			when(number(l4proto, unix.IPPROTO_TCP, "tcp"), accept),
			when(goTo("frame4")),
		),
		plainChain("sure6", when(number(ip6Next, unix.IPPROTO_TCP, "tcp"), accept), when(goTo("frame6"))),
		base("own", "input", priorityBridge, when(reserved, in("ports", iifname), counter, drop).because("of bridges among themselves")),
		plainChain("frame",
			when(notIn("macs", iifname, etherSrc), counter, drop).because("not its hardware address"),
			when(number(etherTyp, unix.ETH_P_IP, "ip"), goTo("frame4")),
			when(number(etherTyp, unix.ETH_P_IPV6, "ip6"), goTo("frame6")),
			when(number(etherTyp, unix.ETH_P_ARP, "arp"), goTo("frameARP")),
			when(counter, drop).because("neither IP nor ARP"),
		),
		plainChain("frame4",
			when(notIn("ends4", iifname, ip4Src), counter, drop).because("not its address"),
			when(options, counter, drop).because("options: source routes and the like"),
			when(within(ip4Dst, loopback4), counter, drop),
			when(number(udpDport, 67, "67"), counter, drop).because("DHCP"),
			when(number(udpDport, 68, "68"), counter, drop).because("DHCP"),
			when(number(icmpType, 5, "redirect"), counter, drop),
			when(number(icmpType, 9, "router-advertisement"), counter, drop),
			when(accept),
		),
		frame6(),
		plainChain("frameARP",
			when(isNot(arpHType, []byte{0, 1}, "1"), counter, drop),
			when(isNot(arpPType, []byte{8, 0}, "ip"), counter, drop),
			when(isNot(arpHLen, []byte{6}, "6"), counter, drop),
			when(isNot(arpPLen, []byte{4}, "4"), counter, drop),
			when(notIn("macs", iifname, arpMAC), counter, drop).because("not its hardware address"),
			when(notIn("ends4", iifname, arpIP), counter, drop).because("not its address"),
			when(accept),
		),
	}
	return t
}

func frame6() *chain {
	c := plainChain("frame6", when(notIn("ends6", iifname, ip6Src), counter, drop).because("not its address"))
	for _, n := range []uint16{0, 43, 60, 135, 139, 140} {
		c.rules = append(c.rules, when(number(ip6Next, n, fmt.Sprint(n)), counter, drop).because("extension headers"))
	}
	c.rules = append(c.rules, when(number(ip6Next, 44, "44"), number(l4proto, 58, "ipv6-icmp"), counter, drop).because("nothing of ICMPv6 comes in pieces"))
	for _, d := range []uint16{546, 547} {
		c.rules = append(c.rules, when(number(udpDport, d, fmt.Sprint(d)), counter, drop).because("DHCP"))
	}
	for _, t := range []struct {
		number uint16
		words  string
	}{{133, "nd-router-solicit"}, {134, "nd-router-advert"}, {137, "nd-redirect"}, {138, "router-renumbering"}, {130, "mld-listener-query"}, {131, "mld-listener-report"}, {132, "mld-listener-done"}, {143, "mld2-listener-report"}} {
		c.rules = append(c.rules, when(number(icmp6Typ, t.number, t.words), counter, drop))
	}
	c.rules = append(c.rules, when(number(icmp6Typ, 136, "nd-neighbor-advert"), notIn("ends6", iifname, ndTarget), counter, drop).because("about an address of somebody else"), when(accept))
	return c
}
