package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bulkhead-engine/bulkhead/test/built"
)

// scratch outlives single tests: programs built once for all of them.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bulkhead-conformance-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := m.Run()
	if err := os.RemoveAll(scratch); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// missing skips a test that lacks something on a developer's machine, and fails it in CI, whose
// machine must have everything.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" || os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// need returns the path of a program of Debian's package.
func need(t testing.TB, program, debian string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		missing(t, "%s is not installed (Debian: %s)", program, debian)
	}
	return path
}

var buildRuntime = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("RUNTIME"); path != "" {
		return exec.LookPath(path)
	}
	// named as it is installed: what a peer does by a runtime's name is then as in earnest
	path := filepath.Join(scratch, "bulkhead-runtime")
	if err := built.Program(path, "./cmd/bulkhead-runtime"); err != nil {
		return "", err
	}
	return path, os.Chmod(scratch, 0o755)
})

// runtimePath is the absolute path of the runtime under test.
func runtimePath(t testing.TB) string {
	t.Helper()
	path, err := buildRuntime()
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runtimeName is the first word of the runtime's --version: runc, crun, bulkhead-runtime.
func runtimeName(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(runtimePath(t), "--version").Output()
	if err != nil {
		t.Fatalf("ask the runtime's version: %v", err)
	}
	name, _, _ := strings.Cut(string(out), " ")
	return name
}
