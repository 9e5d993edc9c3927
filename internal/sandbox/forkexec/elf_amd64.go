package forkexec

import "encoding/binary"

const (
	elfMachine = 62   // EM_X86_64
	codePage   = 4096 // the code's share of the file; a multiple of the page size
)

// loadHeader appends the instruction that puts the header's address where the machine expects it: movabs $addr, %rbx.
func loadHeader(b []byte, addr uint64) []byte {
	return binary.LittleEndian.AppendUint64(append(b, 0x48, 0xbb), addr)
}
