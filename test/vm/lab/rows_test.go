package main

import (
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

// TestJudge: what a suite says decides, and not its exit status alone.
func TestJudge(t *testing.T) {
	const good = "=== RUN   TestA\n--- PASS: TestA (0.00s)\n    --- SKIP: TestA/part (0.00s)\n--- SKIP: TestB (0.01s)\nPASS\n"
	for _, c := range []struct {
		skips, output string
		ended         wire.Ended
		want          string // in the error; empty: none
	}{
		{"TestA/.*|TestB", good, wire.Ended{}, ""},
		{"TestA/.*|TestB", good, wire.Ended{Code: 1}, "exit status 1"},
		{"TestA/.*|TestB", good, wire.Ended{Code: -1, Reason: "killed after 1s"}, "killed after 1s"},
		{"", good, wire.Ended{}, "TestA/part, TestB"},
		{"Test", good, wire.Ended{}, "TestA/part, TestB"},
		{"TestB", good, wire.Ended{}, "say that they may: TestA/part"},
		{".*", "PASS\n", wire.Ended{}, "no test ran"},
		{".*", "--- SKIP: TestB (0.01s)\nPASS\n", wire.Ended{}, "no test ran"},
		{"(", good, wire.Ended{}, "missing"},
	} {
		s := suite{skips: c.skips}
		err := s.judge(c.ended, []byte(c.output))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %+v: %v, want %q", c.skips, c.ended, err, c.want)
		}
	}
	if got := count([]byte(good + "--- FAIL: TestC (0.01s)\n")); got != (tally{passed: 1, failed: 1, skipped: 1}) {
		t.Errorf("%+v", got)
	}
	if got := string(gist([]byte("=== RUN   TestA\n    a_test.go:1: why\n--- FAIL: TestA (0.00s)\n    --- PASS: TestA/x (0.00s)\nPASS\nFAIL\n"))); got !=
		"    a_test.go:1: why\n--- FAIL: TestA (0.00s)\nFAIL\n" {
		t.Errorf("gist: %q", got)
	}
}

// TestMatrix: each row names kinds of machines that there are, and packages that have tests.
func TestMatrix(t *testing.T) {
	names := map[string]bool{}
	for _, r := range matrix {
		if names[r.name()] || strings.ContainsAny(r.plan(), "/: ") {
			t.Errorf("%s: a second one of this name, or %q is no name of a plan", r.name(), r.plan())
		}
		names[r.name()] = true
		if strings.Count(r.String(), "/") != 2 || !strings.Contains("stable newer oldstable", r.kernel) || !strings.Contains("none apparmor selinux", r.lsm) ||
			!strings.Contains("small systemd", r.init) {
			t.Errorf("%s: no such machine", r.name())
		}
		if suites, err := expand(r.suites); err != nil || len(suites) == 0 {
			t.Errorf("%s: %d suites, %v", r.name(), len(suites), err)
		}
	}
	if _, err := expand([]suite{{pkg: "./test/vm/recipe"}}); err == nil {
		t.Error("a package without tests")
	}
}
