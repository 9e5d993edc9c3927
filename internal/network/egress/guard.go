package egress

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/firewall"
	"github.com/bulkhead-engine/bulkhead/internal/network/policy"
	"github.com/bulkhead-engine/bulkhead/internal/network/refusal"
	"github.com/bulkhead-engine/bulkhead/internal/network/resolver"
)

const (
	searches  = 2                // for processes at once
	mostOften = 20               // searches in one second: what a container is refused costs the host, not the container
	mostNames = 4096             // addresses whose names are remembered
	mostOpen  = 8192             // addresses of names that are open at once: a name server that the container works with must not fill the kernel's memory
	reserve   = 60 * time.Second // that addresses are open beyond their time, so that not each answer has to change the rules
)

// A Guard is what one container may reach, in its monitor: what its resolver asks (resolver.Policy), and who explains what was refused.
type Guard struct {
	log  *refusal.Log
	busy chan struct{} // searches for processes that are under way

	mu      sync.Mutex
	ends    []network.Attached
	names   map[netip.Addr]string // that were last resolved to an address
	learned map[learned]time.Time // what is open, and until when
	pid     int
	second  time.Time // in which were searched
	count   int
}

type learned struct {
	name string
	addr netip.Addr
}

var _ resolver.Policy = (*Guard)(nil)

// New returns a guard, of a container that has no ends yet. Refusals go into log, if it is not nil.
func New(log *refusal.Log) *Guard {
	return &Guard{log: log, busy: make(chan struct{}, searches), names: map[netip.Addr]string{}, learned: map[learned]time.Time{}}
}

// Set says what ends of networks the container has now, and which process is its first (0: none yet), by which the processes of sockets are found. What was learned is open
// to the new ends too; what cannot be opened is learned again when the name is asked for again.
func (g *Guard) Set(ends []network.Attached, pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ends, g.pid = ends, pid
	if !Held(ends) || g.relearn() != nil {
		g.learned = map[learned]time.Time{}
	}
}

// Held reports whether there is anything that the container may not reach by its policy or a network's.
func Held(ends []network.Attached) bool {
	for _, a := range ends {
		if !a.Endpoint.Policy.Open || !a.Network.Policy.Open {
			return true
		}
	}
	return false
}

// Limits reports whether there is anything that the resolver has to hold the container to.
func (g *Guard) Limits() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Held(g.ends)
}

// Allowed reports whether a name may be asked for: if it may be reached by way of one of the networks.
func (g *Guard) Allowed(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.ends {
		if allows(a.Endpoint.Policy, name) && allows(a.Network.Policy, name) {
			return true
		}
	}
	return false
}

func allows(p network.Policy, name string) bool {
	if p.Open {
		return true
	}
	for _, d := range p.Allow {
		if policy.Matches(d, name) {
			return true
		}
	}
	return false
}

// Learn opens the addresses of a name, for a time. If there are too many that are open, it is an error, and the container does not get the answer.
func (g *Guard) Learn(name string, addrs []netip.Addr, lasts time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	var missing []netip.Addr
	for _, addr := range addrs {
		g.remember(addr, name)
		if g.learned[learned{name, addr}].Before(now.Add(lasts)) {
			missing = append(missing, addr)
		}
	}
	if len(missing) == 0 || !Held(g.ends) {
		return nil
	}
	if g.forget(now, len(missing)); len(g.learned)+len(missing) > mostOpen {
		return errdef.Errorf(errdef.Unavailable, "egress: %s: %d addresses are open, which is the most that one container may have", name, len(g.learned))
	}
	if err := g.open(name, missing, lasts+reserve); err != nil {
		return err
	}
	for _, addr := range missing {
		g.learned[learned{name, addr}] = now.Add(lasts + reserve)
	}
	return nil
}

// open changes the rules.
func (g *Guard) open(name string, addrs []netip.Addr, lasts time.Duration) error {
	for _, a := range g.ends {
		if _, err := firewall.Learn(a, func(d network.Destination) bool { return policy.Matches(d, name) }, addrs, lasts); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "egress: %s: %w", name, err)
		}
	}
	return nil
}

// remember notes the name of an address; of too many, some are forgotten.
func (g *Guard) remember(addr netip.Addr, name string) {
	if len(g.names) >= mostNames {
		for old := range g.names {
			delete(g.names, old)
			if len(g.names) < mostNames/2 {
				break
			}
		}
	}
	g.names[addr.Unmap()] = name
}

// forget forgets what is closed by now, when there is no room for more.
func (g *Guard) forget(now time.Time, more int) {
	if len(g.learned)+more <= mostOpen {
		return
	}
	for l, end := range g.learned {
		if end.Before(now) {
			delete(g.learned, l)
		}
	}
}

// Relearn opens again what is open, after the rules were put in place anew.
func (g *Guard) Relearn() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.relearn()
}

func (g *Guard) relearn() error {
	now := time.Now()
	for l, end := range g.learned {
		left := end.Sub(now)
		if left <= 0 {
			delete(g.learned, l)
			continue
		}
		if err := g.open(l.name, []netip.Addr{l.addr}, left); err != nil {
			return err
		}
	}
	return nil
}

// Closed reports whether an address stays closed whatever name it has.
func (g *Guard) Closed(addr netip.Addr) bool {
	if policy.Closed(addr) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.ends { // its own networks: a name of the world's that leads there wants to be taken for a neighbour
		for _, s := range a.Network.Subnets {
			if s.Prefix.Contains(addr.Unmap()) {
				return true
			}
		}
	}
	return false
}

// Refused notes a question that the resolver did not answer.
func (g *Guard) Refused(r resolver.Refusal) {
	rule := "egress: the policy does not name it"
	if r.Addr.IsValid() {
		rule = "egress: the name has an address that is closed"
	}
	rec := refusal.Record{Time: time.Now(), Protocol: "dns", Name: r.Name, Address: r.Addr, Rule: rule}
	protocol := uint8(17)
	if r.Stream {
		protocol = 6
	}
	g.note(rec, protocol, r.Client)
}

// Packet notes a packet that the firewall has refused.
func (g *Guard) Packet(p refusal.Packet) {
	g.mu.Lock()
	rec := refusal.Record{
		Time: p.Time, Protocol: refusal.Protocol(p.Protocol), Address: p.Dst.Addr(), Port: p.Dst.Port(),
		Name: g.names[p.Dst.Addr()], Rule: rule(g.ends, p, isBridge(p.Out)),
	}
	g.mu.Unlock()
	g.note(rec, p.Protocol, p.Src)
}

// note writes a record, with the process if it is found.
func (g *Guard) note(r refusal.Record, protocol uint8, local netip.AddrPort) {
	if g.log == nil {
		return
	}
	g.mu.Lock()
	pid := g.pid
	if now := time.Now(); now.Sub(g.second) > time.Second {
		g.second, g.count = now, 0
	}
	g.count++
	often := g.count > mostOften
	g.mu.Unlock()
	if often {
		g.log.Add(r)
		return
	}
	select {
	case g.busy <- struct{}{}:
		go func() {
			defer func() { <-g.busy }()
			r.PID, r.Process = refusal.Process(pid, protocol, local)
			g.log.Add(r)
		}()
	default: // a container that is refused very much at once: without the process
		g.log.Add(r)
	}
}

// rule says what refused a packet, as the tables judge it.
func rule(ends []network.Attached, p refusal.Packet, toBridge bool) string {
	dst := p.Dst.Addr()
	var a *network.Attached
	for i := range ends {
		for _, addr := range ends[i].Endpoint.Addresses() {
			if addr == p.Src.Addr() {
				a = &ends[i]
			}
		}
	}
	switch {
	case a == nil:
		return "egress"
	case p.ToHost && a.Network.Outside:
		return "host: its own services are closed to containers (--egress host opens them)"
	case toBridge:
		return "segment: containers of other networks are reached by published ports alone"
	case !a.Network.Outside:
		return "network " + a.Network.Name + ": is internal"
	case policy.Closed(dst):
		return "closed: link-local addresses and metadata services (--egress metadata opens them)"
	case !a.Endpoint.Policy.Open:
		return "egress: " + strings.Join(policy.Words(a.Endpoint.Policy), " ")
	}
	return fmt.Sprintf("egress of network %s: %s", a.Network.Name, strings.Join(policy.Words(a.Network.Policy), " "))
}

// isBridge reports whether a device is one.
func isBridge(index int) bool {
	if index == 0 {
		return false
	}
	i, err := net.InterfaceByIndex(index)
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join("/sys/class/net", i.Name, "bridge"))
	return err == nil
}
