package seccomp

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxProgram is the longest program that the kernel takes: linux/bpf_common.h BPF_MAXINSNS.
const maxProgram = 4096

// Compile returns the filter of a profile for the architecture of this program. An error in the profile is errdef.Invalid and names
// the field; an architecture without a name in profiles is errdef.Unsupported.
func Compile(p *specs.LinuxSeccomp) (*Filter, error) { return compile(p, nativeArch()) }

func compile(p *specs.LinuxSeccomp, native archID) (*Filter, error) {
	checked, err := parse(p, native)
	if err != nil {
		return nil, err
	}
	c := compiler{p: checked, g: newGraph()}
	c.deflt = c.g.action(checked.deflt)
	c.beyond = c.deflt
	switch checked.deflt & retActionMask {
	case retAllow, retLog, retTrace:
	default:
		c.beyond = c.g.action(retENOSYS)
	}
	root, err := c.program()
	if err != nil {
		return nil, err
	}
	program := c.g.emit(root)
	if len(program) > maxProgram {
		return nil, errdef.Errorf(errdef.Invalid,
			"linux.seccomp.syscalls: the filter would have %d instructions, the kernel takes at most %d", len(program), maxProgram)
	}
	return &Filter{Program: program, Flags: checked.flags, Notify: checked.notify}, nil
}

// compiler holds what the architectures of one profile share.
type compiler struct {
	p      *profile
	g      *graph
	deflt  ref // the default action
	beyond ref // what a number above all those named gets
}

// program returns the first node: the choice of the architecture.
func (c *compiler) program() (ref, error) {
	r := c.g.action(retKillThread) // libseccomp's action for an architecture that is not listed
	for i := len(c.p.archs) - 1; i >= 0; i-- {
		id := c.p.archs[i]
		if id == archX32 { // has the token of x86_64, which is always there
			continue
		}
		section, err := c.section(id)
		if err != nil {
			return 0, err
		}
		r = c.g.add(node{op: opEqual, word: wordArch, mask: allBits, k: archs[id].token, t: section, f: r})
	}
	return r, nil
}

// section returns the decisions for one architecture token.
func (c *compiler) section(id archID) (ref, error) {
	s := make(spans, 0, 256)
	if archs[id].base > 0 {
		s.add(0, c.deflt, 1)
	}
	if err := c.numbers(&s, id); err != nil {
		return 0, err
	}
	if id == archX8664 {
		if err := c.x32(&s); err != nil {
			return 0, err
		}
	}
	return c.g.search(s, 1<<32), nil
}

// x32 adds the numbers of the x32 ABI: its calls if it is listed, else nothing may use it.
func (c *compiler) x32(s *spans) error {
	for _, a := range c.p.archs {
		if a == archX32 {
			return c.numbers(s, archX32)
		}
	}
	s.add(x32Bit, c.g.action(retKillThread), 1)
	s.add(1<<32-1, c.deflt, 1)
	return nil
}

// slot is what the rules say of one number.
type slot struct {
	decided bool // by a rule without conditions
	action  uint32
	rules   []rule
}

// denseNumbers is above the largest number of a table, without base; ARM's private calls come after it.
const (
	denseNumbers = 640
	privateCalls = 16
)

// table has the slots of one architecture.
type table struct {
	a     *arch
	deflt uint32

	// The largest number that the profile names, among private calls, and of the calls that multiplex; -1 for none.
	last, lastP, lastMux int

	slots [denseNumbers + privateCalls]slot
}

// numbers adds the spans of one architecture's numbers.
func (c *compiler) numbers(s *spans, id archID) error {
	t := &table{a: &archs[id], deflt: c.p.deflt, last: -1, lastP: -1, lastMux: -1}
	for i := range c.p.calls {
		t.call(&c.p.calls[i], i)
	}
	end, beyond := t.last, c.beyond
	if t.last < 0 && t.lastP < 0 {
		beyond = c.deflt
	}
	if beyond == c.deflt { // rules for calls without a number of their own may be above those with one
		end = max(end, t.lastMux)
	}
	for n := 0; n <= end; n++ {
		if n == 0 && (id == archS390 || id == archS390X) {
			s.add(0, beyond, weightPlain)
			continue
		}
		if err := c.number(s, t, t.a.base+uint32(n), &t.slots[n]); err != nil {
			return err
		}
	}
	s.add(t.a.base+uint32(end+1), beyond, 1)
	if t.lastP < 0 {
		return nil
	}
	for n := 0; n <= t.lastP; n++ {
		if err := c.number(s, t, privateBase+uint32(n), &t.slots[denseNumbers+n]); err != nil {
			return err
		}
	}
	s.add(privateBase+uint32(t.lastP+1), c.beyond, 1)
	return nil
}

// Weights of what the search looks for, see spans. Calls that look at arguments come first, because the kernel cannot answer them
// from its bitmap; the x32 ABI, which hardly any kernel has, comes last.
const (
	weightX32         = 1
	weightPlain       = 16
	weightConditional = 8 // times the other
)

// number adds the decision for one number.
func (c *compiler) number(s *spans, t *table, nr uint32, d *slot) error {
	weight := int32(weightPlain)
	if t.a.base == x32Bit {
		weight = weightX32
	}
	switch {
	case d.decided:
		s.add(nr, c.g.action(d.action), weight)
	case len(d.rules) == 0:
		s.add(nr, c.deflt, weight)
	default:
		ordered, err := order(d.rules, t.a.wide)
		if err != nil {
			return err
		}
		s.add(nr, c.g.rules(t.a, ordered, c.deflt), weight*weightConditional)
	}
	return nil
}

// call enters one entry of the profile.
func (t *table) call(c *call, entry int) {
	same := c.action == t.deflt
	for _, id := range c.names {
		n := t.a.nr[id]
		var d *slot
		switch {
		case n == absent:
		case n >= private:
			t.lastP = max(t.lastP, int(n-private))
			d = &t.slots[denseNumbers+n-private]
		default:
			t.last = max(t.last, int(n))
			d = &t.slots[n]
		}
		if same {
			continue
		}
		if d != nil {
			t.enter(d, c, entry)
		}
		if m := muxCalls[id]; m != 0 && t.a.mux {
			t.enterMux(m, c, entry)
		}
	}
}

// enter adds the rules of an entry to a number.
func (t *table) enter(d *slot, c *call, entry int) {
	if d.decided {
		return
	}
	if len(c.rules) == 0 {
		d.decide(c.action)
		return
	}
	for _, conds := range c.rules {
		t.add(d, rule{conds, c.action, entry})
	}
}

// enterMux adds the rules of an entry to the call that multiplexes it.
func (t *table) enterMux(code uint8, c *call, entry int) {
	nr, call := nrSocket, uint64(code)
	if code >= 128 {
		nr, call = nrIPC, uint64(code-128)
	}
	t.lastMux = max(t.lastMux, nr)
	d := &t.slots[nr]
	first := cond{arg: 0, op: cmpEQ, mask: 1<<64 - 1, value: call}
	if len(c.rules) == 0 {
		t.add(d, rule{[]cond{first}, c.action, entry})
		return
	}
	for _, conds := range c.rules {
		muxed := append(make([]cond, 0, 1+len(conds)), first)
		for _, one := range conds {
			if one.arg != 0 {
				muxed = append(muxed, one)
			}
		}
		t.add(d, rule{muxed, c.action, entry})
	}
}

// add adds a conditional rule, without the conditions that always hold.
func (t *table) add(d *slot, r rule) {
	if d.decided {
		return
	}
	for i := range r.conds {
		if t.always(&r.conds[i]) {
			var needed []cond
			for _, c := range r.conds {
				if !t.always(&c) {
					needed = append(needed, c)
				}
			}
			r.conds = needed
			break
		}
	}
	if len(r.conds) == 0 {
		d.decide(r.action)
		return
	}
	d.rules = append(d.rules, r)
}

// always reports whether the condition masks out all that the architecture compares.
func (t *table) always(c *cond) bool {
	return c.mask == 0 || !t.a.wide && uint32(c.mask) == 0
}

func (d *slot) decide(action uint32) {
	d.decided, d.action, d.rules = true, action, nil
}
