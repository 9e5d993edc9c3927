package seccomp

// simplifyBudget bounds the work of simplify for one call; beyond it the graph stays as it is, which is right but longer. Without
// a bound rules on many arguments could take exponential time. All calls together may take four times that.
const simplifyBudget = 1 << 14

// domain is what the checks passed so far tell of one word.
type domain struct {
	min, max    uint32
	ones, zeros uint32 // bits known to be set, clear
}

// unequal is a list of failed equality checks.
type unequal struct {
	word    uint8
	mask, k uint32
	next    *unequal
}

// facts is what is known on one way through a graph.
type facts struct {
	words   [numWords]domain
	unequal *unequal
}

type simplifier struct {
	g      *graph
	budget int
}

// simplify removes the checks whose outcome the checks before them imply, on each way from r.
func (g *graph) simplify(r ref) ref {
	s := simplifier{g, min(g.budget, simplifyBudget)}
	before := s.budget
	var known facts
	for i := range known.words {
		known.words[i].max = allBits
	}
	out := s.walk(r, &known)
	g.budget -= before - s.budget
	if s.budget <= 0 {
		return r
	}
	return out
}

func (s *simplifier) walk(r ref, known *facts) ref {
	s.budget--
	n := s.g.nodes[r]
	if n.op == opReturn || s.budget <= 0 {
		return r
	}
	if outcome, ok := known.decide(&n); ok {
		if outcome {
			return s.walk(n.t, known)
		}
		return s.walk(n.f, known)
	}
	t, f := *known, *known
	t.assume(&n, true)
	f.assume(&n, false)
	n.t = s.walk(n.t, &t)
	n.f = s.walk(n.f, &f)
	return s.g.unique(n)
}

// decide returns the outcome of a test if it is known.
func (f *facts) decide(n *node) (outcome, ok bool) {
	d := &f.words[n.word]
	switch n.op {
	case opEqual:
		if d.zeros&n.k != 0 || d.ones&n.mask&^n.k != 0 {
			return false, true
		}
		if n.mask&^(d.ones|d.zeros) == 0 {
			return true, true
		}
		if n.mask == allBits {
			if n.k < d.min || n.k > d.max {
				return false, true
			}
			if d.min == d.max {
				return true, true
			}
		}
		for u := f.unequal; u != nil; u = u.next {
			if u.word == n.word && u.mask&^n.mask == 0 && n.k&u.mask == u.k {
				return false, true
			}
		}
	case opAbove:
		if max(d.min, d.ones) > n.k {
			return true, true
		}
		if min(d.max, ^d.zeros) <= n.k {
			return false, true
		}
	case opBits:
		if d.ones&n.k != 0 {
			return true, true
		}
		if n.k&^d.zeros == 0 {
			return false, true
		}
	}
	return false, false
}

// assume records the outcome of a test.
func (f *facts) assume(n *node, outcome bool) {
	d := &f.words[n.word]
	switch {
	case n.op == opEqual && outcome:
		d.ones |= n.k
		d.zeros |= n.mask &^ n.k
		if n.mask == allBits {
			d.min, d.max = n.k, n.k
		}
	case n.op == opEqual:
		if n.mask == allBits && n.k == d.min {
			d.min++
		} else if n.mask == allBits && n.k == d.max {
			d.max--
		}
		f.unequal = &unequal{n.word, n.mask, n.k, f.unequal}
	case n.op == opAbove && outcome:
		d.min = max(d.min, n.k+1)
	case n.op == opAbove:
		d.max = min(d.max, n.k)
	case n.op == opBits && outcome:
		if n.k&(n.k-1) == 0 {
			d.ones |= n.k
		}
	case n.op == opBits:
		d.zeros |= n.k
	}
}
