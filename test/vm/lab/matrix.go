package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/machine"
	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

// A row is one machine and the suites that run in it, one after the other.
type row struct {
	boot
	suites []suite
}

// core are the packages that talk to the kernel: their tests run on every kernel.
var core = []string{
	"./internal/linux/...", "./internal/sandbox/forkexec", "./internal/sandbox/lsm", "./internal/runtime/launch",
	"./internal/runtime/state", "./internal/atomicfile",
}

// matrix is what `lab matrix` does. One boot runs many suites: a boot costs five seconds, with systemd fifteen.
//
// The careless runtime of the attack suite, which its tests must catch, loses the race of TestSwappedDirectory under emulation; the host shows that one. TestLow
// compares how much of two page caches the kernel leaves, which is a matter of speed as well, and Debian's runc does not
// start the container that the events script compares with.
var matrix = []row{
	{boot{"stable", "none", "small"}, append(each(core), []suite{
		{pkg: "./internal/sandbox/cgroup", timeout: 4 * time.Minute},
		{pkg: "./internal/doctor"},
		{pkg: "./internal/doctor", user: "user"},
		{pkg: "./test/cgroup", skip: "TestLow", timeout: 6 * time.Minute},
		{pkg: "./test/script", skip: "TestScripts/events", timeout: 6 * time.Minute},
		{pkg: "./test/spec", timeout: 6 * time.Minute},
		{pkg: "./test/attack", skip: "TestSwappedDirectory", timeout: 6 * time.Minute},
	}...)},
	{boot{"stable", "none", "systemd"}, []suite{
		{pkg: "./internal/sandbox/cgroup", timeout: 4 * time.Minute},
		{pkg: "./internal/doctor"},
		{pkg: "./test/cgroup", skip: "TestLow", timeout: 6 * time.Minute},
	}},
	{boot{"stable", "apparmor", "small"}, []suite{
		{pkg: "./internal/sandbox/lsm"},
		{pkg: "./internal/doctor"},
		{pkg: "./test/lsm", timeout: 6 * time.Minute},
	}},
	{boot{"stable", "selinux", "small"}, []suite{
		{pkg: "./internal/sandbox/lsm"},
		{pkg: "./internal/doctor"},
		{pkg: "./test/lsm", run: "SELinux", timeout: 4 * time.Minute},
	}},
	{boot{"newer", "apparmor", "small"}, append(each(core), suite{pkg: "./test/lsm", timeout: 6 * time.Minute})},
	{boot{"oldstable", "none", "small"}, append(each(core), suite{pkg: "./test/lsm", timeout: 6 * time.Minute})},
}

func each(pkgs []string) []suite {
	var out []suite
	for _, p := range pkgs {
		out = append(out, suite{pkg: p})
	}
	return out
}

// expand resolves DIR/... to the packages right below that have tests. A suite without any test is an error.
func expand(suites []suite) ([]suite, error) {
	var out []suite
	for _, s := range suites {
		dir, recursive := strings.CutSuffix(s.pkg, "/...")
		dirs := []string{dir}
		if recursive {
			var err error
			if dirs, err = filepath.Glob(dir + "/*"); err != nil {
				return nil, err
			}
		}
		found := false
		for _, d := range dirs {
			tests, err := filepath.Glob(d + "/*_test.go")
			if err != nil {
				return nil, err
			}
			if len(tests) == 0 {
				continue
			}
			found = true
			one := s
			if one.pkg = "./" + filepath.Clean(d); one.timeout == 0 {
				one.timeout = 2 * time.Minute
			}
			out = append(out, one)
		}
		if !found {
			return nil, fmt.Errorf("%s: no tests", s.pkg)
		}
	}
	return out, nil
}

// runMatrix is `lab matrix`.
func runMatrix(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("lab matrix", flag.ExitOnError)
	only := flags.String("only", "", "KERNEL/LSM/INIT, instead of all; any part may be missing")
	verbose := flags.Bool("v", false, "show the output of suites that pass, too")
	_ = flags.Parse(args)
	p, err := newPayload(ctx)
	if err != nil {
		return 1, err
	}
	defer p.remove()
	start, total := time.Now(), tally{}
	for _, r := range matrix {
		if *only != r.String() && (strings.Count(*only, "/") == 2 || !strings.Contains(r.String(), *only)) {
			continue
		}
		t, err := r.run(ctx, p, *verbose)
		total.add(t)
		if err != nil {
			fmt.Printf("FAIL  %s: %v\n", r.boot, err)
			total.failed++
		}
		if ctx.Err() != nil {
			return 1, ctx.Err()
		}
	}
	if total.passed+total.failed == 0 {
		return 1, fmt.Errorf("no machine is called %q", *only)
	}
	fmt.Printf("%d passed, %d failed, %d skipped, in %.0f s\n", total.passed, total.failed, total.skipped, time.Since(start).Seconds())
	if total.failed > 0 {
		return 1, nil
	}
	return 0, nil
}

// A tally counts tests at the top of a suite.
type tally struct{ passed, failed, skipped int }

func (t *tally) add(o tally) {
	t.passed, t.failed, t.skipped = t.passed+o.passed, t.failed+o.failed, t.skipped+o.skipped
}

var verdicts = regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): `)

// count reads the output of a suite.
func count(output []byte) tally {
	var t tally
	for _, m := range verdicts.FindAllSubmatch(output, -1) {
		switch string(m[1]) {
		case "PASS":
			t.passed++
		case "FAIL":
			t.failed++
		default:
			t.skipped++
		}
	}
	return t
}

// run boots one machine and runs its suites.
func (r row) run(ctx context.Context, p *payload, verbose bool) (tally, error) {
	suites, err := expand(r.suites)
	if err != nil {
		return tally{}, err
	}
	var jobs []wire.Job
	for _, s := range suites {
		job, err := p.tests(ctx, s, true)
		if err != nil {
			return tally{}, err
		}
		job.Env = append(job.Env, r.environment()...)
		jobs = append(jobs, job)
	}
	disk, err := p.disk(ctx, r.boot, jobs)
	if err != nil {
		return tally{}, err
	}
	defer os.Remove(disk)
	var total tally
	outputs := make([]bytes.Buffer, len(jobs))
	fmt.Printf("boot  %s\n", r.boot)
	result, err := r.start(ctx, disk, jobs, machine.Config{
		Output: func(n int, data []byte) { outputs[n].Write(data) },
		Ended:  func(n int, e wire.Ended) { total.add(report(&jobs[n], e, outputs[n].Bytes(), verbose)) },
	})
	if result != nil {
		for _, line := range result.Oops {
			fmt.Printf("      the kernel complains: %s\n", line)
		}
		if err != nil && len(result.Jobs) < len(jobs) {
			job := &jobs[len(result.Jobs)]
			err = fmt.Errorf("in %s as %s: %w\n%s", job.Name, job.User, err, outputs[len(result.Jobs)].Bytes())
		}
	}
	return total, err
}

// report prints how a suite ended. One that ran no test has failed: so does a suite that skips itself where it should not.
func report(job *wire.Job, e wire.Ended, output []byte, verbose bool) tally {
	t := count(output)
	var problem error
	switch {
	case e.Reason != "":
		problem = errors.New(e.Reason)
	case e.Code != 0:
		problem = fmt.Errorf("exit status %d", e.Code)
	case t.passed == 0:
		problem = errors.New("no test ran")
	}
	if problem == nil {
		fmt.Printf("ok    %-40s %-5s %6.1f s  %d tests, %d skipped\n", short(job.Name), job.User, e.Elapsed.Seconds(), t.passed, t.skipped)
		if verbose {
			_, _ = os.Stdout.Write(output)
		}
		return t
	}
	fmt.Printf("FAIL  %-40s %-5s %6.1f s  %v\n", short(job.Name), job.User, e.Elapsed.Seconds(), problem)
	_, _ = os.Stdout.Write(output)
	fmt.Println()
	t.failed = max(t.failed, 1)
	return t
}
