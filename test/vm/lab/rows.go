package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/machine"
	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

// matrixRun is one run of `lab matrix`: machines, some at the same time, that share a disk.
type matrixRun struct {
	payload *payload
	disk    string
	verbose bool

	mu    sync.Mutex // of what follows, and of standard output: what a suite has to say stays together
	total tally
}

// runMatrix is `lab matrix`.
func runMatrix(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("lab matrix", flag.ExitOnError)
	only := flags.String("only", "", "machines whose names contain this, instead of all")
	verbose := flags.Bool("v", false, "show the output of suites that pass, too")
	// A machine is one thread of QEMU's.
	together := flags.Int("j", min(2, runtime.NumCPU()), "machines at the same time, of 2 GiB each")
	limit := flags.Duration("timeout", 40*time.Minute, "for everything")
	_ = flags.Parse(args)
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("not done after %v", *limit))
	defer cancel()
	start := time.Now()
	var rows []row
	for _, r := range matrix {
		if strings.Contains(r.name(), *only) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return 1, fmt.Errorf("no machine is called %q", *only)
	}
	p, err := newPayload(ctx)
	if err != nil {
		return 1, err
	}
	defer p.remove()
	m := &matrixRun{payload: p, verbose: *verbose}
	if err := m.prepare(ctx, rows); err != nil {
		return 1, err
	}
	fmt.Printf("%d machines, %d at a time; programs and disks are ready after %.0f s\n", len(rows), *together, time.Since(start).Seconds())
	m.all(ctx, rows, max(1, *together))
	if err := context.Cause(ctx); err != nil {
		return 1, err
	}
	fmt.Printf("%d passed, %d failed, %d skipped, in %.0f s\n", m.total.passed, m.total.failed, m.total.skipped, time.Since(start).Seconds())
	if m.total.failed > 0 {
		return 1, nil
	}
	return 0, nil
}

// prepare compiles what the rows run, and makes the image and the disk.
func (m *matrixRun) prepare(ctx context.Context, rows []row) error {
	for i := range rows {
		r := &rows[i]
		suites, err := expand(r.suites)
		if err != nil {
			return err
		}
		r.suites = suites
		for _, s := range suites {
			job, err := m.payload.tests(ctx, s, true)
			if err != nil {
				return err
			}
			job.Env = append(job.Env, r.environment()...)
			r.jobs = append(r.jobs, job)
		}
		if err := m.payload.plan(r.plan(), r.boot, r.jobs); err != nil {
			return err
		}
	}
	if _, err := ensureImage(ctx); err != nil {
		return err
	}
	var err error
	m.disk, err = m.payload.disk(ctx)
	return err
}

// all runs the rows, so many at a time, in their order.
func (m *matrixRun) all(ctx context.Context, rows []row, together int) {
	next := make(chan *row)
	var workers sync.WaitGroup
	for range together {
		workers.Go(func() {
			for r := range next {
				m.one(ctx, r)
			}
		})
	}
	for i := range rows {
		next <- &rows[i]
	}
	close(next)
	workers.Wait()
}

// one boots one machine and runs its suites.
func (m *matrixRun) one(ctx context.Context, r *row) {
	if ctx.Err() != nil {
		return
	}
	start := time.Now()
	outputs := make([]bytes.Buffer, len(r.jobs))
	result, err := r.start(ctx, m.disk, r.plan(), r.jobs, machine.Config{
		Output: func(n int, data []byte) { outputs[n].Write(data) },
		Ended:  func(n int, e wire.Ended) { m.ended(r, n, e, outputs[n].Bytes()) },
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if result != nil {
		for _, line := range result.Oops {
			fmt.Printf("      %s: the kernel complains: %s\n", r.name(), line)
		}
	}
	if result != nil && result.Boots > 1 {
		fmt.Printf("      %s: the kernel panicked before it was ready, and was booted anew: %d boots\n", r.name(), result.Boots)
	}
	if err == nil {
		fmt.Printf("done  %-24s %6.1f s, of which boot %.1f s; processor time %.1f s, memory %d MiB\n", r.name(), time.Since(start).Seconds(),
			result.Booted.Seconds(), result.CPU.Seconds(), result.Memory>>20)
		return
	}
	m.total.failed++
	fmt.Printf("FAIL  %-24s %v\n", r.name(), err)
	if result != nil && len(result.Jobs) < len(r.jobs) {
		n := len(result.Jobs)
		fmt.Printf("      in %s as %s, which had printed:\n%s\n", r.jobs[n].Name, r.jobs[n].User, gist(outputs[n].Bytes()))
	}
}

// ended prints how a suite ended.
func (m *matrixRun) ended(r *row, n int, e wire.Ended, output []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	job, t := &r.jobs[n], count(output)
	err := r.suites[n].judge(e, output)
	word, what := "ok   ", fmt.Sprintf("%d tests, %d skipped", t.passed, t.skipped)
	if err != nil {
		word, what = "FAIL ", err.Error()
		t.failed = max(t.failed, 1)
	}
	m.total.add(t)
	fmt.Printf("%s %-24s %-26s %-4s %6.1f s  %s\n", word, r.name(), short(job.Name), job.User, e.Elapsed.Seconds(), what)
	switch {
	case m.verbose:
		fmt.Printf("%s\n", output)
	case err != nil:
		fmt.Printf("%s\n", gist(output))
	}
}

// smallTalk is what go test -v says of tests that go well.
var smallTalk = regexp.MustCompile(`(?m)^(=== (RUN|PAUSE|CONT|NAME) .*| *--- PASS: .*|PASS)\n`)

// gist is what a reader of a failure wants of a suite's output.
func gist(output []byte) []byte { return smallTalk.ReplaceAll(output, nil) }

// judge says what is wrong with how a suite ended; nil is nothing. One that ran no test has failed, as has one that skipped a test which should
// run there: nobody reads of what is skipped.
func (s *suite) judge(e wire.Ended, output []byte) error {
	switch {
	case e.Reason != "":
		return errors.New(e.Reason)
	case e.Code != 0:
		return fmt.Errorf("exit status %d", e.Code)
	case count(output).passed == 0:
		return errors.New("no test ran")
	}
	may, err := regexp.Compile("^(" + s.skips + ")$")
	if err != nil {
		return err
	}
	var more []string
	for _, m := range skipped.FindAllSubmatch(output, -1) {
		if name := string(m[1]); !may.MatchString(name) {
			more = append(more, name)
		}
	}
	if more != nil {
		return fmt.Errorf("skipped, and the matrix does not say that they may: %s", strings.Join(more, ", "))
	}
	return nil
}

// skipped finds tests that skipped themselves, and parts of tests.
var skipped = regexp.MustCompile(`(?m)^ *--- SKIP: (\S+) `)

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
