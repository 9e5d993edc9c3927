package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

// A payload is the second disk of machines, in the making: the tree, the programs, the compiled tests, and the plans.
type payload struct {
	dir string // what is put on the disk
	tmp string
}

// A suite is the tests of one package, in one machine.
type suite struct {
	pkg     string // as ./test/spec
	run     string // -test.run
	skip    string // -test.skip
	skips   string // regular expression of the tests, and parts of tests, that may skip themselves there
	count   int    // -test.count
	user    string // root or user
	timeout time.Duration
	env     []string
}

// programs are what suites find in BULKHEAD_TEST_BIN, beside those of cmd/.
var programs = []string{"./test/spec/inside", "./test/attack/attacker", "./test/attack/careless", "./bench/runner", "./bench", "./bench/empty", "./bench/calls"}

// newPayload makes the part that all jobs share.
func newPayload(ctx context.Context) (*payload, error) {
	tmp, err := os.MkdirTemp("", "bulkhead-lab-")
	if err != nil {
		return nil, err
	}
	p := &payload{dir: filepath.Join(tmp, "disk"), tmp: tmp}
	if err := p.fill(ctx); err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

func (p *payload) remove() { _ = os.RemoveAll(p.tmp) }

func (p *payload) fill(ctx context.Context) error {
	for _, d := range []string{"bin", "src", ".lab", "tests"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := build(ctx, filepath.Join(p.dir, ".lab", "guest"), "./test/vm/guest"); err != nil {
		return err
	}
	if err := build(ctx, filepath.Join(p.dir, "bin")+"/", append([]string{"./cmd/..."}, programs...)...); err != nil {
		return err
	}
	// The tests of internal/sandbox/cgroup look for the helper beside themselves, as the runtime does.
	const helper = "bulkhead-systemd"
	if err := os.Link(filepath.Join(p.dir, "bin", helper), filepath.Join(p.dir, "tests", helper)); err != nil {
		return err
	}
	return p.tree(ctx)
}

// build compiles without cgo, so that what comes out runs on any Debian. output ends with a slash if it is a directory.
func build(ctx context.Context, output string, pkgs ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", output}, pkgs...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(pkgs, " "), err, out)
	}
	return nil
}

// tree copies the files of the repository: tests read their testdata, and some what stands beside.
func (p *payload) tree(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "ls-files", "-z", "-c", "-o", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(string(out), "\x00") {
		info, err := os.Lstat(name)
		if name == "" || err != nil || !info.Mode().IsRegular() {
			continue // deleted and not committed, or a link
		}
		if err := copyFile(name, filepath.Join(p.dir, "src", name), info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string, mode fs.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, mode|0o444)
}

// conformance is the package whose tests run programs of another module: in BULKHEAD_TEST_BIN/runtimetools, there being no compiler.
const conformance = "./test/conformance"

// validation compiles them, unless that is done.
func (p *payload) validation(ctx context.Context) error {
	output := filepath.Join(p.dir, "bin", "runtimetools")
	if _, err := os.Stat(output); err == nil {
		return nil
	}
	if err := os.Mkdir(output, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-C", conformance+"/runtimetools", "-trimpath", "-ldflags=-s -w", "-o", output+"/", "tool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build runtime-tools: %w\n%s", err, out)
	}
	return nil
}

// tests compiles the tests of a package and returns the job that runs them.
func (p *payload) tests(ctx context.Context, s suite, verbose bool) (wire.Job, error) {
	pkg := "./" + strings.TrimPrefix(path.Clean(s.pkg), "./")
	name := strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "-") + ".test"
	output := filepath.Join(p.dir, "tests", name)
	if _, err := os.Stat(output); err != nil {
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", output, pkg) // as in make unit, which has compiled most of it
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return wire.Job{}, fmt.Errorf("go test -c %s: %w\n%s", pkg, err, out)
		}
		if _, err := os.Stat(output); err != nil {
			return wire.Job{}, fmt.Errorf("%s has no tests", pkg)
		}
	}
	if pkg == conformance {
		if err := p.validation(ctx); err != nil {
			return wire.Job{}, err
		}
	}
	argv := []string{"/bulkhead/tests/" + name, "-test.timeout=" + (s.timeout - 5*time.Second).String()}
	if verbose {
		argv = append(argv, "-test.v")
	}
	if s.run != "" {
		argv = append(argv, "-test.run="+s.run)
	}
	if s.count > 1 {
		argv = append(argv, fmt.Sprint("-test.count=", s.count))
	}
	if s.skip != "" {
		argv = append(argv, "-test.skip="+s.skip)
	}
	user := s.user
	if user == "" {
		user = "root"
	}
	return wire.Job{Name: s.pkg, Argv: argv, Dir: path.Join("/bulkhead/src", pkg), User: user, Timeout: s.timeout, Env: s.env}, nil
}

// plan writes what one machine does, under a name that it is booted with.
func (p *payload) plan(name string, b boot, jobs []wire.Job) error {
	data, err := json.Marshal(wire.Plan{Init: b.init, LSM: b.lsm, Jobs: jobs})
	if err != nil {
		return err
	}
	return os.WriteFile(wire.PlanFile(p.dir, name), data, 0o644)
}

// singlePlan is the name of the plan of a machine that does one thing.
const singlePlan = "single"

// single makes the disk of such a machine.
func (p *payload) single(ctx context.Context, b boot, jobs ...wire.Job) (string, error) {
	if err := p.plan(singlePlan, b, jobs); err != nil {
		return "", err
	}
	return p.disk(ctx)
}

// disk makes the disk, which several machines may read at the same time. Nothing is mounted for it.
func (p *payload) disk(ctx context.Context) (string, error) {
	var bytes int64
	err := filepath.WalkDir(p.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		bytes += (info.Size() + 8191) &^ 4095
		return err
	})
	if err != nil {
		return "", err
	}
	disk := filepath.Join(p.tmp, "disk.img")
	f, err := os.Create(disk)
	if err != nil {
		return "", err
	}
	if err := f.Truncate(bytes + bytes/8 + 256<<20); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-E", "root_owner=0:0", "-d", p.dir, disk).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mke2fs: %w: %s (Debian: e2fsprogs)", err, out)
	}
	return disk, nil
}
