package forkexec

import "encoding/binary"

// Where the sealed program stands in its own address space. Both are above vm.mmap_min_addr and below every mapping that the kernel
// places by itself for a static program.
const (
	codeBase = 0x400000
	dataBase = 0x10000000
)

// image returns the program as a static ELF executable, in two parts to be written one after the other: the headers with the machine's
// segment (read, execute), and the segment of the table with its data (read, write, private). There is no section, no symbol, no
// interpreter and no stack to execute (elf(5)).
func image(p *program, code []byte) (head, data []byte) {
	p.locate(dataBase)
	const ehdr, phdr = 64, 56
	entry := ehdr + 3*phdr
	out := make([]byte, 0, codePage)
	le := binary.LittleEndian
	out = append(out, 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	out = le.AppendUint16(out, 2) // ET_EXEC
	out = le.AppendUint16(out, elfMachine)
	out = le.AppendUint32(out, 1)
	out = le.AppendUint64(out, uint64(codeBase+entry))
	out = le.AppendUint64(out, ehdr) // program headers follow
	out = le.AppendUint64(out, 0)    // no sections
	out = le.AppendUint32(out, 0)
	for _, v := range []uint16{ehdr, phdr, 3, 0, 0, 0} {
		out = le.AppendUint16(out, v)
	}
	body := append(loadHeader(nil, dataBase), code...)
	for _, s := range []segment{
		{kind: ptLoad, flags: read | execute, addr: codeBase, size: uint64(entry + len(body))},
		{kind: ptLoad, flags: read | write, off: codePage, addr: dataBase, size: uint64(len(p.data))},
		{kind: ptGNUStack, flags: read | write}, // and not execute
	} {
		out = s.append(out)
	}
	out = append(out, body...)
	return out[:codePage], p.data
}

// Values of elf(5).
const (
	ptLoad     = 1
	ptGNUStack = 0x6474e551
	execute    = 1
	write      = 2
	read       = 4
)

// A segment is a program header.
type segment struct {
	kind, flags     uint32
	off, addr, size uint64
}

func (s segment) append(out []byte) []byte {
	le := binary.LittleEndian
	out = le.AppendUint32(out, s.kind)
	out = le.AppendUint32(out, s.flags)
	for _, v := range []uint64{s.off, s.addr, s.addr, s.size, s.size, codePage} {
		out = le.AppendUint64(out, v)
	}
	return out
}
