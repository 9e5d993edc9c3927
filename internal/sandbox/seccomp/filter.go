package seccomp

// Insn is one instruction of a classic BPF program: struct sock_filter of linux/filter.h.
type Insn struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

// Data is what a filter sees of a system call: struct seccomp_data of linux/seccomp.h.
type Data struct {
	NR   uint32
	Arch uint32 // AUDIT_ARCH_*
	IP   uint64
	Args [6]uint64
}

// Filter is a compiled profile.
type Filter struct {
	Program []Insn
	Flags   uint32 // SECCOMP_FILTER_FLAG_*, for seccomp(2)
	Notify  bool   // some call is decided by a listener; Flags has SECCOMP_FILTER_FLAG_NEW_LISTENER
}

// The flags of seccomp(2), linux/seccomp.h.
const (
	FlagLog          = 1 << 1 // Linux 4.14
	FlagSpecAllow    = 1 << 2 // Linux 4.17
	FlagNewListener  = 1 << 3 // Linux 5.0
	FlagWaitKillable = 1 << 5 // Linux 5.19
)

// insnSize is sizeof(struct sock_filter).
const insnSize = 8

// Bytes returns the program in the form and byte order in which the kernel takes it.
func (f *Filter) Bytes() []byte { return encode(f.Program) }

func encode(program []Insn) []byte {
	b := make([]byte, 0, len(program)*insnSize)
	for _, i := range program {
		b = append(b, byte(i.Code), byte(i.Code>>8), i.Jt, i.Jf, byte(i.K), byte(i.K>>8), byte(i.K>>16), byte(i.K>>24))
		if hostBigEndian {
			n := len(b)
			b[n-8], b[n-7] = b[n-7], b[n-8]
			b[n-4], b[n-3], b[n-2], b[n-1] = b[n-1], b[n-2], b[n-3], b[n-4]
		}
	}
	return b
}

func decode(b []byte) []Insn {
	program := make([]Insn, len(b)/insnSize)
	for n := range program {
		p := b[n*insnSize : n*insnSize+insnSize]
		i := Insn{Code: uint16(p[0]) | uint16(p[1])<<8, Jt: p[2], Jf: p[3]}
		i.K = uint32(p[4]) | uint32(p[5])<<8 | uint32(p[6])<<16 | uint32(p[7])<<24
		if hostBigEndian {
			i.Code = uint16(p[1]) | uint16(p[0])<<8
			i.K = uint32(p[7]) | uint32(p[6])<<8 | uint32(p[5])<<16 | uint32(p[4])<<24
		}
		program[n] = i
	}
	return program
}
