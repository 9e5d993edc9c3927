package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/machine"
	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

// benchBoots are the machines in which runtimes are compared, and the series of bench there: the machines have cgroup v2 alone, so that the series
// "unified" would be "cgroups" again.
var benchBoots = []struct {
	boot
	series string
}{
	{boot{"stable", "none", "small"}, "cgroups,none"},
	{boot{"stable", "apparmor", "small"}, "cgroups"},
	{boot{"newer", "none", "small"}, "cgroups"},
}

// runBench is `lab bench`: the program of bench/ with the image's runc and crun, in one machine after the other.
func runBench(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("lab bench", flag.ExitOnError)
	rounds := flags.Int("n", 4, "rounds of each comparison, which take some ten seconds")
	only := flags.String("only", "", "KERNEL/LSM/INIT, instead of all")
	_ = flags.Parse(args)
	p, err := newPayload(ctx)
	if err != nil {
		return 1, err
	}
	defer p.remove()
	for _, b := range benchBoots {
		if *only != "" && *only != b.String() {
			continue
		}
		job := wire.Job{
			Name: "bench", Dir: "/bulkhead/src", User: "root", Timeout: 5*time.Minute + time.Duration(*rounds)*time.Minute, Env: b.environment(),
			Argv: []string{"/bulkhead/bin/bench", "-n", fmt.Sprint(*rounds), "-warmup", "1", "-series", b.series, "-results="},
		}
		disk, err := p.single(ctx, b.boot, job)
		if err != nil {
			return 1, err
		}
		fmt.Printf("\n## %s\n\n", strings.ReplaceAll(b.String(), "/", ", "))
		code := 0
		c := machine.Config{Output: func(_ int, data []byte) { _, _ = os.Stdout.Write(data) }, Ended: func(_ int, e wire.Ended) { code = e.Code }}
		if _, err := b.start(ctx, disk, singlePlan, []wire.Job{job}, c); err != nil {
			return 1, err
		}
		if code != 0 {
			return 1, fmt.Errorf("bench in %s: exit status %d", b.boot, code)
		}
	}
	return 0, nil
}
