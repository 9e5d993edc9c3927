package seccomp

// Run interprets a program on a system call as the kernel does and returns the action and its data (SECCOMP_RET_*). A program that
// Check refuses is an error, errdef.Invalid. Words are in the byte order of this machine.
func Run(program []Insn, data *Data) (uint32, error) {
	if err := Check(program); err != nil {
		return 0, err
	}
	v, _ := run(program, data, hostBigEndian)
	return v, nil
}

// load returns the word of the data at a byte offset.
func (d *Data) load(offset uint32, big bool) uint32 {
	half := func(v uint64, second bool) uint32 {
		if second != big {
			return uint32(v >> 32)
		}
		return uint32(v)
	}
	switch {
	case offset == 4*wordNR:
		return d.NR
	case offset == 4*wordArch:
		return d.Arch
	case offset < 4*wordArgs:
		return half(d.IP, offset == 12)
	}
	return half(d.Args[(offset-4*wordArgs)/8], offset%8 == 4)
}

// machine is the state of a running program.
type machine struct {
	a, x    uint32
	scratch [16]uint32
}

// run interprets a checked program and counts its instructions.
func run(program []Insn, data *Data, big bool) (value uint32, steps int) {
	var m machine
	for pc := 0; ; pc++ {
		i := &program[pc]
		steps++
		switch i.Code & 0x07 {
		case 0x00: // LD
			switch i.Code {
			case 0x00:
				m.a = i.K
			case 0x80:
				m.a = dataSize
			case 0x60:
				m.a = m.scratch[i.K]
			default:
				m.a = data.load(i.K, big)
			}
		case 0x01: // LDX
			switch i.Code {
			case 0x01:
				m.x = i.K
			case 0x81:
				m.x = dataSize
			default:
				m.x = m.scratch[i.K]
			}
		case 0x02:
			m.scratch[i.K] = m.a
		case 0x03:
			m.scratch[i.K] = m.x
		case 0x04:
			if !m.alu(i) { // division by a zero X ends the program with 0
				return 0, steps
			}
		case 0x05:
			pc += m.jump(i)
		case 0x06:
			if i.Code == codeRet {
				return i.K, steps
			}
			return m.a, steps
		case 0x07:
			if i.Code == 0x07 {
				m.x = m.a
			} else {
				m.a = m.x
			}
		}
	}
}

func (m *machine) operand(i *Insn) uint32 {
	if i.Code&0x08 != 0 {
		return m.x
	}
	return i.K
}

// alu does an arithmetic instruction; a shift uses the low 5 bits of the count, as the kernel's translation to eBPF does.
func (m *machine) alu(i *Insn) bool {
	v := m.operand(i)
	switch i.Code & 0xf0 {
	case 0x00:
		m.a += v
	case 0x10:
		m.a -= v
	case 0x20:
		m.a *= v
	case 0x30:
		if v == 0 {
			return false
		}
		m.a /= v
	case 0x40:
		m.a |= v
	case 0x50:
		m.a &= v
	case 0x60:
		m.a <<= v & 31
	case 0x70:
		m.a >>= v & 31
	case 0x80:
		m.a = -m.a
	case 0xa0:
		m.a ^= v
	}
	return true
}

// jump returns how many instructions to skip.
func (m *machine) jump(i *Insn) int {
	v := m.operand(i)
	taken := false
	switch i.Code & 0xf0 {
	case 0x00:
		return int(i.K)
	case 0x10:
		taken = m.a == v
	case 0x20:
		taken = m.a > v
	case 0x30:
		taken = m.a >= v
	case 0x40:
		taken = m.a&v != 0
	}
	if taken {
		return int(i.Jt)
	}
	return int(i.Jf)
}
