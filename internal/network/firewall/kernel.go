package firewall

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	kernelTime = 20 * time.Second // for an answer of the kernel, which comes at once
	longest    = 32 << 20         // bytes of a batch: some 100,000 elements
	atOnce     = 128              // elements in a message: the length of an attribute is 16 bits
	maxComment = 120              // bytes: the kernel takes 255 of all user data
)

// open returns a connection to nftables in the network namespace of the calling thread.
func open() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.WithSockOptions(func(s *netlink.Conn) error {
		return s.SetDeadline(time.Now().Add(kernelTime))
	}))
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "nftables: %w", err)
	}
	return c, nil
}

// A batch collects what is changed at once, or not at all.
type batch struct {
	conn     *nftables.Conn
	index    func(device string) uint32
	messages []netlink.Message
	err      error
}

func newBatch(index func(string) uint32) (*batch, error) {
	b := &batch{index: index}
	c, err := collecting(func(m []netlink.Message) { b.messages = m })
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "nftables: %w", err)
	}
	b.conn = c
	return b, nil
}

func (b *batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// commit has the kernel do it. The kind of the error is that of the kernel's.
func (b *batch) commit() error {
	if b.err != nil {
		return errdef.Errorf(errdef.Internal, "nftables: %w", b.err)
	}
	if err := b.conn.Flush(); err != nil && !errors.Is(err, errCollected) {
		return errdef.Errorf(errdef.Internal, "nftables: %w", err)
	}
	if len(b.messages) == 0 {
		return nil
	}
	if err := send(b.messages); err != nil {
		return errdef.Errorf(kindOf(err), "nftables: %w", err)
	}
	return nil
}

func kindOf(err error) errdef.Kind {
	switch {
	case errors.Is(err, unix.ENOENT):
		return errdef.NotFound
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EBUSY):
		return errdef.Conflict
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return errdef.Denied
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return errdef.Unsupported
	}
	return errdef.Unavailable
}

func (t *table) kernel() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: t.family}
}

// create adds a whole table, which is not there.
func (b *batch) create(t *table) {
	k := b.conn.AddTable(t.kernel())
	for _, s := range t.sets {
		if err := b.conn.AddSet(s.kernel(k), nil); err != nil {
			b.fail(err)
		}
	}
	for _, c := range t.chains {
		b.chain(k, c)
	}
	for _, s := range t.sets {
		b.elements(k, s, false)
	}
	for _, c := range t.chains {
		b.rules(k, t, c)
	}
}

// extend adds the elements of a table, and the chains of its containers, to one that is there.
func (b *batch) extend(t *table) {
	k := t.kernel()
	add := func(maps bool) {
		for _, s := range t.sets {
			if !s.constant() && maps == (s.value != nil) {
				b.elements(k, s, false)
			}
		}
	}
	add(false) // first, so that those who listen to changes are not woken (Watch)
	for _, c := range t.chains {
		if c.own() {
			b.conn.AddChain(&nftables.Chain{Name: c.name, Table: k})
			b.conn.FlushChain(&nftables.Chain{Name: c.name, Table: k})
		}
	}
	add(true)
	for _, c := range t.chains {
		if c.own() {
			b.rules(k, t, c)
		}
	}
}

// reduce removes what extend has added. If not all of it is there, it is added first: the kernel fails a batch that removes what is not there.
func (b *batch) reduce(t *table, whole bool) {
	if !whole {
		b.extend(t)
	}
	k := t.kernel()
	for _, s := range t.sets {
		if !s.constant() {
			b.elements(k, s, true)
		}
	}
	for _, c := range t.chains {
		if c.own() {
			b.conn.FlushChain(&nftables.Chain{Name: c.name, Table: k})
			b.conn.DelChain(&nftables.Chain{Name: c.name, Table: k})
		}
	}
}

// remove deletes a whole table, which may not be there.
func (b *batch) remove(t *table) {
	b.conn.DelTable(b.conn.AddTable(t.kernel()))
}

// constant sets are the same in every table.
func (s *set) constant() bool {
	return s.interval && len(s.key) == 1
}

// own chains are those of containers.
func (c *chain) own() bool { return len(c.name) > 4 && c.name[:4] == "end-" }

func (b *batch) chain(k *nftables.Table, c *chain) {
	n := &nftables.Chain{Name: c.name, Table: k}
	if c.hook != nil {
		policy := nftables.ChainPolicyAccept
		n.Type, n.Hooknum, n.Priority, n.Policy = c.typ, c.hook, nftables.ChainPriorityRef(nftables.ChainPriority(c.priority)), &policy
	}
	b.conn.AddChain(n)
}

func (b *batch) rules(k *nftables.Table, t *table, c *chain) {
	for _, r := range c.rules {
		l := &lowering{family: t.family, done: map[dependency]bool{}, index: b.index}
		n := &nftables.Rule{Table: k, Chain: &nftables.Chain{Name: c.name, Table: k}}
		for _, s := range r.statements {
			n.Exprs = append(n.Exprs, s.lower(l)...)
		}
		if r.comment != "" {
			n.UserData = userdata.AppendString(nil, userdata.TypeComment, bounded(r.comment))
		}
		b.conn.AddRule(n)
	}
}

func bounded(s string) string { return s[:min(len(s), maxComment)] }

func (s *set) kernel(t *nftables.Table) *nftables.Set {
	k := &nftables.Set{
		Table: t, Name: s.name, KeyType: concat(s.key), Interval: s.interval, HasTimeout: s.timeout, Counter: s.counter,
		Concatenation: len(s.key) > 1,
	}
	if len(s.key) == 1 && s.key[0].Name == kindName.Name {
		k.KeyByteOrder = binaryutil.NativeEndian // what nft needs to list it
	}
	if s.value != nil {
		k.IsMap, k.DataType = true, concat(s.value)
	}
	return k
}

func concat(list []kind) nftables.SetDatatype {
	if len(list) == 1 {
		return list[0].SetDatatype
	}
	var types []nftables.SetDatatype
	for _, k := range list {
		types = append(types, k.SetDatatype)
	}
	return nftables.MustConcatSetType(types...)
}

// elements adds those of a set, or removes them.
func (b *batch) elements(t *nftables.Table, s *set, remove bool) {
	k := s.kernel(t)
	for some := range slices.Chunk(s.elements, atOnce) {
		var list []nftables.SetElement
		for _, e := range some {
			list = append(list, e.kernel(s)...)
		}
		change := b.conn.SetAddElements
		if remove {
			change = b.conn.SetDeleteElements
		}
		if err := change(k, list); err != nil {
			b.fail(fmt.Errorf("set %s: %w", s.name, err))
		}
	}
}

func (e element) kernel(s *set) []nftables.SetElement {
	k := nftables.SetElement{Key: e.first, Val: e.value, Timeout: e.timeout, Comment: bounded(e.comment)}
	switch {
	case e.chain != "":
		k.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.chain}
	case s.interval && len(s.key) > 1:
		k.KeyEnd = e.last
	case s.interval:
		out := []nftables.SetElement{k}
		if next := after(e.last); next != nil {
			out = append(out, nftables.SetElement{Key: next, IntervalEnd: true})
		}
		return out
	}
	return []nftables.SetElement{k}
}

// after is the key that follows one; nil after the last of all.
func after(b []byte) []byte {
	b = slices.Clone(b)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]++
		if b[i] != 0 {
			return b
		}
	}
	return nil
}

// refresh adds an element for a time, from now on: one that is there would keep its old end.
func (b *batch) refresh(t *nftables.Table, s *set, e element, lasts time.Duration) {
	e.timeout = lasts
	once := &set{name: s.name, key: s.key, timeout: true, elements: []element{e}}
	b.elements(t, once, false)
	b.elements(t, once, true)
	b.elements(t, once, false)
}
