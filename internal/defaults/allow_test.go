package defaults

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestAllow: a group that is allowed is allowed, nothing else changes, and the filter still compiles, at every level.
func TestAllow(t *testing.T) {
	for _, level := range []Level{Untrusted, Hardened, Compat} {
		for _, g := range Groups() {
			p := Seccomp(level)
			before := whatever(p)
			if reason, err := Allow(p, g.Name); err != nil || reason == "" {
				t.Fatalf("%s: %v", g.Name, err)
			}
			if _, err := seccomp.Compile(p); err != nil {
				t.Errorf("%s at %s: %v", g.Name, level, err)
			}
			after := whatever(p)
			for name := range after {
				if !before[name] && !slices.Contains(strings.Fields(g.Calls), name) {
					t.Errorf("%s allows %s", g.Name, name)
				}
			}
			for _, name := range strings.Fields(g.Calls) {
				if !after[name] {
					t.Errorf("%s does not allow %s at %s", g.Name, name, level)
				}
			}
		}
		for _, f := range []string{"can", "packet", "alg", "vsock", "netlink", "44", "inet"} {
			p := Seccomp(level)
			for _, more := range []string{f, "xdp", f} {
				if _, err := Allow(p, "af="+more); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := seccomp.Compile(p); err != nil {
				t.Errorf("af=%s at %s: %v", f, level, err)
			}
		}
	}
	for _, name := range []string{"", "af=", "af=elf", "everything"} {
		if _, err := Allow(Seccomp(Hardened), name); err == nil {
			t.Errorf("%q is a group", name)
		}
	}
}

// whatever returns the calls that some rule without arguments allows.
func whatever(p *specs.LinuxSeccomp) map[string]bool {
	out := map[string]bool{}
	for _, r := range p.Syscalls {
		if r.Action == specs.ActAllow && len(r.Args) == 0 {
			for _, n := range r.Names {
				out[n] = true
			}
		}
	}
	return out
}
