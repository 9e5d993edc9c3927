package seccomp

// ref names a node of a graph.
type ref int32

// The kinds of nodes: a return, and the tests on a word of the data that classic BPF has.
const (
	opReturn = iota
	opEqual  // word & mask == k
	opAbove  // word > k
	opFrom   // word >= k; of numbers only
	opBits   // word & k != 0
)

// The words of struct seccomp_data that are not arguments.
const (
	wordNR   = 0
	wordArch = 1
	wordArgs = 4 // then two for each argument
	numWords = 16
)

const allBits = 0xffffffff

// node is a return or a test with the two nodes that follow it. Nodes come after those that they lead to.
type node struct {
	op   uint8
	word uint8
	mask uint32 // of opEqual; allBits of others
	k    uint32 // of opReturn: what to return
	t, f ref
}

// graph is a decision graph under construction.
type graph struct {
	nodes   []node
	known   map[node]ref // nodes made by unique
	returns []ref        // nodes made by action: a handful
	budget  int          // steps that simplify may still take
}

func newGraph() *graph {
	return &graph{nodes: make([]node, 0, 512), known: make(map[node]ref, 64), budget: 4 * simplifyBudget}
}

// add appends a node.
func (g *graph) add(n node) ref {
	g.nodes = append(g.nodes, n)
	return ref(len(g.nodes) - 1)
}

// unique returns the test equal to n, making it if there is none, or what follows if both ways lead to the same.
func (g *graph) unique(n node) ref {
	if n.t == n.f {
		return n.t
	}
	r, ok := g.known[n]
	if !ok {
		r = g.add(n)
		g.known[n] = r
	}
	return r
}

// action returns the node that returns v.
func (g *graph) action(v uint32) ref {
	for _, r := range g.returns {
		if g.nodes[r].k == v {
			return r
		}
	}
	r := g.add(node{op: opReturn, k: v})
	g.returns = append(g.returns, r)
	return r
}

// equal tests word & mask == k, for a k without bits outside mask, in the cheapest way: a mask costs an instruction, a bit test none.
func (g *graph) equal(word uint8, mask, k uint32, t, f ref) ref {
	switch {
	case mask == 0:
		return t
	case mask != allBits && k == 0:
		return g.unique(node{op: opBits, word: word, mask: allBits, k: mask, t: f, f: t})
	case mask != allBits && k == mask && mask&(mask-1) == 0:
		return g.unique(node{op: opBits, word: word, mask: allBits, k: mask, t: t, f: f})
	}
	return g.unique(node{op: opEqual, word: word, mask: mask, k: k, t: t, f: f})
}

// above tests word > k.
func (g *graph) above(word uint8, k uint32, t, f ref) ref {
	switch k {
	case allBits:
		return f
	case 0:
		return g.equal(word, allBits, 0, f, t)
	}
	return g.unique(node{op: opAbove, word: word, mask: allBits, k: k, t: t, f: f})
}

// condition tests one condition of a rule on architecture a.
func (g *graph) condition(a *arch, c *cond, t, f ref) ref {
	lo, hi := wordArgs+2*c.arg, wordArgs+2*c.arg+1
	if a.big {
		lo, hi = hi, lo
	}
	v, w := uint32(c.value), uint32(c.value>>32)
	switch c.op {
	case cmpNE, cmpLT, cmpLE:
		t, f = f, t
	}
	switch c.op {
	case cmpEQ, cmpNE:
		if a.wide { // the low word first: the high one is 0 of most values
			t = g.equal(hi, uint32(c.mask>>32), w, t, f)
		}
		return g.equal(lo, uint32(c.mask), v, t, f)
	case cmpGE, cmpLT: // x >= v is x > v-1
		if c.value == 0 || !a.wide && v == 0 {
			return t
		}
		v, w = uint32(c.value-1), uint32((c.value-1)>>32)
	}
	low := g.above(lo, v, t, f)
	if !a.wide {
		return low
	}
	rest := g.equal(hi, allBits, w, low, f)
	if w == 0 { // above the high word is unequal to it
		return g.equal(hi, allBits, 0, low, t)
	}
	return g.above(hi, w, t, rest)
}

// rules returns the graph of the rules of one call: the first whose conditions all hold decides, else the default.
func (g *graph) rules(a *arch, rules []rule, deflt ref) ref {
	r := deflt
	for i := len(rules) - 1; i >= 0; i-- {
		next := r
		r = g.action(rules[i].action)
		for c := len(rules[i].conds) - 1; c >= 0; c-- {
			r = g.condition(a, &rules[i].conds[c], r, next)
		}
	}
	return g.simplify(r)
}
