package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// row is what came out for one program, operation and series. Times are milliseconds, memory is KiB.
type row struct {
	Series    string  `json:"series"`
	Operation string  `json:"operation"`
	Program   string  `json:"program"`
	Wall      float64 `json:"wall_median_ms"`
	WallMin   float64 `json:"wall_min_ms"`
	WallP90   float64 `json:"wall_p90_ms"`
	CPU       float64 `json:"cpu_median_ms"`
	Peak      int64   `json:"peak_kib"`
}

// target is a ratio of walls that the project set itself.
type target struct {
	What    string  `json:"what"`
	Limit   float64 `json:"limit"`
	Ratio   float64 `json:"ratio,omitempty"`
	CPU     float64 `json:"cpu_ratio,omitempty"`
	Verdict string  `json:"verdict"`

	series, operation, program, base string
}

type report struct {
	Time     string    `json:"time"`
	Kernel   string    `json:"kernel"`
	Machine  string    `json:"machine"`
	Go       string    `json:"go"`
	Rounds   int       `json:"rounds"`
	Taken    int       `json:"measurements"`
	Busy     int       `json:"begun_on_a_busy_machine"`
	Programs []program `json:"programs"`
	Skipped  []string  `json:"skipped"`
	Rows     []row     `json:"rows"`
	Targets  []target  `json:"targets"`
	Seccomp  []string  `json:"seccomp,omitempty"`
}

func newReport(s *settings, programs []program) *report {
	r := &report{
		Time: time.Now().UTC().Format(time.RFC3339), Rounds: s.rounds, Programs: programs, Go: runtime.Version(),
		Machine: fmt.Sprintf("%s, %d processors", runtime.GOARCH, runtime.NumCPU()),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return r
}

// add turns a job's samples into a row.
func (r *report) add(j *job) {
	if len(j.samples) == 0 {
		return
	}
	wall := sorted(j.samples, func(s sample) time.Duration { return s.wall })
	cpu := sorted(j.samples, func(s sample) time.Duration { return s.cpu })
	out := row{
		Series: j.series, Operation: j.operation, Program: j.program,
		Wall: quantile(wall, 0.5), WallMin: wall[0], WallP90: quantile(wall, 0.9), CPU: quantile(cpu, 0.5),
	}
	for _, s := range j.samples {
		out.Peak = max(out.Peak, s.maxrss)
	}
	r.Rows = append(r.Rows, out)
}

// sorted returns one figure of all samples in milliseconds, ascending.
func sorted(samples []sample, figure func(sample) time.Duration) []float64 {
	list := make([]float64, len(samples))
	for i, s := range samples {
		list[i] = float64(figure(s)) / float64(time.Millisecond)
	}
	slices.Sort(list)
	return list
}

// quantile interpolates between the two nearest values of an ascending list.
func quantile(list []float64, q float64) float64 {
	at := q * float64(len(list)-1)
	low := int(math.Floor(at))
	high := int(math.Ceil(at))
	return list[low] + (list[high]-list[low])*(at-float64(low))
}

// targets are those of docs/benchmarks.md.
func targets() []target {
	return []target{
		{Limit: 0.15, series: "cgroups", operation: "run", program: ours, base: debianRunc},
		{Limit: 0.15, series: "cgroups", operation: "create+start+delete", program: ours, base: debianRunc},
		{Limit: 0.20, series: "cgroups", operation: "exec", program: ours, base: debianRunc},
		{Limit: 0.30, series: "none", operation: "run", program: ours, base: debianCrun},
		{Limit: 0.65, series: "none", operation: "run", program: ours, base: otherCrun},
		{Limit: 0.15, series: "unified", operation: "run", program: ours, base: debianRunc},
		{Limit: 0.65, series: "unified", operation: "run", program: ours, base: otherCrun},
		{Limit: 1.50, series: "none", operation: "--version", program: ours, base: emptyGo},
	}
}

// judge compares the rows with the targets. A missing row makes a target "not measured"; nothing fails.
func (r *report) judge() {
	for _, t := range targets() {
		t.What = fmt.Sprintf("%s, %s: %s / %s", t.series, t.operation, t.program, t.base)
		mine, theirs := r.row(t.series, t.operation, t.program), r.row(t.series, t.operation, t.base)
		if t.base == emptyGo {
			theirs = r.row("none", "run", emptyGo)
		}
		switch {
		case mine == nil || theirs == nil:
			t.Verdict = "not measured"
		default:
			t.Ratio, t.CPU = mine.Wall/theirs.Wall, mine.CPU/theirs.CPU
			t.Verdict = "met"
			if t.Ratio > t.Limit {
				t.Verdict = "missed"
			}
		}
		r.Targets = append(r.Targets, t)
	}
}

func (r *report) row(series, operation, program string) *row {
	for i := range r.Rows {
		if c := &r.Rows[i]; c.Series == series && c.Operation == operation && c.Program == program {
			return c
		}
	}
	return nil
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "kernel %s, %s, %s, %d rounds\n", r.Kernel, r.Machine, r.Go, r.Rounds)
	for _, p := range r.Programs {
		if p.Version != "" {
			fmt.Fprintf(w, "%s: %s\n", p.Name, p.Version)
		}
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "series\toperation\tprogram\twall ms\tmin\tp90\tuser+sys ms\tpeak KiB\t")
	for _, c := range r.ordered() {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t\n", c.Series, c.Operation, c.Program, c.Wall, c.WallMin, c.WallP90, c.CPU, c.Peak)
	}
	_ = tw.Flush() // standard output; nobody to tell
	fmt.Fprintf(w, "%d of %d measurements began while something else ran\n", r.Busy, r.Taken)
	for _, s := range r.Skipped {
		fmt.Fprintln(w, "left out:", s)
	}
	for _, t := range r.Targets {
		if t.Ratio == 0 {
			fmt.Fprintf(w, "target %.2f  %s  (%s)\n", t.Limit, t.Verdict, t.What)
			continue
		}
		fmt.Fprintf(w, "target %.2f  %s: wall %.3f, user+sys %.3f  (%s)\n", t.Limit, t.Verdict, t.Ratio, t.CPU, t.What)
	}
	for _, c := range r.ordered() {
		mine := r.row(c.Series, c.Operation, ours)
		if mine == nil || !strings.HasPrefix(c.Program, "runc") && !strings.HasPrefix(c.Program, "crun") {
			continue
		}
		fmt.Fprintf(w, "ratio  wall %.3f, user+sys %.3f  (%s, %s: %s / %s)\n", mine.Wall/c.Wall, mine.CPU/c.CPU, c.Series, c.Operation, ours, c.Program)
	}
	for _, line := range r.Seccomp {
		fmt.Fprintln(w, line)
	}
}

// ordered returns the rows by series as they were run, and then by operation.
func (r *report) ordered() []row {
	rows := slices.Clone(r.Rows)
	rank := func(series string) int {
		return slices.IndexFunc(r.Rows, func(c row) bool { return c.Series == series })
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(rank(a.Series)-rank(b.Series), strings.Compare(a.Operation, b.Operation))
	})
	return rows
}

// save writes the report as JSON.
func (r *report) save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create results directory: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
