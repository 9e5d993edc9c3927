package firewall

import (
	"net/netip"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/network"
	"github.com/google/nftables"
)

// Add lets an end of a network take part: its elements, and the tables, if they are not there. It may be called again for an end that is in. The caller has the lock of the networks.
func Add(a network.Attached) error {
	want, err := compile([]network.Attached{a})
	if err != nil {
		return err
	}
	have, err := present()
	if err != nil {
		return err
	}
	if want.published() {
		unlock, err := lockPair()
		if err != nil {
			return err
		}
		defer unlock()
	}
	fresh, err := readyLoop(want, have)
	if err != nil {
		return err
	}
	err = put(want, have, fresh)
	if errdef.Is(err, errdef.Conflict) { // left by somebody who was killed, and whose end nobody knows any more
		if err = makeWay(want, have); err == nil {
			err = put(want, have, fresh)
		}
		if errdef.Is(err, errdef.Conflict) {
			return errdef.Errorf(errdef.Conflict, "published ports of %s: one of SCTP is another container's: %w", a.Endpoint.Name, err)
		}
	}
	if err != nil {
		return explain(err)
	}
	return forgetFlows(a)
}

// put adds what is wanted to the tables that are there, and makes the others.
func put(want *tables, have map[nftables.TableFamily]bool, fresh bool) error {
	b, err := newBatch(indexOf)
	if err != nil {
		return err
	}
	for _, t := range want.list() {
		switch {
		case have[t.family]:
			b.extend(t)
			if fresh {
				b.renew(t)
			}
		case want.needs(t):
			b.create(t)
		}
	}
	return b.commit()
}

// makeWay removes from maps what stands in the way of an end: elements for its addresses, which it alone has, and for its ports of TCP and UDP, which its socket holds. A port of SCTP, which may
// be held by nothing but the element, is not taken from anybody.
func makeWay(want *tables, have map[nftables.TableFamily]bool) error {
	for _, t := range want.list() {
		for _, s := range t.sets {
			for _, e := range s.elements {
				if s.value == nil || !have[t.family] || strings.Contains(e.text, protoNames[protocols[network.SCTP]]) {
					continue
				}
				b, err := newBatch(indexOf)
				if err != nil {
					return err
				}
				e.value, e.chain = nil, ""
				b.elements(t.kernel(), &set{name: s.name, key: s.key, value: s.value, elements: []element{e}}, true)
				if err := b.commit(); err != nil && !errdef.Is(err, errdef.NotFound) {
					return err
				}
			}
		}
	}
	return nil
}

// needs reports whether there is something for a table to do: the two for first packets have it only with published ports.
func (t *tables) needs(one *table) bool {
	switch one {
	case t.first4, t.first6:
		return len(one.set("published").elements)+len(one.set("publishedany").elements) > 0
	}
	return true
}

// published reports whether any port is.
func (t *tables) published() bool {
	for _, name := range []string{"ports4", "ports6", "any4", "any6"} {
		if len(t.routed.set(name).elements) > 0 {
			return true
		}
	}
	return false
}

// readyLoop makes the pair of devices for published ports. It reports whether it is a new one, which the tables that are there do not know.
func readyLoop(want *tables, have map[nftables.TableFamily]bool) (fresh bool, err error) {
	if !want.published() {
		return false, nil
	}
	made, err := makeLoop()
	return made && (have[nftables.TableFamilyIPv4] || have[nftables.TableFamilyIPv6]), err
}

// renew writes the rule with the number of the pair anew.
func (b *batch) renew(t *table) {
	for _, c := range t.chains {
		if c.name == "goon" {
			k := t.kernel()
			b.conn.FlushChain(&nftables.Chain{Name: c.name, Table: k})
			b.rules(k, t, c)
		}
	}
}

// Remove takes an end out, and with the last one of all networks the tables. What is not there is fine. The caller has the lock of the networks.
func Remove(a network.Attached, last bool) error {
	if last {
		if err := removeAll(); err != nil {
			return err
		}
		return forgetFlows(a)
	}
	if err := removeOne(a); err != nil {
		return err
	}
	if held(a) {
		if err := unlearn(a.Endpoint.Addresses()); err != nil {
			return err
		}
	}
	return forgetFlows(a)
}

// removeAll deletes the tables that are there, and the pair, if no other engine has tables.
func removeAll() error {
	unlock, err := lockPair()
	if err != nil {
		return err
	}
	defer unlock()
	have, err := present()
	if err != nil {
		return err
	}
	b, err := newBatch(indexOf)
	if err != nil {
		return err
	}
	for _, t := range empty().list() {
		if have[t.family] {
			b.remove(t)
		}
	}
	if err := b.commit(); err != nil {
		return err
	}
	list, err := listTables()
	if err != nil || strangers(list) {
		return err
	}
	return removeLoop()
}

func removeOne(a network.Attached) error {
	gone, err := compile([]network.Attached{a})
	if err != nil {
		return err
	}
	gone.keepShared()
	have, err := present()
	if err != nil {
		return err
	}
	return reduce(gone, have)
}

// reduce removes elements and chains from the tables that are there. Some of it may be gone already, and then a batch fails as a whole: it is tried again with all of it put in first.
func reduce(gone *tables, have map[nftables.TableFamily]bool) error {
	var err error
	for _, whole := range []bool{true, false} {
		b, berr := newBatch(indexOf)
		if berr != nil {
			return berr
		}
		for _, t := range gone.list() {
			if have[t.family] {
				b.reduce(t, whole)
			}
		}
		if err = b.commit(); err == nil {
			return nil
		}
	}
	return err
}

// keepShared leaves out what ends of the same network have in common: it goes with the network's last end, by Close.
func (t *tables) keepShared() {
	for _, name := range sharedSets {
		t.routed.set(name).elements = nil
	}
}

var sharedSets = []string{"bridges", "outside", "between", "gateways4", "gateways6"}

// Close takes out what the ends of a network have in common, when it has none any more. Remove with last does it too.
func Close(n *network.Network) error {
	t := empty()
	a := network.Attached{Network: n, Endpoint: &network.Endpoint{MAC: "00:00:00:00:00:00"}}
	if err := t.add(a); err != nil {
		return err
	}
	have, err := present()
	if err != nil || !have[t.routed.family] {
		return err
	}
	for _, s := range t.routed.sets {
		if !contains(sharedSets, s.name) {
			s.elements = nil
		}
	}
	t.routed.chains, t.framed, t.first4, t.first6 = nil, &table{}, &table{}, &table{}
	return reduce(t, have)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// Restore puts all of it in place anew, in one step, whatever is there: all are the ends of all networks. The caller has the lock of the networks.
func Restore(all []network.Attached) error {
	want, err := compile(all)
	if err != nil {
		return err
	}
	if want.published() {
		unlock, err := lockPair()
		if err != nil {
			return err
		}
		defer unlock()
		if _, err := makeLoop(); err != nil {
			return err
		}
	}
	b, err := newBatch(indexOf)
	if err != nil {
		return err
	}
	have, err := present()
	if err != nil {
		return err
	}
	for _, t := range want.list() {
		if have[t.family] {
			b.remove(t)
		}
		if len(all) > 0 && want.needs(t) {
			b.create(t)
		}
	}
	return explain(b.commit())
}

// present says of which families there is a table of ours.
func present() (map[nftables.TableFamily]bool, error) {
	list, err := listTables()
	if err != nil {
		return nil, err
	}
	out := map[nftables.TableFamily]bool{}
	for _, t := range list {
		if t.Name == tableName {
			out[t.Family] = true
		}
	}
	return out, nil
}

func listTables() ([]*nftables.Table, error) {
	c, err := open()
	if err != nil {
		return nil, err
	}
	list, err := c.ListTables()
	if err != nil {
		return nil, explain(errdef.Errorf(kindOf(err), "nftables: list tables: %w", err))
	}
	return list, nil
}

// Text is what Restore would put in place, as nft lists it.
func Text(all []network.Attached) (string, error) {
	t, err := compile(all)
	if err != nil {
		return "", err
	}
	out := ""
	for _, x := range t.list() {
		if t.needs(x) {
			out += x.Text()
		}
	}
	return out, nil
}

// held reports whether an end is under a policy, and so may have learned addresses.
func held(a network.Attached) bool { return !a.Endpoint.Policy.Open || !a.Network.Policy.Open }

// unlearn removes all addresses that were learned for a source.
func unlearn(sources []netip.Addr) error {
	if have, err := present(); err != nil || !have[nftables.TableFamilyINet] {
		return err
	}
	c, err := open()
	if err != nil {
		return err
	}
	removed := false
	for _, src := range sources {
		for _, name := range []string{"name", "nameport"} {
			s := routed().set(name + digit(src))
			k := s.kernel(routed().kernel())
			list, err := c.GetSetElements(k)
			if err != nil {
				return errdef.Errorf(kindOf(err), "nftables: addresses learned: %w", err)
			}
			var gone []nftables.SetElement
			for _, e := range list {
				if len(e.Key) > src.BitLen()/8 && string(e.Key[:src.BitLen()/8]) == string(src.AsSlice()) {
					gone = append(gone, nftables.SetElement{Key: e.Key})
				}
			}
			if len(gone) > 0 {
				removed = true
				if err := c.SetDeleteElements(k, gone); err != nil {
					return errdef.Errorf(errdef.Internal, "nftables: %w", err)
				}
			}
		}
	}
	if !removed {
		return nil
	}
	// One may have timed out meanwhile, and then nothing is removed: the rest goes within its time.
	if err := c.Flush(); err != nil && kindOf(err) != errdef.NotFound {
		return errdef.Errorf(kindOf(err), "nftables: %w", err)
	}
	return nil
}
