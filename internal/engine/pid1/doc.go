// Package pid1 makes the program that --init puts before a container's own: it passes signals on, reaps orphans, and ends with the program's exit status.
//
//	data := pid1.Image()   // a static ELF executable of some 800 bytes
//	// run as: INIT -- PROGRAM [ARGUMENT...]
//
// It is the machine code of one assembly function behind an ELF header: no runtime, no library, no data, no heap. In a container it costs a page of code, which all containers share, and
// a page or three of stack; a Go program costs a megabyte and a half.
//
// What it does is what tini does. It blocks all signals, and forks. The child is put into a process group of its own, in the foreground of the terminal if there is one, gets the old signal
// mask back, and executes the program, which is looked for in PATH unless it has a slash in it. The parent waits for signals (rt_sigtimedwait(2)): on SIGCHLD it reaps all that has ended, and ends when
// the program has; every other it sends to the program. A signal that is blocked is not ignored by the kernel, although this is the first process of a pid namespace (kernel/signal.c, sig_ignored).
//
// Exit status: the program's, 128 and the number of the signal that ended it, 127 if there is no such program, 126 if it cannot be executed, 125 if this one was not called right.
package pid1

import (
	"bytes"
	"encoding/binary"
)

// program is never called: its bytes are what matters.
func program()

// text returns where the code of program stands in this process, which is longer than what is read of it.
func text() *[1024]byte

// end marks the end of the code; the same bytes stand in code_*.s.
var end = []byte("BULKEND!")

// base is where the program stands in its own address space: above vm.mmap_min_addr, below what the kernel places itself.
const base = 0x400000

// Image returns the program.
func Image() []byte {
	code := text()[:]
	code = code[:bytes.Index(code, end)]
	const ehdr, phdr, entry = 64, 56, 64 + 2*56
	le := binary.LittleEndian
	out := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	out = le.AppendUint16(out, 2) // ET_EXEC
	out = le.AppendUint16(out, machine)
	out = le.AppendUint32(out, 1)
	out = le.AppendUint64(out, base+entry)
	out = le.AppendUint64(out, ehdr) // the program headers follow
	out = le.AppendUint64(out, 0)    // no sections
	out = le.AppendUint32(out, 0)
	for _, v := range []uint16{ehdr, phdr, 2, 0, 0, 0} {
		out = le.AppendUint16(out, v)
	}
	size := uint64(entry + len(code))
	for _, p := range []struct {
		kind, flags uint32
		addr, size  uint64
	}{{1, 4 | 1, base, size}, {0x6474e551, 4 | 2, 0, 0}} { // PT_LOAD, read and execute; PT_GNU_STACK, not to execute
		out = le.AppendUint32(out, p.kind)
		out = le.AppendUint32(out, p.flags)
		for _, v := range []uint64{0, p.addr, p.addr, p.size, p.size, 1 << 16} {
			out = le.AppendUint64(out, v)
		}
	}
	return append(out, code...)
}
