package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// job is one program's operation in one series, with what was measured so far.
type job struct {
	series, operation, program string
	words                      []string // as the runner takes them
	samples                    []sample
}

type sample struct {
	wall, cpu time.Duration
	maxrss    int64 // KiB
}

// runSeries measures all programs that can take part in the series and adds the rows to the report.
func runSeries(name, work string, programs []program, s *settings, report *report) error {
	r, err := startRunner(filepath.Join(work, "runner"))
	if err != nil {
		return err
	}
	defer r.close()
	if name != "cgroups" {
		if err := r.order("v2"); err != nil {
			return err
		}
	}
	jobs, cleanup := plan(name, work, programs, r, report)
	defer cleanup()
	for round := range s.warmup + s.rounds {
		for _, j := range jobs {
			time.Sleep(s.settle)
			if !waitQuiet(s.patience) {
				report.Busy++
			}
			report.Taken++
			got, err := r.measure(j.words)
			if err != nil {
				return fmt.Errorf("%s %s: %w", j.program, j.operation, err)
			}
			if round >= s.warmup {
				j.samples = append(j.samples, got)
			}
		}
	}
	for _, j := range jobs {
		report.add(j)
	}
	return nil
}

// waitQuiet waits until no other process of the machine runs or wants to, and says whether that came in time.
func waitQuiet(patience time.Duration) bool {
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		data, err := os.ReadFile("/proc/stat")
		if err != nil {
			return false
		}
		_, rest, _ := strings.Cut(string(data), "procs_running ") // proc_stat(5); this process is one
		if count, _, _ := strings.Cut(rest, "\n"); count == "1" {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// plan lists the jobs of a series. A program whose first run fails is left out with its message. Containers for exec are
// started; cleanup removes them.
func plan(name, work string, programs []program, r *runner, report *report) ([]*job, func()) {
	var jobs []*job
	var removals [][]string
	for i, p := range programs {
		id := fmt.Sprintf("bench-%d-%s-%d", os.Getpid(), name, i) // runtimes share the cgroup tree
		if p.argv != nil {
			if name == "none" {
				jobs = append(jobs, &job{series: name, operation: "run", program: p.Name, words: p.argv})
			}
			continue
		}
		if name == "none" && p.noDisabled {
			continue
		}
		mine := runtimeJobs(name, work, id+"-t", &p)
		if _, err := r.measure(mine[0].words); err != nil {
			report.Skipped = append(report.Skipped, fmt.Sprintf("%s in series %s: %v", p.Name, name, err))
			continue
		}
		jobs = append(jobs, mine...)
		runtime := command(name, work, &p)
		sleeper := oci(runtime, "create", "--bundle", filepath.Join(work, name, "sleep"), id)
		sleeper = append(append(sleeper, "--"), oci(runtime, "start", id)...)
		if _, err := r.measure(sleeper); err != nil {
			report.Skipped = append(report.Skipped, fmt.Sprintf("%s exec in series %s: %v", p.Name, name, err))
			continue
		}
		removals = append(removals, oci(runtime, "delete", "--force", id))
		jobs = append(jobs, &job{
			series: name, operation: "exec", program: p.Name, words: oci(runtime, "exec", id, "/bin/true"),
		})
		if name == "none" || (p.noDisabled && name == "cgroups") {
			jobs = append(jobs, &job{series: name, operation: "--version", program: p.Name, words: []string{p.Path, "--version"}})
		}
	}
	return jobs, func() {
		for _, words := range removals {
			_, _ = r.measure(words) // a container that is already gone is what we want
		}
	}
}

func runtimeJobs(series, work, id string, p *program) []*job {
	runtime := command(series, work, p)
	bundle := filepath.Join(work, series, "true")
	life := oci(runtime, "create", "--bundle", bundle, id)
	life = append(append(life, "--"), oci(runtime, "start", id)...)
	life = append(append(life, "--", "--orphan", "--"), oci(runtime, "delete", id)...)
	return []*job{
		{series: series, operation: "run", program: p.Name, words: oci(runtime, "run", "--bundle", bundle, id)},
		{series: series, operation: "create+start+delete", program: p.Name, words: life},
	}
}

// command is the runtime with its global options in that series; each has a state root of its own.
func command(series, work string, p *program) []string {
	argv := []string{p.Path, "--root", filepath.Join(work, "state", series, strings.ReplaceAll(p.Path, "/", "-"))}
	if series == "none" {
		argv = append(argv, "--cgroup-manager=disabled")
	}
	return argv
}

func oci(runtime []string, words ...string) []string {
	return append(append([]string{}, runtime...), words...)
}

// runner is the small process that forks; see its package comment.
type runner struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *os.File // what the commands say; read only when one fails
}

func startRunner(path string) (*runner, error) {
	stderr, err := os.OpenFile(path+".stderr", os.O_RDWR|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create file for messages: %w", err)
	}
	r := &runner{cmd: exec.Command(path), stderr: stderr}
	r.cmd.Stderr = stderr
	in, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to runner: %w", err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe from runner: %w", err)
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start runner: %w", err)
	}
	r.in, r.out = in, bufio.NewReader(out)
	return r, nil
}

func (r *runner) close() {
	_ = r.in.Close()
	_ = r.cmd.Wait() // its work is done; nothing depends on how it ends
	_ = r.stderr.Close()
}

func (r *runner) ask(words ...string) (string, error) {
	if _, err := io.WriteString(r.in, strings.Join(words, "\t")+"\n"); err != nil {
		return "", fmt.Errorf("write to runner: %w", err)
	}
	line, err := r.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read from runner: %w", err)
	}
	line = strings.TrimSpace(line)
	if reason, bad := strings.CutPrefix(line, "error "); bad {
		return "", errors.New(reason)
	}
	return line, nil
}

func (r *runner) order(words ...string) error {
	_, err := r.ask(words...)
	return err
}

// measure runs the commands of words once. A command that fails is an error with its message.
func (r *runner) measure(words []string) (sample, error) {
	line, err := r.ask(append([]string{"run"}, words...)...)
	if err != nil {
		return sample{}, err
	}
	f := strings.Fields(line)
	if len(f) != 4 {
		return sample{}, fmt.Errorf("runner answered %q", line)
	}
	var n [4]int64
	for i := range f {
		if n[i], err = strconv.ParseInt(f[i], 10, 64); err != nil {
			return sample{}, fmt.Errorf("runner answered %q", line)
		}
	}
	if n[0] != 0 {
		return sample{}, fmt.Errorf("exit status %d: %s", n[0], r.message())
	}
	return sample{wall: time.Duration(n[1]), cpu: time.Duration(n[2]), maxrss: n[3]}, nil
}

// message returns the last line that the commands wrote to their standard error.
func (r *runner) message() string {
	data, err := os.ReadFile(r.stderr.Name())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}
