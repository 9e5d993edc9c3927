// Command bench measures what it costs to start, join and remove a container with bulkhead-runtime and with other programs.
//
//	make bench
//	go run ./bench -n 50
//	CRUN=/opt/crun RUNC=/opt/runc go run ./bench -series none,unified
//
// All programs get the same bundle (package dockerbundle: busybox `true` under Docker's defaults) in one run, interleaved
// A B C A B C, so that a noisy minute hits all of them; figures of different runs should not be compared. Series:
//
//	cgroups   the host's cgroup layout as it is; crun refuses a hybrid one and is then left out, which the table says
//	none      --cgroup-manager=disabled, which runc does not have, and no cgroup mount, in the mount namespace of the next
//	          series (crun asks for the layout all the same); with bubblewrap, and the floor: a bare fork and exec of `true`,
//	          and an empty Go program
//	unified   a mount namespace that shows a cgroup2 tree and nothing else (cgroup v2; on a hybrid host without controllers),
//	          and no device rules
//
// and operations: run; create, start and delete as one measurement; exec of `true` in a container that runs; --version.
//
// How the clock is read stands in the comment of bench/runner. Wall time has median, minimum and 90th percentile; processor
// time is user+sys of the commands and of everything below them, the container included; peak memory is the largest resident
// size that any process of the command had, and cannot be seen below the runner's own (the first line of the table shows it).
// Nothing is subtracted. A benchmark does not fail on time: targets are printed beside what was measured.
//
// Needs root, Linux and busybox-static. Programs that are missing are left out.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/bench/dockerbundle"
	"github.com/bulkhead-engine/bulkhead/test/built"
)

// settings are the command line.
type settings struct {
	rounds, warmup int
	settle         time.Duration
	patience       time.Duration
	series         string
	name           string
	results        string
	page           string
	seccomp        bool
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "n", 30, "measured rounds")
	flag.IntVar(&s.warmup, "warmup", 3, "rounds before that, not counted")
	flag.DurationVar(&s.settle, "settle", 8*time.Millisecond, "pause before each measurement, for the kernel's deferred teardown")
	flag.DurationVar(&s.patience, "patience", 300*time.Millisecond, "how long to wait, before each measurement, for a quiet machine")
	flag.StringVar(&s.series, "series", "cgroups,none,unified", "which series to run")
	flag.StringVar(&s.name, "name", time.Now().UTC().Format("2006-01-02-150405"), "name of the result file, without .json")
	flag.StringVar(&s.results, "results", "bench/results", "directory of result files; empty: write none")
	flag.StringVar(&s.page, "page", "", "also put the figures into this page (docs/benchmarks.md)")
	flag.BoolVar(&s.seccomp, "seccomp", true, "also run the benchmarks of internal/sandbox/seccomp")
	flag.Parse()
	if err := bench(&s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(s *settings) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root: containers with a cgroup and without a user namespace")
	}
	work, err := os.MkdirTemp("/run", "bulkhead-bench-")
	if err != nil {
		return fmt.Errorf("create work directory: %w", err)
	}
	defer os.RemoveAll(work)
	if err := prepare(work); err != nil {
		return err
	}
	programs, err := findPrograms(work)
	if err != nil {
		return err
	}
	report := newReport(s, programs)
	for _, name := range strings.Split(s.series, ",") {
		if err := runSeries(name, work, programs, s, report); err != nil {
			return fmt.Errorf("series %s: %w", name, err)
		}
	}
	report.judge()
	if s.seccomp {
		report.Seccomp = append(filteredCalls(work, programs), seccompBenchmarks()...)
	}
	report.print(os.Stdout)
	if s.page != "" {
		if err := report.writePage(s.page); err != nil {
			return err
		}
	}
	if s.results == "" {
		return nil
	}
	return report.save(filepath.Join(s.results, s.name+".json"))
}

// prepare builds the small programs and, for each series, a bundle with `true` and one with a program that stays.
func prepare(work string) error {
	if err := dockerbundle.Rootfs(filepath.Join(work, "rootfs")); err != nil {
		return err
	}
	for _, series := range []string{"cgroups", "none", "unified"} {
		for name, args := range map[string][]string{"true": {"/bin/true"}, "sleep": {"/bin/sleep", "100000"}} {
			spec := dockerbundle.Spec(args...)
			spec.Root.Path = filepath.Join(work, "rootfs")
			switch series {
			case "none": // crun refuses to mount a hybrid hierarchy
				dockerbundle.WithoutMount(spec, "/sys/fs/cgroup")
			case "unified": // to load a device filter crun raises RLIMIT_MEMLOCK, which needs CAP_SYS_RESOURCE
				spec.Linux.Resources = nil
			}
			if err := dockerbundle.Write(filepath.Join(work, series, name), spec); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"runner", "empty", "calls"} {
		if err := built.Program(filepath.Join(work, name), "./bench/"+name); err != nil {
			return err
		}
	}
	return nil
}
