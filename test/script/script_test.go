// Package script tests bulkhead-runtime as a program: testdata/*.txtar are scripts of package testscript that call it as people and
// engines do, with bundles made of a static busybox, and the tests in Go beside them let many calls work on one container at once, and
// kill them at any moment.
//
// They need root, cgroups and busybox. Without these they are skipped, unless BULKHEAD_TEST_STRICT=1 says that they must run.
//
// A script gets $ROOT, a root directory of its own, and $ID, a prefix of container names that no other test uses. When it ends there may be no
// state directory, no cgroup and no process of these names left.
package script

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/runtime/command"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bulkhead-runtime": func() { os.Exit(command.Main(os.Args)) },
		"rt":               rtMain,
		"mkbundle":         func() { check(mkbundle(os.Args[1:])) },
		"status":           func() { check(wantStatus(os.Args[1:])) },
		"waitfor":          func() { check(waitFor(os.Args[1:])) },
		"jsonkeys":         func() { check(jsonKeys(os.Args[1:])) },
		"recvfd":           func() { check(receiveFD(os.Args[1:])) },
		"onpty":            func() { check(onPTY(os.Args[1:])) },
		"withfds":          func() { check(withFDs(os.Args[1:])) },
		"notifyd":          func() { check(notifyDaemon(os.Args[1:])) },
		"notifysend":       func() { check(notifySend(os.Args[1:])) },
	})
}

// rtMain is bulkhead-runtime with --root $ROOT. What it starts in the background would keep a script's output open for as long as it runs, so
// create and whatever is detached get files instead of the script's streams.
func rtMain() {
	args := append([]string{"--root", os.Getenv("ROOT")}, os.Args[1:]...)
	detached := len(os.Args) > 1 && os.Args[1] == "create"
	for _, arg := range os.Args[1:] {
		detached = detached || arg == "-d" || arg == "--detach"
	}
	if !detached || os.Getenv("RT_DIRECT") != "" {
		os.Exit(command.Main(append([]string{"bulkhead-runtime"}, args...)))
	}
	out, err := os.CreateTemp("", "out")
	if err != nil {
		check(err)
	}
	errs, err := os.CreateTemp("", "err")
	if err != nil {
		check(err)
	}
	cmd := exec.Command("bulkhead-runtime", args...)
	cmd.Stdout, cmd.Stderr = out, errs
	runErr := cmd.Run()
	for from, to := range map[*os.File]*os.File{out: os.Stdout, errs: os.Stderr} {
		data, err := os.ReadFile(from.Name())
		if err != nil {
			check(err)
		}
		_ = os.Remove(from.Name())
		_, _ = to.Write(data)
	}
	if cmd.ProcessState == nil {
		check(runErr)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// check ends a helper program.
func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// requireRoot skips a test that cannot run, or fails it where it must.
func requireRoot(t *testing.T) {
	t.Helper()
	why := ""
	if os.Geteuid() != 0 {
		why = "it is not run by root"
	} else if _, err := exec.LookPath("busybox"); err != nil {
		why = "there is no busybox (Debian: busybox-static)"
	}
	switch {
	case why == "":
	case os.Getenv("BULKHEAD_TEST_STRICT") == "1":
		t.Fatal("the test cannot run: " + why)
	default:
		t.Skip("the test cannot run: " + why)
	}
}

var prefixes atomic.Int32

// newPrefix returns a prefix of container names.
func newPrefix() string {
	return "bhs" + strconv.Itoa(os.Getpid()) + "x" + strconv.Itoa(int(prefixes.Add(1))) + "-"
}

func TestScripts(t *testing.T) {
	requireRoot(t)
	limit := 3 * time.Minute
	if os.Getenv("BULKHEAD_TEST_VM") == "1" { // emulated
		limit = 10 * time.Minute
	}
	testscript.Run(t, testscript.Params{
		Dir:      "testdata",
		Deadline: time.Now().Add(limit),
		Setup: func(env *testscript.Env) error {
			root := filepath.Join(env.WorkDir, "root")
			id := newPrefix()
			env.Setenv("ROOT", root)
			env.Setenv("ID", id)
			env.Setenv("PATH", env.Getenv("PATH")+":/usr/sbin:/sbin")
			env.Defer(func() { checkClean(t, root, id) })
			return nil
		},
	})
}

// checkClean fails a test that leaves something behind, and removes it.
func checkClean(t testing.TB, root, id string) {
	entries, err := os.ReadDir(root)
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "~") {
			continue
		}
		t.Errorf("left behind: container %s", e.Name())
		command.Main([]string{"rt", "--root", root, "delete", "--force", e.Name()})
	}
	for _, dir := range cgroups(id) {
		t.Errorf("left behind: cgroup %s", dir)
		_ = os.Remove(dir)
	}
}

// cgroups returns the cgroups whose names begin with the prefix. One that is on its way out gets a moment.
func cgroups(prefix string) []string {
	var found []string
	for range 20 {
		found = nil
		_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || !d.IsDir():
				return nil
			case strings.HasPrefix(d.Name(), prefix):
				found = append(found, path)
				return fs.SkipDir
			case strings.Count(path, "/") > 5:
				return fs.SkipDir
			}
			return nil
		})
		if found == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return found
}

func program(root string, args ...string) *exec.Cmd {
	return exec.Command("bulkhead-runtime", append([]string{"--root", root}, args...)...)
}
