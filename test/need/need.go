// Package need looks for the programs that a test drives.
//
//	path := need.Program(t, "docker")
//
// Where one is not installed the test is skipped, so that a developer's machine need not have everything; with BULKHEAD_TEST_STRICT, as `make test` sets it after
// test/install, it fails: a peer that is missing there would be a test that runs nowhere.
package need

import (
	"os"
	"os/exec"
	"testing"
)

// Strict says that everything must be there.
func Strict() bool { return os.Getenv("BULKHEAD_TEST_STRICT") != "" }

// Program returns the path of a program.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if Strict() {
			t.Fatalf("%s is not installed: test/install does that", name)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}
