package seccomp

import "testing"

// constant follows a program as the kernel does when it fills its bitmap (kernel/seccomp.c seccomp_is_const_allow): only the number
// and the architecture are known, and a load of anything else ends the attempt.
func constant(program []Insn, d *Data) (uint32, bool) {
	var m machine
	for pc := 0; ; pc++ {
		i := &program[pc]
		switch i.Code {
		case codeLoad:
			if i.K != 4*wordNR && i.K != 4*wordArch {
				return 0, false
			}
			m.a = d.load(i.K, hostBigEndian)
		case codeAnd:
			m.a &= i.K
		case codeJump, codeEqual, codeAbove, codeFrom, codeBits:
			pc += m.jump(i)
		case codeRet:
			return i.K, true
		default:
			return 0, false
		}
	}
}

// TestBitmapServesUnconditionalCalls: since Linux 5.11 a call that is allowed whatever its arguments costs no run of the program.
func TestBitmapServesUnconditionalCalls(t *testing.T) {
	p := readProfile(t, "docker.json")
	f, err := compile(p, archX8664)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []archID{archX8664, archX86, archX32} {
		allowed, conditional := 0, 0
		for id := range numNames {
			nr, ok := archs[a].number(id)
			if !ok {
				continue
			}
			d := &Data{Arch: archs[a].token, NR: nr}
			v, known := constant(f.Program, d)
			switch name := nameBytes[nameOffsets[id]:nameOffsets[id+1]]; name {
			case "clone", "personality", "socket":
				conditional++
				if known {
					t.Errorf("%s %s: constant", archs[a].name, name)
				}
			default:
				if !known {
					t.Errorf("%s %s: depends on arguments", archs[a].name, name)
				}
				if v == retAllow {
					allowed++
				}
			}
		}
		if allowed < 250 || conditional != 3 {
			t.Errorf("%s: %d calls allowed by number alone, %d conditional", archs[a].name, allowed, conditional)
		}
	}
}
