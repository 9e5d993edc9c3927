// Command lab runs this project's tests in virtual machines that have what a development machine often lacks: AppArmor, SELinux, all of cgroup
// version 2, systemd as PID 1, other kernels. See CONTRIBUTING.md; make has targets for all of this.
//
//	lab image                                        build the image, if it is not there
//	lab run -pkg ./internal/sandbox/cgroup -run OOM  compile a package's tests here, run them there
//	lab run -lsm apparmor -cmd 'aa-status'           a shell command instead
//	lab matrix                                       every suite in every machine that is made for it, some at the same time
//	lab bench                                        runc and crun beside ours
//
// What runs inside sees the tree at /bulkhead/src, the programs at /bulkhead/bin, and in its environment BULKHEAD_TEST_VM=1, BULKHEAD_TEST_STRICT=1,
// BULKHEAD_TEST_BIN, BULKHEAD_TEST_LSM (none, apparmor, selinux), BULKHEAD_TEST_INIT (small, systemd). There is no Go toolchain inside.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/image"
	"github.com/bulkhead-engine/bulkhead/test/vm/machine"
	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		code = 1
	}
	os.Exit(code)
}

func run(ctx context.Context, args []string) (int, error) {
	if len(args) == 0 {
		return 2, errors.New("usage: lab image|run|matrix|bench [flags]")
	}
	switch args[0] {
	case "image":
		return buildImage(ctx, args[1:])
	case "run":
		return runOne(ctx, args[1:])
	case "matrix":
		return runMatrix(ctx, args[1:])
	case "bench":
		return runBench(ctx, args[1:])
	}
	return 2, fmt.Errorf("%s: no such command", args[0])
}

func buildImage(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("lab image", flag.ExitOnError)
	refresh := flags.Bool("refresh", false, "build even if there is one: newer packages and kernels")
	_ = flags.Parse(args)
	img, err := image.Ensure(ctx, image.Options{Refresh: *refresh, Log: os.Stderr})
	if err != nil {
		return 1, err
	}
	fmt.Println(img.Disk)
	for _, k := range img.Kernels {
		fmt.Printf("%-10s %s (%s)\n", k.Name, k.Version, k.Suite)
	}
	return 0, nil
}

// A boot is a kind of machine.
type boot struct {
	kernel, lsm, init string
}

func (b boot) String() string { return b.kernel + "/" + b.lsm + "/" + b.init }

func ensureImage(ctx context.Context) (*image.Image, error) {
	return image.Ensure(ctx, image.Options{Log: os.Stderr})
}

// start boots a machine with a payload, carries out a plan of its, which has these jobs, and hands on what they print and how they end.
func (b boot) start(ctx context.Context, disk, plan string, jobs []wire.Job, c machine.Config) (*machine.Result, error) {
	img, err := ensureImage(ctx)
	if err != nil {
		return nil, err
	}
	k, err := img.Kernel(b.kernel)
	if err != nil {
		return nil, err
	}
	c.Kernel, c.Root, c.Payload, c.LSM, c.Init, c.Name = k.Path, img.Disk, disk, b.lsm, b.init, plan
	c.Plan = &wire.Plan{Init: b.init, LSM: b.lsm, Jobs: jobs}
	if b.init == "systemd" {
		c.Boot = 4 * time.Minute
	}
	if c.Total == 0 {
		c.Total = 5 * time.Minute // for boots
		for _, j := range jobs {
			c.Total += j.Timeout
		}
	}
	return machine.Run(ctx, &c)
}

// runOne is `lab run`.
func runOne(ctx context.Context, args []string) (int, error) {
	flags := flag.NewFlagSet("lab run", flag.ExitOnError)
	var (
		b       boot
		pkg     = flags.String("pkg", "", "package whose tests run, as ./internal/sandbox/cgroup")
		pattern = flags.String("run", "", "tests to run (go test -run)")
		shell   = flags.String("cmd", "", "shell command to run instead")
		times   = flags.Int("count", 1, "how often each test runs (go test -count)")
		as      = flags.String("as", "root", "root or user")
		verbose = flags.Bool("v", false, "tests with -v")
		console = flags.Bool("console", false, "show the kernel's console")
		results = flags.String("results", "", "directory for what is left in $BULKHEAD_TEST_RESULTS")
		timeout = flags.Duration("timeout", 5*time.Minute, "of the command")
	)
	flags.StringVar(&b.kernel, "kernel", "stable", "stable, newer or oldstable")
	flags.StringVar(&b.lsm, "lsm", "none", "none, apparmor or selinux")
	flags.StringVar(&b.init, "init", "small", "small or systemd")
	_ = flags.Parse(args)
	if (*pkg == "") == (*shell == "") {
		return 2, errors.New("run: give -pkg or -cmd")
	}
	p, err := newPayload(ctx)
	if err != nil {
		return 1, err
	}
	defer p.remove()
	job := wire.Job{Name: *shell, Argv: []string{"/bin/bash", "-c", *shell}, Dir: "/bulkhead", User: *as, Timeout: *timeout}
	if *pkg != "" {
		if job, err = p.tests(ctx, suite{pkg: *pkg, run: *pattern, user: *as, timeout: *timeout, count: *times}, *verbose || *pattern != ""); err != nil {
			return 1, err
		}
	}
	job.Env = append(job.Env, b.environment()...)
	disk, err := p.single(ctx, b, job)
	if err != nil {
		return 1, err
	}
	var ended wire.Ended
	c := machine.Config{Console: *console, Results: *results, Ended: func(_ int, e wire.Ended) { ended = e }}
	var output bytes.Buffer
	c.Output = func(_ int, data []byte) {
		_, _ = os.Stdout.Write(data)
		output.Write(data)
	}
	result, err := b.start(ctx, disk, singlePlan, []wire.Job{job}, c)
	if err != nil {
		return 1, err
	}
	return b.conclude(result, ended, *pkg != "" && bytes.Contains(output.Bytes(), []byte("testing: warning: no tests to run")))
}

// conclude says how a run ended and returns its exit status. A run of no test has failed.
func (b boot) conclude(result *machine.Result, ended wire.Ended, empty bool) (int, error) {
	for _, line := range result.Oops {
		fmt.Fprintln(os.Stderr, "lab: the kernel complains:", line)
	}
	if ended.Reason != "" {
		fmt.Fprintln(os.Stderr, "lab:", ended.Reason)
	}
	fmt.Fprintf(os.Stderr, "lab: %s: boot %.1f s, command %.1f s, processor time %.1f s, exit status %d\n", b, result.Booted.Seconds(), ended.Elapsed.Seconds(),
		result.CPU.Seconds(), ended.Code)
	switch {
	case ended.Code < 0:
		return 1, nil
	case ended.Code == 0 && empty:
		return 1, errors.New("no test has such a name")
	}
	return ended.Code, nil
}

// environment is what tests look at to know where they are.
func (b boot) environment() []string {
	return []string{
		"BULKHEAD_TEST_VM=1", "BULKHEAD_TEST_STRICT=1", "BULKHEAD_TEST_BIN=/bulkhead/bin", "BULKHEAD_TEST_LSM=" + b.lsm, "BULKHEAD_TEST_INIT=" + b.init,
		"BULKHEAD_TEST_KERNEL=" + b.kernel, "TMPDIR=/var/tmp", // on the disk
	}
}

// short is the end of a package's path, for people.
func short(pkg string) string { return strings.TrimPrefix(strings.TrimPrefix(pkg, "./"), "internal/") }
