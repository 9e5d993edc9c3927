package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// programLimit is generous: with a runtime that passes, the slowest program takes 14 seconds.
const programLimit = 45 * time.Second

// racy are programs that send a signal to a shell without waiting until it has set its trap.
var racy = map[string]bool{"kill": true, "killsig": true}

// onlyV1 names the programs that look for a container's cgroups and say "cgroupv2 is not supported yet".
func onlyV1(program string) bool {
	return strings.HasPrefix(program, "linux_cgroups_") || program == "delete_resources" || program == "delete_only_create_resources"
}

// TestRuntimeTools runs every validation program of runtime-tools and compares with expectations.txt.
func TestRuntimeTools(t *testing.T) {
	if testing.Short() {
		t.Skip("builds 59 programs, runs for a minute")
	}
	if os.Geteuid() != 0 {
		missing(t, "the conformance tests need root")
	}
	program, name := runtimePath(t), runtimeName(t)
	mounts, err := cgroupMounts()
	if err != nil {
		t.Fatal(err)
	}
	list := loadExpectations(t)
	dir := buildTools(t)
	programs, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range programs {
		if p.Name() == "runtimetest" || strings.HasPrefix(p.Name(), "rootfs-") {
			continue
		}
		names = append(names, p.Name())
		t.Run(p.Name(), func(t *testing.T) {
			t.Parallel()
			if onlyV1(p.Name()) && unified(mounts) {
				t.Skip("the program knows the files of cgroup version 1 alone, and this machine has only version 2")
			}
			failed := runTool(t, filepath.Join(dir, p.Name()), program)
			surprises, stale := judge(list, p.Name(), name, failed)
			for try := 1; try < 4 && len(surprises) > 0 && racy[p.Name()]; try++ {
				t.Logf("once more, since the program races: %v", surprises)
				surprises, stale = judge(list, p.Name(), name, runTool(t, filepath.Join(dir, p.Name()), program))
			}
			for _, point := range surprises {
				t.Errorf("fails, and expectations.txt does not know: %s", point)
			}
			for _, e := range stale {
				t.Errorf("passes, but expectations.txt says it fails: %s (%s)", e.point, e.reason)
			}
		})
	}
	for _, e := range list {
		if !slices.ContainsFunc(names, func(name string) bool { ok, err := path.Match(e.program, name); return ok && err == nil }) {
			t.Errorf("expectations.txt has a line for %q, which runtime-tools has not", e.program)
		}
	}
}

// buildTools builds the tools of runtimetools/go.mod, or finds them in BULKHEAD_TEST_BIN, and puts
// the root file system beside them that they unpack.
func buildTools(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(scratch, "runtimetools")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if bin := os.Getenv("BULKHEAD_TEST_BIN"); bin != "" {
		found, err := filepath.Glob(filepath.Join(bin, "runtimetools", "*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no runtime-tools in %s: %v", bin, err)
		}
		for _, program := range found {
			to := filepath.Join(dir, filepath.Base(program))
			err := os.Symlink(program, to)
			if filepath.Base(program) == "runtimetest" { // others copy it into containers, as it is
				err = errors.Join(os.Remove(to), copyProgram(program, to))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	} else {
		// static: runtimetest runs inside a root without a C library
		cmd := exec.Command("go", "build", "-C", "runtimetools", "-trimpath", "-ldflags=-s -w", "-o", dir, "tool")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build runtime-tools: %v\n%s", err, out)
		}
	}
	root := filepath.Join(dir, fmt.Sprintf("rootfs-%s.tar.gz", runtime.GOARCH))
	if err := os.WriteFile(root, gzipped(t, busyboxTar(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyProgram(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

// runTool runs a program in a cell of its own and returns the points that failed, among them
// pseudo points in parentheses.
func runTool(t *testing.T, program, runtimePath string) []string {
	c := newCell(t)
	ctx, cancel := context.WithTimeout(t.Context(), programLimit)
	defer cancel()
	cmd := c.command(ctx, program)
	cmd.Dir = filepath.Dir(program)
	cmd.Env = append(cmd.Env, "RUNTIME="+runtimePath)
	r := finish(cmd)
	v := parseTAP(r.stdout)
	failed := v.failed
	switch {
	case ctx.Err() != nil:
		failed = append(failed, "(timeout)")
	case r.code != 0:
		failed = append(failed, "(exit)")
	}
	failed = append(failed, c.leftovers(t)...)
	if t.Failed() || len(failed) > 0 || testing.Verbose() {
		t.Logf("passed %d points, failed %q\n%s%s", len(v.passed), failed, excerpt(r.stdout), excerpt(r.stderr))
	}
	slices.Sort(failed)
	return failed
}

// excerpt keeps the end of an output, where the complaint is.
func excerpt(s string) string {
	const most = 3000
	if len(s) > most {
		return "...\n" + s[len(s)-most:]
	}
	return s
}
