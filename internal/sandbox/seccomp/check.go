package seccomp

import (
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// dataSize is sizeof(struct seccomp_data).
const dataSize = 64

// Check decides as the kernel does when a filter is installed (net/core/filter.c bpf_check_classic, kernel/seccomp.c
// seccomp_check_filter): known instructions, jumps inside the program, loads of aligned words of the data, scratch cells that were
// written before, no division by a zero constant, and a return at the end. An error is errdef.Invalid and names the instruction.
func Check(program []Insn) error {
	if len(program) == 0 || len(program) > maxProgram {
		return errdef.Errorf(errdef.Invalid, "seccomp program: %d instructions, not 1 to %d", len(program), maxProgram)
	}
	for at := range program {
		if reason := checkInsn(program, at); reason != "" {
			return errdef.Errorf(errdef.Invalid, "seccomp program: instruction %d: %s", at, reason)
		}
	}
	if last := program[len(program)-1].Code; last != codeRet && last != 0x16 {
		return errdef.Errorf(errdef.Invalid, "seccomp program: instruction %d: the last one does not return", len(program)-1)
	}
	return checkScratch(program)
}

// checkInsn returns what is wrong with an instruction, "" for nothing.
func checkInsn(program []Insn, at int) string {
	i := &program[at]
	left := uint32(len(program) - at - 1)
	switch i.Code {
	case 0x20: // ld [k]
		if i.K >= dataSize || i.K&3 != 0 {
			return "load of offset " + strconv.FormatUint(uint64(i.K), 10)
		}
	case 0x00, 0x01, 0x80, 0x81, 0x06, 0x16, 0x07, 0x87, 0x84: // ld, ldx #k and len; ret; tax, txa; neg
	case 0x60, 0x61, 0x02, 0x03: // ld, ldx, st, stx M[k]
		if i.K >= 16 {
			return "scratch cell " + strconv.FormatUint(uint64(i.K), 10)
		}
	case 0x34: // div #k
		if i.K == 0 {
			return "division by 0"
		}
	case 0x64, 0x74: // lsh, rsh #k
		if i.K >= 32 {
			return "shift by " + strconv.FormatUint(uint64(i.K), 10)
		}
	case 0x04, 0x14, 0x24, 0x44, 0x54, 0xa4, 0x0c, 0x1c, 0x2c, 0x3c, 0x4c, 0x5c, 0x6c, 0x7c, 0xac:
	case codeJump:
		if i.K >= left {
			return "jump out of the program"
		}
	case 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d:
		if uint32(i.Jt) >= left || uint32(i.Jf) >= left {
			return "jump out of the program"
		}
	default:
		return "unknown code 0x" + strconv.FormatUint(uint64(i.Code), 16)
	}
	return ""
}

// checkScratch finds a load of a scratch cell that some way to it has not written.
func checkScratch(program []Insn) error {
	written := make([]uint16, len(program)) // before each instruction, on all ways to it that jump
	for n := range written {
		written[n] = 0xffff
	}
	now := uint16(0)
	for at := range program {
		i := &program[at]
		now &= written[at]
		switch i.Code {
		case 0x02, 0x03:
			now |= 1 << i.K
		case 0x60, 0x61:
			if now&(1<<i.K) == 0 {
				return errdef.Errorf(errdef.Invalid, "seccomp program: instruction %d: scratch cell %d is read before it is written", at, i.K)
			}
		case codeJump:
			written[at+1+int(i.K)] &= now
			now = 0xffff
		case 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d:
			written[at+1+int(i.Jt)] &= now
			written[at+1+int(i.Jf)] &= now
			now = 0xffff
		}
	}
	return nil
}
