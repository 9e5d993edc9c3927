package seccomp

import "strconv"

// order puts the conditional rules of one call in the order in which libseccomp tries them. With one action among them the order
// changes nothing. Otherwise libseccomp's tree goes, level by level of single word comparisons, from the highest argument down, from
// equality over less to greater, and from the larger value down (the smaller of "less"); what shares its first comparisons stays
// together. A rule that only narrows an earlier one is dropped; one that says something else under the same conditions, or widens an
// earlier one with another action, is an error.
func order(rules []rule, wide bool) ([]rule, error) {
	same := true
	for i := range rules {
		same = same && rules[i].action == rules[0].action
	}
	if same {
		return rules, nil
	}
	var root branch
	for _, r := range rules {
		if err := root.insert(steps(r.conds, wide), r); err != nil {
			return nil, err
		}
	}
	return root.list(make([]rule, 0, len(rules))), nil
}

// step is one comparison of a word.
type step struct {
	arg   uint8 // the argument's index times two, plus one for the high word
	class uint8 // 3 equality, 2 less, 1 greater
	op    uint8 // tells steps apart that compare differently
	datum uint32
	mask  uint32
}

// steps returns the comparisons of a rule's conditions.
func steps(conds []cond, wide bool) []step {
	var out []step
	for _, c := range conds {
		var class uint8
		switch c.op {
		case cmpEQ, cmpNE:
			class = 3
		case cmpLT, cmpLE:
			class = 2
		default:
			class = 1
		}
		op := uint8(0)
		if c.masked {
			op = 16
		}
		hi := step{c.arg*2 + 1, class, op, uint32(c.value >> 32), uint32(c.mask >> 32)}
		if wide {
			out = append(out, hi)
			if class != 3 {
				hi.op++
				out = append(out, hi)
			}
		}
		out = append(out, step{c.arg * 2, class, op + 2 + uint8(c.op), uint32(c.value), uint32(c.mask)})
	}
	return out
}

// before reports whether a is tried before b.
func (a *step) before(b *step) bool {
	switch {
	case a.arg != b.arg:
		return a.arg > b.arg
	case a.class != b.class:
		return a.class > b.class
	case a.class == 2:
		return a.datum < b.datum
	}
	return a.datum > b.datum
}

// branch is a level of the tree.
type branch struct{ nodes []*twig }

// twig is a comparison, with what follows when it holds: a rule, or a level.
type twig struct {
	step step
	rule *rule
	next branch
}

func (b *branch) insert(path []step, r rule) error {
	at := 0
	for ; at < len(b.nodes); at++ {
		n := b.nodes[at]
		if n.step == path[0] {
			return n.merge(path[1:], r)
		}
		if path[0].before(&n.step) {
			break
		}
	}
	n := &twig{step: path[0]}
	b.nodes = append(b.nodes, nil)
	copy(b.nodes[at+1:], b.nodes[at:])
	b.nodes[at] = n
	return n.merge(path[1:], r)
}

// merge adds what is left of a rule below a comparison.
func (n *twig) merge(rest []step, r rule) error {
	if len(rest) > 0 {
		if n.rule != nil { // shorter, and so wider
			return nil
		}
		return n.next.insert(rest, r)
	}
	for _, old := range n.list(nil) {
		if old.action != r.action {
			return invalid("syscalls["+strconv.Itoa(r.entry)+"]", "contradicts syscalls[%d] under the same conditions", old.entry)
		}
	}
	n.rule, n.next = &r, branch{}
	return nil
}

func (b *branch) list(out []rule) []rule {
	for _, n := range b.nodes {
		out = n.list(out)
	}
	return out
}

func (n *twig) list(out []rule) []rule {
	if n.rule != nil {
		return append(out, *n.rule)
	}
	return n.next.list(out)
}
