package seccomp

// span is a run of system call numbers with one decision; it reaches to the start of the next.
type span struct {
	start  uint32
	target ref
	weight int32 // how much it should cost to find it: higher is nearer
}

// spans is a list that covers all numbers from 0 and merges neighbours with the same decision.
type spans []span

func (s *spans) add(start uint32, target ref, weight int32) {
	if n := len(*s); n > 0 && (*s)[n-1].target == target {
		(*s)[n-1].weight += weight
		return
	}
	*s = append(*s, span{start, target, weight})
}

// search returns the node that finds the decision for the number. Single numbers inside a run are picked out by equality; the rest
// is a binary search, balanced by weight.
func (g *graph) search(s spans, end uint64) ref {
	if len(s) == 1 {
		return s[0].target
	}
	if r, ok := g.exceptions(s, end); ok {
		return r
	}
	at := split(s)
	from := g.search(s[at:], end)
	below := g.search(s[:at], uint64(s[at].start))
	return g.add(node{op: opFrom, word: wordNR, mask: allBits, k: s[at].start, t: from, f: below})
}

// exceptions handles spans that are all one decision but for one or two single numbers.
func (g *graph) exceptions(s spans, end uint64) (ref, bool) {
	if len(s) < 3 || len(s) > 5 {
		return 0, false
	}
	most := s[0].target // of three or more, with no two neighbours alike, the run is the first or the second
	if s[1].target == s[len(s)-1].target || len(s) > 3 && s[1].target == s[3].target {
		most = s[1].target
	}
	var odd [2]span
	n := 0
	for i, x := range s {
		next := end
		if i+1 < len(s) {
			next = uint64(s[i+1].start)
		}
		if x.target == most {
			continue
		}
		if n == len(odd) || next-uint64(x.start) != 1 {
			return 0, false
		}
		odd[n] = x
		n++
	}
	r := most
	if n == 2 && odd[1].weight > odd[0].weight {
		odd[0], odd[1] = odd[1], odd[0]
	}
	for i := n - 1; i >= 0; i-- {
		r = g.add(node{op: opEqual, word: wordNR, mask: allBits, k: odd[i].start, t: odd[i].target, f: r})
	}
	return r, true
}

// split returns where to divide: where the weights on both sides differ least.
func split(s spans) int {
	total := int32(0)
	for _, x := range s {
		total += x.weight
	}
	best, at, sum := int32(1<<30), 1, int32(0)
	for i := 1; i < len(s); i++ {
		sum += s[i-1].weight
		if d := max(2*sum-total, total-2*sum); d < best {
			best, at = d, i
		}
	}
	return at
}
