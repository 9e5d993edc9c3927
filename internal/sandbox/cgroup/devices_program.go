package cgroup

import "encoding/binary"

// An insn is an eBPF instruction: opcode, registers, offset, immediate (Documentation/bpf/standardization/instruction-set.rst).
type insn struct {
	op       uint8
	dst, src uint8
	off      int16
	imm      int32
}

// The opcodes that the device program needs.
const (
	opLoadWord   = 0x61 // LDX|MEM|W
	opAndImm     = 0x54 // ALU|AND|K
	opShiftRight = 0x74 // ALU|RSH|K
	opMovImm     = 0xb4 // ALU|MOV|K
	opMovReg     = 0xbc // ALU|MOV|X
	opJumpNE     = 0x55 // JMP|JNE|K; not JMP32, which is Linux 5.1's
	opJumpEQ     = 0x15 // JMP|JEQ|K
	opExit       = 0x95
)

// Registers: what the program keeps where. R1 is the context, struct bpf_cgroup_dev_ctx.
const (
	regResult  = 0
	regContext = 1
	regKind    = 2
	regAccess  = 3 // the accesses that no rule has decided yet
	regMajor   = 4
	regMinor   = 5
	regScratch = 6
)

// program compiles the filter to a program of type BPF_PROG_TYPE_CGROUP_DEVICE, which returns 1 to allow and 0 to deny. It goes through
// the rules from the last to the first: a rule that denies one of the accesses not decided yet decides against; one that allows decides
// for its accesses; the default decides about the rest. So rules may take back any part of earlier ones, which v1 cannot.
func (f *filter) program() []insn {
	p := []insn{
		{op: opLoadWord, dst: regKind, src: regContext, off: 0}, // access_type: kind in the low half, access in the high half
		{op: opMovReg, dst: regAccess, src: regKind},
		{op: opAndImm, dst: regKind, imm: 0xffff},
		{op: opShiftRight, dst: regAccess, imm: 16},
		{op: opLoadWord, dst: regMajor, src: regContext, off: 4},
		{op: opLoadWord, dst: regMinor, src: regContext, off: 8},
	}
	for i := len(f.rules) - 1; i >= 0; i-- {
		p = append(p, ruleProgram(f.rules[i])...)
	}
	return append(p, insn{op: opMovImm, dst: regResult, imm: int32(b2i(f.allow))}, insn{op: opExit})
}

// ruleProgram falls out at its end when the rule leaves something undecided.
func ruleProgram(r rule) []insn {
	p := []insn{{op: opJumpNE, dst: regKind, imm: int32(r.kind)}}
	if r.major != anyNumber {
		p = append(p, insn{op: opJumpNE, dst: regMajor, imm: int32(uint32(r.major))})
	}
	if r.minor != anyNumber {
		p = append(p, insn{op: opJumpNE, dst: regMinor, imm: int32(uint32(r.minor))})
	}
	switch {
	case !r.allow:
		p = append(p, insn{op: opMovReg, dst: regScratch, src: regAccess},
			insn{op: opAndImm, dst: regScratch, imm: int32(r.access)},
			insn{op: opJumpEQ, dst: regScratch, imm: 0},
			insn{op: opMovImm, dst: regResult, imm: 0})
	case r.access == accessAll:
		p = append(p, insn{op: opMovImm, dst: regResult, imm: 1})
	default:
		p = append(p, insn{op: opAndImm, dst: regAccess, imm: int32(accessAll &^ r.access)},
			insn{op: opJumpNE, dst: regAccess, imm: 0},
			insn{op: opMovImm, dst: regResult, imm: 1})
	}
	p = append(p, insn{op: opExit})
	for i := range p { // every jump goes to the end of the rule
		if p[i].op == opJumpNE || p[i].op == opJumpEQ {
			p[i].off = int16(len(p) - i - 1)
		}
	}
	return p
}

// encode packs the program as the kernel takes it, in the byte order of the machine.
func encode(p []insn) []byte {
	out := make([]byte, 0, 8*len(p))
	for _, i := range p {
		regs := i.src<<4 | i.dst
		if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 { // the two halves of the byte are bit fields of C
			regs = i.dst<<4 | i.src
		}
		out = append(out, i.op, regs)
		out = binary.NativeEndian.AppendUint16(out, uint16(i.off))
		out = binary.NativeEndian.AppendUint32(out, uint32(i.imm))
	}
	return out
}
