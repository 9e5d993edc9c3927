package firewall

import (
	"net/netip"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/bulkhead-engine/bulkhead/internal/network/policy"
)

// mostLearned is how many addresses of one answer are learned: a hostile name server must not fill the kernel's memory.
const mostLearned = 64

// Learn lets an end reach addresses that a name has, for a time, as far as its policies allow that name: matches says which of their destinations it is. Addresses that are closed to
// every container are not learned, whatever name they have. It reports whether any was.
func Learn(a network.Attached, matches func(network.Destination) bool, addrs []netip.Addr, lasts time.Duration) (bool, error) {
	t := routed()
	k := t.kernel()
	b, err := newBatch(indexOf)
	if err != nil {
		return false, err
	}
	some := false
	for i, dst := range addrs {
		dst = dst.Unmap().WithZone("")
		if i >= mostLearned || policy.Closed(dst) {
			continue
		}
		for _, src := range a.Endpoint.Addresses() {
			if src.Is6() != dst.Is6() {
				continue
			}
			for _, p := range named(a.Endpoint.Policy, a.Network.Policy, matches, dst) {
				for _, e := range p.learned(src) {
					some = true
					b.refresh(k, t.set(e.set+digit(src)), e.element, lasts)
				}
			}
		}
	}
	if !some {
		return false, nil
	}
	if err := b.commit(); err != nil {
		return false, errdef.Errorf(errdef.KindOf(err), "learn an address of a name: %w", err)
	}
	return true, nil
}
