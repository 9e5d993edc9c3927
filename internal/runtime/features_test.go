package runtime

import (
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestSeccompFeatures compiles a profile with each word that features says is known.
func TestSeccompFeatures(t *testing.T) {
	compile := func(what string, p *specs.LinuxSeccomp) {
		if p.DefaultAction == "" {
			p.DefaultAction = specs.ActAllow
		}
		if _, err := seccomp.Compile(p); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, a := range seccompActions {
		compile(string(a), &specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{{Names: []string{"getcwd"}, Action: a}}})
	}
	for _, o := range seccompOperators {
		compile(string(o), &specs.LinuxSeccomp{Syscalls: []specs.LinuxSyscall{{
			Names: []string{"getcwd"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Index: 0, Value: 1, ValueTwo: 1, Op: o}},
		}}})
	}
	for _, f := range seccompFlags {
		p := &specs.LinuxSeccomp{Flags: []specs.LinuxSeccompFlag{f.name}}
		if f.bit == seccomp.FlagWaitKillable {
			p.Syscalls = []specs.LinuxSyscall{{Names: []string{"getcwd"}, Action: specs.ActNotify}}
		}
		compile(string(f.name), p)
	}
	for _, a := range seccompArchs {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{a}, Syscalls: []specs.LinuxSyscall{{Names: []string{"getcwd"}, Action: specs.ActErrno}}}
		if _, err := seccomp.Compile(p); err != nil && !otherByteOrder(a) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

// otherByteOrder reports whether an architecture cannot stand in one filter with this one.
func otherByteOrder(a specs.Arch) bool {
	switch a {
	case specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchPPC, specs.ArchPPC64, specs.ArchS390, specs.ArchS390X:
		return true
	}
	return false
}
