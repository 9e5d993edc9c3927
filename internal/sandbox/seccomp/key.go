package seccomp

import "github.com/opencontainers/runtime-spec/specs-go"

// profileKey returns all that Compile looks at as bytes: the compiler's version, the architecture, the profile. The encoding is
// injective: every string is preceded by its length, every list by its count, every pointer by whether it is there.
func profileKey(p *specs.LinuxSeccomp) []byte {
	b := make(encoder, 0, 8192)
	b.number(compilerVersion)
	b.number(uint64(nativeArch()))
	b.text(string(p.DefaultAction))
	b.pointer(p.DefaultErrnoRet)
	b.number(uint64(len(p.Architectures)))
	for _, a := range p.Architectures {
		b.text(string(a))
	}
	b.number(uint64(len(p.Flags)))
	for _, f := range p.Flags {
		b.text(string(f))
	}
	b.number(uint64(len(p.Syscalls)))
	for i := range p.Syscalls {
		b.syscall(&p.Syscalls[i])
	}
	return b
}

// encoder appends values to a key.
type encoder []byte

func (b *encoder) syscall(s *specs.LinuxSyscall) {
	b.number(uint64(len(s.Names)))
	for _, name := range s.Names {
		b.text(name)
	}
	b.text(string(s.Action))
	b.pointer(s.ErrnoRet)
	b.number(uint64(len(s.Args)))
	for i := range s.Args {
		a := &s.Args[i]
		b.number(uint64(a.Index))
		b.number(a.Value)
		b.number(a.ValueTwo)
		b.text(string(a.Op))
	}
}

// number appends a number, 7 bits a byte, the last byte below 128.
func (b *encoder) number(v uint64) {
	for v >= 0x80 {
		*b = append(*b, byte(v)|0x80)
		v >>= 7
	}
	*b = append(*b, byte(v))
}

func (b *encoder) text(s string) {
	b.number(uint64(len(s)))
	*b = append(*b, s...)
}

func (b *encoder) pointer(p *uint) {
	if p == nil {
		b.number(0)
		return
	}
	b.number(1)
	b.number(uint64(*p))
}

// digest mixes bytes to 64 bits, eight at a time. It names files and finds damage; nothing relies on it against an attacker.
func digest(b []byte) uint64 {
	const prime = 0x9e3779b97f4a7c15
	h := uint64(len(b)) * prime
	for len(b) >= 8 {
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		h = (h ^ w) * prime
		h ^= h >> 29
		b = b[8:]
	}
	for _, c := range b {
		h = (h ^ uint64(c)) * prime
		h ^= h >> 29
	}
	return h
}
