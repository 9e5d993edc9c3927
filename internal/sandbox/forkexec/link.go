package forkexec

import (
	"encoding/binary"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
)

// Sizes and offsets of what the machine reads; machine_*.s has the same numbers.
const (
	headerSize = 40 // table, kind, step, errno, fd: 8 bytes each
	headerFD   = 32
	instrSize  = 96

	offNR    = 0
	offRefs  = 4
	offArgs  = 8
	offOut   = 56
	offOnA   = 64
	offGotoA = 68
	offOnB   = 72
	offGotoB = 76
	offNext  = 80
	offStep  = 84
	offMask  = 88
)

// A program is a linked list of ops: a block of bytes that is right at one address only, which place gives it.
type program struct {
	data   []byte
	addrs  []int // offsets of 8-byte words that hold an address relative to the block's start
	memory map[string]int
	labels map[string]int
	sync   int
	files  map[string]bool
}

// link lowers ops to the machine's table. sync is the number of the socket to the parent; the other descriptors that ops name stand in
// cells, see receive. An error is a fault of the list, not of the user.
func link(ops []op.Op, mems []op.Mem, sync int, files map[string]bool) (*program, error) {
	p := &program{
		data:   make([]byte, headerSize+instrSize*(len(ops)+1), headerSize+instrSize*(len(ops)+1)+room(mems)),
		memory: make(map[string]int, len(mems)+32),
		labels: make(map[string]int, 16),
		sync:   sync,
		files:  files,
	}
	p.addr(0, headerSize)
	binary.LittleEndian.PutUint64(p.data[8:], op.MsgFailed)
	binary.LittleEndian.PutUint64(p.data[headerFD:], uint64(sync))
	for i := range ops {
		if l := ops[i].Label; l != "" {
			if _, twice := p.labels[l]; twice {
				return nil, errdef.Errorf(errdef.Internal, "plan step %d: label %q stands twice", i+1, l)
			}
			p.labels[l] = i
		}
	}
	for i := range mems {
		p.place(&mems[i])
	}
	for i := range mems {
		for _, r := range mems[i].Relocs {
			v, ref, err := p.arg(&r.Arg)
			if err != nil || ref {
				return nil, errdef.Errorf(errdef.Internal, "plan memory %q: a bad relocation", mems[i].Name)
			}
			p.word(p.memory[mems[i].Name]+r.Off, v)
		}
	}
	for i := range ops {
		if err := p.instr(i, &ops[i]); err != nil {
			return nil, errdef.Errorf(errdef.Internal, "plan step %d %s: %w", i+1, ops[i].Call, err)
		}
	}
	p.end(len(ops))
	return p, nil
}

// room guesses how many bytes strings and memories take, so that the block seldom has to grow.
func room(mems []op.Mem) int {
	n := 16 << 10
	for i := range mems {
		n += mems[i].Size
		for k := range mems[i].Relocs {
			n += len(mems[i].Relocs[k].Arg.Str)
		}
	}
	return n
}

// A value is what stands in a word: a number, or an offset in the block that becomes an address.
type value struct {
	n      uint64
	isAddr bool
}

func (p *program) word(off int, v value) {
	binary.LittleEndian.PutUint64(p.data[off:], v.n)
	if v.isAddr {
		p.addrs = append(p.addrs, off)
	}
}

func (p *program) addr(off, target int) { p.word(off, value{uint64(target), true}) }

// instr writes instruction i.
func (p *program) instr(i int, o *op.Op) error {
	at := headerSize + i*instrSize
	if len(o.Args) > 6 || len(o.On) > 2 {
		return errdef.Errorf(errdef.Internal, "%d arguments and %d branches: at most 6 and 2", len(o.Args), len(o.On))
	}
	refs := uint32(0)
	for k := range o.Args {
		v, ref, err := p.arg(&o.Args[k])
		if err != nil {
			return err
		}
		if ref {
			refs |= 1 << k
		}
		p.word(at+offArgs+8*k, v)
	}
	d := p.data[at : at+instrSize]
	binary.LittleEndian.PutUint32(d[offNR:], o.NR)
	binary.LittleEndian.PutUint32(d[offRefs:], refs)
	binary.LittleEndian.PutUint32(d[offStep:], uint32(i))
	binary.LittleEndian.PutUint64(d[offMask:], o.Mask)
	next, err := p.target(o.Next, i)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(d[offNext:], next)
	for k, on := range o.On {
		to, err := p.target(on.Goto, i)
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(d[offOnA+8*k:], uint32(on.Errno))
		binary.LittleEndian.PutUint32(d[offGotoA+8*k:], to)
	}
	if o.Out != "" {
		p.addr(at+offOut, p.cell(string(o.Out)))
	}
	return nil
}

func (p *program) target(label string, i int) (uint32, error) {
	if label == "" {
		return uint32(i + 1), nil
	}
	t, ok := p.labels[label]
	if !ok {
		return 0, errdef.Errorf(errdef.Internal, "label %q stands nowhere", label)
	}
	return uint32(t), nil
}

// end writes the guard behind the last instruction: a check that always fails, so that a list that forgot to end is reported.
func (p *program) end(n int) {
	const enoexec = 8
	d := p.data[headerSize+n*instrSize:]
	binary.LittleEndian.PutUint32(d[offNR:], op.NRCheck)
	binary.LittleEndian.PutUint64(d[offArgs+8:], ^uint64(0))
	binary.LittleEndian.PutUint64(d[offArgs+16:], enoexec)
	binary.LittleEndian.PutUint32(d[offStep:], uint32(n))
	p.addr(headerSize+n*instrSize+offArgs, headerSize)
}

// arg returns the word of an argument, and whether it is the address of a cell to be read when the instruction runs.
func (p *program) arg(a *op.Arg) (v value, ref bool, err error) {
	switch a.Kind {
	case op.Imm:
		return value{a.Num, false}, false, nil
	case op.Ref:
		return value{uint64(p.cell(a.Str)), true}, true, nil
	case op.File:
		if a.Str == op.SyncFile {
			return value{uint64(p.sync), false}, false, nil
		}
		if !p.files[a.Str] {
			return v, false, errdef.Errorf(errdef.Internal, "descriptor %q was not given", a.Str)
		}
		return value{uint64(p.cell(fileCell + a.Str)), true}, true, nil
	case op.String:
		return value{uint64(p.str(a.Str)), true}, false, nil
	case op.Bytes:
		return value{uint64(p.bytes(a.Str)), true}, false, nil
	case op.Memory:
		return value{uint64(p.cell(a.Str)) + a.Num, true}, false, nil
	case op.List:
		return value{uint64(p.list(*a.List)), true}, false, nil
	}
	return v, false, errdef.Errorf(errdef.Internal, "an argument of kind %d", a.Kind)
}

func (p *program) align() {
	for len(p.data)%8 != 0 {
		p.data = append(p.data, 0)
	}
}

func (p *program) str(s string) int {
	at := len(p.data)
	p.data = append(append(p.data, s...), 0)
	return at
}

func (p *program) bytes(s string) int {
	p.align()
	at := len(p.data)
	p.data = append(p.data, s...)
	return at
}

// cell returns the offset of a memory, made as an 8-byte cell when it is named for the first time.
func (p *program) cell(name string) int {
	if at, ok := p.memory[name]; ok {
		return at
	}
	return p.place(&op.Mem{Name: name, Size: 8})
}

func (p *program) place(m *op.Mem) int {
	p.align()
	at := len(p.data)
	p.data = append(p.data, m.Init...)
	if rest := m.Size - len(m.Init); rest > 0 {
		p.data = append(p.data, make([]byte, rest)...)
	}
	p.align()
	p.memory[m.Name] = at
	return at
}

func (p *program) list(list []string) int {
	p.align()
	at := len(p.data)
	p.data = append(p.data, make([]byte, 8*(len(list)+1))...)
	for i, s := range list {
		p.addr(at+8*i, p.str(s))
	}
	return at
}

// locate makes every address of the block right for a block that stands at base.
func (p *program) locate(base uint64) {
	for _, off := range p.addrs {
		w := p.data[off:]
		binary.LittleEndian.PutUint64(w, binary.LittleEndian.Uint64(w)+base)
	}
}
