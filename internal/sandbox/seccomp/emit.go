package seccomp

import "slices"

// Opcodes of classic BPF that the compiler emits: linux/bpf_common.h.
const (
	codeLoad  = 0x20 // BPF_LD | BPF_W | BPF_ABS
	codeAnd   = 0x54 // BPF_ALU | BPF_AND | BPF_K
	codeJump  = 0x05 // BPF_JMP | BPF_JA
	codeEqual = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	codeAbove = 0x25 // BPF_JMP | BPF_JGT | BPF_K
	codeFrom  = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	codeBits  = 0x45 // BPF_JMP | BPF_JSET | BPF_K
	codeRet   = 0x06 // BPF_RET | BPF_K
)

// maxReach is the longest conditional jump.
const maxReach = 255

// The ways into a node, by what the accumulator holds.
const (
	entryLoad   = iota // anything: the word must be loaded
	entryWord          // the word
	entryMasked        // the word with the node's mask applied
	numEntries
)

// place is where a node stands in the program, counted from the end, and the nearest jump or return that stands for it.
type place struct{ at, near [numEntries]int32 }

// emitter writes a program backwards, so that the targets of all jumps are known.
type emitter struct {
	g      *graph
	code   []Insn // the last instruction first
	places []place
	state  []uint8 // per node: seen, needs a load
}

const (
	stateSeen = 1 << iota
	stateLoad
	stateDone
)

// emit returns the program of the graph that starts at root.
func (g *graph) emit(root ref) []Insn {
	e := emitter{g: g, code: make([]Insn, 0, len(g.nodes)+len(g.nodes)/2), places: make([]place, len(g.nodes)), state: make([]uint8, len(g.nodes))}
	e.state[root] |= stateLoad
	e.scan(root)
	e.node(root)
	slices.Reverse(e.code)
	return e.code
}

// entry returns how a test enters the node after it.
func entry(from, to *node) int {
	switch {
	case to.op == opReturn:
		return entryLoad
	case from.word != to.word || from.mask != allBits && from.mask != to.mask:
		return entryLoad
	case from.mask == to.mask && to.mask != allBits:
		return entryMasked
	}
	return entryWord
}

// scan marks the nodes that some test enters without their word in the accumulator.
func (e *emitter) scan(r ref) {
	if e.state[r]&stateSeen != 0 {
		return
	}
	e.state[r] |= stateSeen
	n := &e.g.nodes[r]
	if n.op == opReturn {
		return
	}
	for _, to := range [2]ref{n.t, n.f} {
		if entry(n, &e.g.nodes[to]) == entryLoad {
			e.state[to] |= stateLoad
		}
		e.scan(to)
	}
}

// node emits r and, before it, what it leads to.
func (e *emitter) node(r ref) {
	if e.state[r]&stateDone != 0 {
		return
	}
	e.state[r] |= stateDone
	n := &e.g.nodes[r]
	p := &e.places[r]
	if n.op == opReturn {
		p.set(entryLoad, e.put(Insn{Code: codeRet, K: n.k}))
		return
	}
	e.node(n.f)
	e.node(n.t)
	jt, jf := e.targets(n)
	jump := e.put(Insn{Code: testCode(n.op), Jt: jt, Jf: jf, K: n.k})
	p.set(entryWord, jump)
	p.set(entryMasked, jump)
	if n.mask != allBits {
		p.set(entryWord, e.put(Insn{Code: codeAnd, K: n.mask}))
	}
	if e.state[r]&stateLoad != 0 {
		p.set(entryLoad, e.put(Insn{Code: codeLoad, K: uint32(n.word) * 4}))
	}
}

func (e *emitter) put(i Insn) int32 {
	e.code = append(e.code, i)
	return int32(len(e.code) - 1)
}

func (p *place) set(entry int, at int32) { p.at[entry], p.near[entry] = at, at }

func testCode(op uint8) uint16 {
	switch op {
	case opAbove:
		return codeAbove
	case opFrom:
		return codeFrom
	case opBits:
		return codeBits
	}
	return codeEqual
}

// targets returns the jump distances of a test that is emitted next, adding what it takes to reach both targets.
func (e *emitter) targets(n *node) (jt, jf uint8) {
	tEntry, fEntry := entry(n, &e.g.nodes[n.t]), entry(n, &e.g.nodes[n.f])
	for {
		here := int32(len(e.code))
		t, f := here-1-e.places[n.t].near[tEntry], here-1-e.places[n.f].near[fEntry]
		switch {
		case t > maxReach:
			e.bridge(n.t, tEntry)
		case f > maxReach:
			e.bridge(n.f, fEntry)
		default:
			return uint8(t), uint8(f)
		}
	}
}

// bridge brings a node into reach: a copy of it if it is a return, else a jump, which can go any distance.
func (e *emitter) bridge(r ref, entry int) {
	p := &e.places[r]
	if n := &e.g.nodes[r]; n.op == opReturn {
		p.near[entry] = e.put(Insn{Code: codeRet, K: n.k})
		return
	}
	p.near[entry] = e.put(Insn{Code: codeJump, K: uint32(int32(len(e.code)) - 1 - p.at[entry])})
}
