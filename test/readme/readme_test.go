// Package readme_test runs the commands of README.md as they stand there, and the demo that it begins with.
//
// The fenced blocks marked `sh quickstart` are one script. It needs root, make, debootstrap with a mirror that it can reach, and jq; it
// builds the programs, so it also says whether a clean clone can.
package readme_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const root = "../.."

// quickstart returns the script of the page.
func quickstart(page string) string {
	var script strings.Builder
	inside := false
	for _, line := range strings.Split(page, "\n") {
		switch {
		case line == "```sh quickstart":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside:
			script.WriteString(line + "\n")
		}
	}
	return script.String()
}

// need skips without what a test needs, or fails where the machine ought to have it.
func need(t *testing.T, programs ...string) {
	t.Helper()
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return
	}
	if os.Getenv("BULKHEAD_TEST_STRICT") != "" {
		t.Fatalf("missing: %v (make needs)", missing)
	}
	t.Skipf("missing: %v (make needs)", missing)
}

// run runs a command in the repository with a temporary directory of its own, and returns its output. The container's root must be able
// to pass through that directory.
func run(t *testing.T, timeout time.Duration, name string, args ...string) string {
	t.Helper()
	tmp, err := os.MkdirTemp("", "bulkhead-readme-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o711); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out.String())
	}
	left, err := filepath.Glob(tmp + "/*")
	if err != nil || len(left) != 0 {
		t.Errorf("%s left %v (%v)", name, left, err)
	}
	return out.String()
}

// summary is the last line of the report when nothing is open.
var summary = regexp.MustCompile(`(?m)^summary: ([0-9]+) walls stand, 0 doors are open$`)

func TestQuickstart(t *testing.T) {
	need(t, "make", "debootstrap", "jq")
	page, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	script := quickstart(string(page))
	if strings.Count(script, "\n") < 10 {
		t.Fatalf("the page has no quick start: %q", script)
	}
	out := run(t, 8*time.Minute, "sh", "-euc", script)
	for _, want := range []string{
		"12.", "uid=0(root)", "268435456", "pids                         100", "50000 100000",
		"Operation not permitted", "permission denied", "running",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the output", want)
		}
	}
	if !summary.MatchString(out) {
		t.Error("the report does not end without open doors")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestDemo shows that the levels are what they say: nothing is open at untrusted and hardened, and at compat what Docker leaves open.
func TestDemo(t *testing.T) {
	need(t)
	for _, level := range []string{"untrusted", "hardened"} {
		if out := run(t, time.Minute, "bin/bulkhead-demo", "--level", level); !summary.MatchString(out) {
			t.Errorf("%s:\n%s", level, out)
		}
	}
	out := run(t, time.Minute, "bin/bulkhead-demo", "--level", "compat")
	for _, door := range []string{"!! user ", "!! no_new_privs ", "!! ptrace ", "ok mount ", "ok seccomp ", "ok io_uring_setup "} {
		if !strings.Contains(out, door) {
			t.Errorf("compat: no %q in\n%s", door, out)
		}
	}
}

func TestScript(t *testing.T) {
	page := "a\n```sh\nno\n```\n```sh quickstart\none\n```\nb\n```sh quickstart\ntwo\n```\n"
	if got := quickstart(page); got != "one\ntwo\n" {
		t.Errorf("%q", got)
	}
}
