package seccomp

import (
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// archsOfReference are those that libseccomp 2.5 knows.
func archsOfReference() []archID {
	var out []archID
	for a := range numArchs {
		switch a {
		case archLOONGARCH64, archM68K, archSH, archSHEB, archX32:
		default:
			out = append(out, a)
		}
	}
	return out
}

// TestNumbers compares the tables with libseccomp's, name by name: what both have must be equal.
func TestNumbers(t *testing.T) {
	ref := newReference(t)
	for _, a := range append(archsOfReference(), archX32) {
		both, ours := 0, 0
		for id := range numNames {
			name := nameBytes[nameOffsets[id]:nameOffsets[id+1]]
			got, ok := lookup(name)
			if !ok || got != id {
				t.Fatalf("lookup(%q) = %d, %v, want %d", name, got, ok, id)
			}
			n, have := archs[a].number(id)
			want := ref.number(t, a, name)
			switch {
			case have && want >= 0 && uint32(want) != n:
				t.Errorf("%s %s: number %d, libseccomp has %d", archs[a].name, name, n, want)
			case have && want >= 0:
				both++
			case have:
				ours++
			case want >= 0 && (a != archPARISC64 || name != "_llseek"): // Linux made it 32-bit only
				t.Errorf("%s %s: missing, libseccomp has %d", archs[a].name, name, want)
			}
		}
		t.Logf("%-11s %d numbers equal, %d only ours", archs[a].name, both, ours)
	}
}

// TestProfilesAgree compares what Docker's and Podman's default profiles decide, on every architecture, with libseccomp and runc.
func TestProfilesAgree(t *testing.T) {
	ref := newReference(t)
	for _, name := range []string{"docker.json", "podman.json"} {
		for _, a := range archsOfReference() {
			p := readProfile(t, name)
			p.Architectures = nil
			if a == archX8664 {
				p.Architectures = []specs.Arch{specs.ArchX86, specs.ArchX32}
			}
			for _, x32 := range []bool{true, false} {
				if !x32 {
					if a != archX8664 {
						break
					}
					p.Architectures = []specs.Arch{specs.ArchX86}
				}
				agree(t, ref, ref.common(t, p, a), a)
			}
		}
	}
}

// tester is what *testing.T and *rapid.T share.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

// agree compiles a profile with both and runs both programs on many calls.
func agree(t tester, ref *reference, p *specs.LinuxSeccomp, native archID) {
	t.Helper()
	f, err := compile(p, native)
	for optimize := 1; optimize <= 2; optimize++ {
		if optimize == 2 && len(p.Syscalls) == 0 {
			continue // libseccomp 2.5.4 cannot
		}
		theirs, refErr := ref.compile(t, p, native, optimize)
		if (err != nil) != (refErr != nil) {
			t.Fatalf("%s: Compile: %v, libseccomp: %v", archs[native].name, err, refErr)
		}
		if err != nil {
			return
		}
		if err := Check(f.Program); err != nil {
			t.Fatal(err)
		}
		sameDecisions(t, p, native, f.Program, theirs)
	}
}

func sameDecisions(t tester, p *specs.LinuxSeccomp, native archID, ours, theirs []Insn) {
	t.Helper()
	checked, err := parse(p, native)
	if err != nil {
		t.Fatal(err)
	}
	big := archs[native].big
	bad := 0
	eachCall(checked, func(d *Data) {
		got, _ := run(ours, d, big)
		want, _ := run(theirs, d, big)
		if enosys(p, checked.archs, d) {
			want = retENOSYS
		}
		if got != want {
			bad++
			if bad <= 10 {
				t.Errorf("%s: arch %#x nr %#x args %#x: %s, libseccomp says %s", archs[native].name, d.Arch, d.NR, d.Args, ActionName(got), ActionName(want))
			}
		}
	})
	if bad > 0 {
		t.Fatalf("%d decisions differ", bad)
	}
}

// eachCall calls f with every number that matters on every architecture, and for those with conditions with the arguments around
// the values compared. Numbers with bit 31 are left out: see the package comment and TestInvalidNumbers.
func eachCall(p *profile, f func(*Data)) {
	values := boundaries(p)
	for a := range numArchs {
		listed := false
		for _, l := range p.archs {
			listed = listed || l == a || a == archX32 && l == archX8664
		}
		d := Data{Arch: archs[a].token}
		for _, nr := range []uint32{0, 1, 0x3fffffff, 0x40000000, 0x7fffffff, 0xffffffff, privateBase - 1, privateBase + 15, 3999, 4999, 5999, 7000} {
			d.NR = nr
			f(&d)
		}
		if !listed {
			continue
		}
		mentioned := conditional(p, &archs[a])
		for n := range uint32(640) {
			d := Data{Arch: archs[a].token, NR: archs[a].base + n}
			if n >= 624 {
				d.NR = privateBase + n - 624
			}
			if !mentioned[d.NR] {
				f(&d)
				continue
			}
			eachArgument(values, &d, f)
		}
	}
}

// conditional returns the numbers that rules with conditions are about.
func conditional(p *profile, a *arch) map[uint32]bool {
	out := map[uint32]bool{}
	for _, c := range p.calls {
		for _, id := range c.names {
			if n, ok := a.number(int(id)); ok && c.rules != nil {
				out[n] = true
			}
			if muxCalls[id] != 0 && a.mux {
				out[a.base+nrSocket], out[a.base+nrIPC] = true, true
			}
		}
	}
	return out
}

// boundaries returns the values of each argument that conditions compare, and their neighbours.
func boundaries(p *profile) (values [6][]uint64) {
	sets := [6]map[uint64]bool{}
	for i := range sets {
		sets[i] = map[uint64]bool{0: true, 1<<64 - 1: true}
	}
	for _, c := range p.calls {
		for _, alt := range c.rules {
			for _, k := range alt {
				for _, v := range []uint64{k.value, k.value + 1, k.value - 1, k.value ^ 1<<32, k.value | ^k.mask, k.value ^ k.mask, k.value & 0xffffffff} {
					sets[k.arg][v] = true
				}
			}
		}
	}
	for call := range uint64(22) {
		if len(p.archs) > 1 || archs[p.archs[0]].mux {
			sets[0][call] = true
		}
	}
	for i, s := range sets {
		for v := range s {
			values[i] = append(values[i], v)
		}
	}
	return values
}

// eachArgument tries all values of each argument alone, and of each pair with the others 0, all ones, or the first value compared.
func eachArgument(values [6][]uint64, d *Data, f func(*Data)) {
	for _, rest := range []uint64{0, 1<<64 - 1} {
		for i := range values {
			for j := i + 1; j < len(values); j++ {
				for k := range d.Args {
					d.Args[k] = rest
				}
				for _, v := range values[i] {
					for _, w := range values[j] {
						d.Args[i], d.Args[j] = v, w
						f(d)
					}
				}
			}
		}
	}
}
