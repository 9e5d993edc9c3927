package defaults

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
)

// Answers of a filter, seccomp(2), and the number of the x86_64 table, linux/audit.h.
const (
	retErrno   = 0x00050000
	retAllow   = 0x7fff0000
	auditX8664 = 0xc000003e
	auditI386  = 0x40000003
	x32Bit     = 0x40000000
)

// TestNames holds every name to the kernel's table: a misspelt call would be granted to nobody and missed by nobody.
func TestNames(t *testing.T) {
	for _, l := range levels {
		for _, rule := range Seccomp(l).Syscalls {
			for _, name := range rule.Names {
				if _, ok := seccomp.Number(string(specs.ArchX86_64), name); !ok && name != "nfsservctl" {
					t.Errorf("%v: %s is no call of x86_64", l, name)
				}
			}
		}
	}
}

// TestCompiled asks the compiled filter for every call with many arguments, and compares with what the profile says.
func TestCompiled(t *testing.T) {
	for _, l := range levels {
		p := Seccomp(l)
		if !slices.Contains(p.Architectures, specs.ArchX86_64) {
			p.Architectures = []specs.Arch{specs.ArchX86_64} // on arm64 the table is looked at as x86_64 has it
		}
		filter, err := seccomp.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range decisions {
			if d.level == l {
				ask(t, filter, p, d.name, d.args...)
			}
		}
		for _, rule := range p.Syscalls {
			for _, name := range rule.Names {
				for range 20 {
					ask(t, filter, p, name, rand.Uint64()&0x1f, rand.Uint64()&0x1f|0x5400, rand.Uint64()&1)
					ask(t, filter, p, name, rand.Uint64(), rand.Uint64(), rand.Uint64())
				}
			}
		}
		for _, name := range []string{"clone3", "listmount", "statmount"} {
			ask(t, filter, p, name)
		}
		t.Logf("%v: %d calls, %d instructions", l, len(allowed(p)), len(filter.Program))
	}
}

func ask(t *testing.T, f *seccomp.Filter, p *specs.LinuxSeccomp, name string, args ...uint64) {
	t.Helper()
	nr, ok := seccomp.Number(string(specs.ArchX86_64), name)
	if !ok {
		return
	}
	data := &seccomp.Data{NR: nr, Arch: auditX8664}
	copy(data.Args[:], args)
	got, err := seccomp.Run(f.Program, data)
	if err != nil {
		t.Fatal(err)
	}
	want := uint32(retAllow)
	if errno := decide(t, p, name, args...); errno != 0 {
		want = retErrno | uint32(errno)
	}
	if got != want {
		t.Errorf("%s %#x: %#x, want %#x", name, args, got, want)
	}
}

// TestForeign shows that the other entries of the machine are not let through at Hardened: they are neither allowed nor traced.
func TestForeign(t *testing.T) {
	filter, err := seccomp.Compile(Seccomp(Hardened))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(Seccomp(Hardened).Architectures, []specs.Arch{specs.ArchX86_64}) {
		t.Skip("another architecture than x86_64: its foreign calls have other numbers")
	}
	for _, data := range []seccomp.Data{{NR: 20, Arch: auditI386}, {NR: x32Bit | 39, Arch: auditX8664}, {NR: 0, Arch: 0}} {
		if got, err := seccomp.Run(filter.Program, &data); err != nil || got == retAllow {
			t.Errorf("%+v: %#x, %v", data, got, err)
		}
	}
}
