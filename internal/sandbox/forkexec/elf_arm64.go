package forkexec

import "encoding/binary"

const (
	elfMachine = 183     // EM_AARCH64
	codePage   = 1 << 16 // the code's share of the file; a multiple of every page size of arm64
)

// loadHeader appends the instructions that put the header's address where the machine expects it: movz and three movk to x19.
func loadHeader(b []byte, addr uint64) []byte {
	const movz, movk, x19 = 0xd2800000, 0xf2800000, 19
	for i := range uint32(4) {
		insn := uint32(movk)
		if i == 0 {
			insn = movz
		}
		b = binary.LittleEndian.AppendUint32(b, insn|i<<21|uint32(addr>>(16*i)&0xffff)<<5|x19)
	}
	return b
}
