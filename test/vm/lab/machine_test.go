package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/machine"
	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

func TestMain(m *testing.M) {
	if err := os.Chdir("../../.."); err != nil { // where the lab runs: packages and files are named from there
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

var smallMachine = boot{"stable", "none", "small"}

// bare is a payload without the tree and the programs of the project: what a machine needs to run shell commands.
func bare(t *testing.T) *payload {
	t.Helper()
	if _, err := ensureImage(t.Context()); err != nil {
		if os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	p := &payload{tmp: t.TempDir()}
	p.dir = filepath.Join(p.tmp, "disk")
	if err := os.MkdirAll(filepath.Join(p.dir, ".lab"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := build(t.Context(), filepath.Join(p.dir, ".lab", "guest"), "./test/vm/guest"); err != nil {
		t.Fatal(err)
	}
	return p
}

func shellJob(command string) wire.Job {
	return wire.Job{Name: command, Argv: []string{"/bin/sh", "-c", command}, Dir: "/", User: "root", Timeout: time.Minute}
}

// A seen is what the host heard of a job.
type seen struct {
	output bytes.Buffer
	ended  wire.Ended
}

// runJobs runs jobs in one machine.
func runJobs(t *testing.T, c machine.Config, jobs ...wire.Job) ([]seen, error) {
	t.Helper()
	p := bare(t)
	disk, err := p.single(t.Context(), smallMachine, jobs...)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]seen, len(jobs))
	watch := c.Output
	c.Output = func(n int, data []byte) {
		list[n].output.Write(data)
		if watch != nil {
			watch(n, data)
		}
	}
	c.Ended = func(n int, e wire.Ended) { list[n].ended = e }
	start := time.Now()
	_, err = smallMachine.start(t.Context(), disk, singlePlan, jobs, c)
	t.Logf("%.1f s", time.Since(start).Seconds())
	return list, err
}

// TestJobs: exit statuses pass through, output comes whole, what hangs is killed, and the job after it runs.
func TestJobs(t *testing.T) {
	t.Parallel()
	const flood = 8 << 20
	hangs := shellJob("sleep 1000 & echo hangs; trap '' TERM QUIT; while :; do sleep 1000; done")
	hangs.Timeout = time.Second
	user := shellJob("id -u; echo theirs >$BULKHEAD_TEST_RESULTS/file")
	user.User = "user"
	missing := shellJob("")
	missing.Argv = []string{"/no/such/program"}
	jobs := []wire.Job{
		shellJob("echo seven; exit 7"), shellJob("kill -KILL $$"), shellJob(fmt.Sprintf("yes flood | head -c %d", flood)), hangs,
		shellJob("pgrep -x sleep"), shellJob("sleep 1000 & echo left"), shellJob("pgrep -x sleep"), user, missing, shellJob("exit 0"),
	}
	results := t.TempDir()
	list, err := runJobs(t, machine.Config{Results: results}, jobs...)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []struct {
		code           int
		output, reason string
	}{
		{7, "seven\n", ""},
		{137, "", "killed by signal: killed"},
		{0, "", ""},
		{-1, "hangs\n", "killed after 1s"},
		{1, "", ""}, // nothing of a job outlives it
		{0, "left\n", ""},
		{1, "", ""},
		{0, "1000\n", ""},
		{-1, "", "no such file or directory"},
		{0, "", ""},
	} {
		s := &list[n]
		if s.ended.Code != want.code || !strings.Contains(s.ended.Reason, want.reason) || (want.reason == "") != (s.ended.Reason == "") {
			t.Errorf("%s: %+v, want %+v", jobs[n].Name, s.ended, want)
		}
		if n != 2 && s.output.String() != want.output {
			t.Errorf("%s: printed %q, want %q", jobs[n].Name, s.output.Bytes(), want.output)
		}
	}
	if got, want := list[2].output.Bytes(), bytes.Repeat([]byte("flood\n"), flood/6+1)[:flood]; !bytes.Equal(got, want) {
		t.Errorf("a flood of %d bytes arrives as %d", flood, len(got))
	}
	if data, err := os.ReadFile(filepath.Join(results, "file")); string(data) != "theirs\n" {
		t.Errorf("result file: %q, %v", data, err)
	}
}

// failing checks that a machine ends in time with an error that says the words.
func failing(t *testing.T, c machine.Config, job wire.Job, words ...string) {
	t.Helper()
	start := time.Now()
	_, err := runJobs(t, c, job)
	if time.Since(start) > time.Minute {
		t.Errorf("it took %v", time.Since(start))
	}
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

// TestPanic: a kernel that panics ends the run, and its last words are in the error.
func TestPanic(t *testing.T) {
	t.Parallel()
	job := shellJob("echo c >/proc/sysrq-trigger; sleep 1000")
	failing(t, machine.Config{Total: 5 * time.Minute}, job, "the guest's kernel panicked", "sysrq")
}

// TestKilledMachine: so does the end of QEMU, whoever killed it.
func TestKilledMachine(t *testing.T) {
	t.Parallel()
	var once sync.Once
	c := machine.Config{Total: 5 * time.Minute}
	c.Output = func(_ int, data []byte) {
		once.Do(func() {
			if pid := machineOf(t); pid == 0 {
				t.Error("no QEMU is a child of this process")
			} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		})
	}
	failing(t, c, shellJob("echo up; sleep 1000"), "ended before its work was done")
}

// machineOf finds the QEMU of a test among the children of this process: by the test's directory, in which its disk is.
func machineOf(t *testing.T) int {
	t.Helper()
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range lists {
		data, _ := os.ReadFile(name)
		for _, field := range strings.Fields(string(data)) {
			line, _ := os.ReadFile("/proc/" + field + "/cmdline")
			found := bytes.HasPrefix(line, []byte("qemu-system-")) && bytes.Contains(line, []byte("/"+t.Name()))
			if pid, err := strconv.Atoi(field); err == nil && found {
				return pid
			}
		}
	}
	return 0
}

// TestDeadlines: boot and the whole have theirs, and an interrupt is one.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	job := shellJob("sleep 1000")
	failing(t, machine.Config{Boot: 100 * time.Millisecond}, job, "the guest was not ready after 100ms")
	failing(t, machine.Config{Total: 100 * time.Millisecond}, job, "the machine was not done after 100ms")
	p := bare(t)
	disk, err := p.single(t.Context(), smallMachine, job)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := smallMachine.start(ctx, disk, singlePlan, []wire.Job{job}, machine.Config{}); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("canceled: %v", err)
	}
	if _, err := smallMachine.start(t.Context(), disk, "other", []wire.Job{job}, machine.Config{}); err == nil || !strings.Contains(err.Error(), "read the plan") {
		t.Errorf("a guest that finds no plan: %v", err)
	}
	if _, err := (boot{"none such", "none", "small"}).start(t.Context(), disk, singlePlan, []wire.Job{job}, machine.Config{}); err == nil {
		t.Error("a kernel that there is not")
	}
}
