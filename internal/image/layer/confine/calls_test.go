package confine

import (
	"os"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestCalls holds the worker's system calls to a list: one more is a decision, not an accident.
func TestCalls(t *testing.T) {
	var names []string
	for _, s := range Profile().Syscalls {
		for _, n := range s.Names {
			if s.Action == specs.ActAllow && len(s.Args) > 0 {
				n += " (some arguments)"
			}
			if s.Action != specs.ActAllow {
				n += " refused"
			}
			names = append(names, n)
		}
	}
	slices.Sort(names)
	got := strings.Join(names, "\n") + "\n"
	want, err := os.ReadFile("testdata/calls.golden")
	if err != nil || string(want) != got {
		t.Errorf("%v; the calls are now\n%s", err, got)
	}
	if len(names) > 75 {
		t.Errorf("%d calls", len(names))
	}
}
