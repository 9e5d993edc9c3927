package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cell is a set of namespaces and cgroups in which judges run. Its first process is this test
// binary (stage "hold"), which only reaps; every command enters through another copy of it
// (stage "join").
type cell struct {
	name   string // of the cgroup in every hierarchy
	dir    string // scratch folder, mode 0755, TMPDIR of the commands
	groups []string
	holder *exec.Cmd
	stdin  io.Closer
	mounts map[string]bool // mount points when the cell was ready
}

const (
	stageVar = "BULKHEAD_CONFORMANCE_STAGE"
	cellVar  = "BULKHEAD_CONFORMANCE_CELL"
	ttyVar   = "BULKHEAD_CONFORMANCE_TTY"
)

const cellFlags = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET

// newCell starts a cell and ends it with the test.
func newCell(t *testing.T) *cell {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "the conformance tests need root")
	}
	dir, err := os.MkdirTemp("", "bulkhead-conformance-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cell{name: filepath.Base(dir), dir: dir}
	t.Cleanup(func() { c.end(t) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if c.groups, err = createGroups(c.name); err != nil {
		t.Fatal(err)
	}
	if err := c.start(); err != nil {
		t.Fatalf("start cell: %v", err)
	}
	c.mounts = map[string]bool{}
	for _, m := range c.mountPoints(t) {
		c.mounts[m] = true
	}
	return c
}

// start runs the holder and waits for its word that the cell is ready.
func (c *cell) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c.holder = exec.Command(self)
	c.holder.Env = append(os.Environ(), stageVar+"=hold", cellVar+"="+strings.Join(c.groups, ":"))
	c.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: cellFlags, Setsid: true}
	var complaint strings.Builder
	c.holder.Stderr = &complaint
	if c.stdin, err = c.holder.StdinPipe(); err != nil {
		return err
	}
	ready, err := c.holder.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.holder.Start(); err != nil {
		c.holder = nil
		return err
	}
	word, err := io.ReadAll(ready)
	if err != nil {
		return err
	}
	if string(word) != "ready" {
		return fmt.Errorf("holder: %s", complaint.String())
	}
	return nil
}

// command is exec.CommandContext inside the cell. The program sees TMPDIR inside the cell's folder.
func (c *cell) command(ctx context.Context, argv ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.CommandContext(ctx, self, argv...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), stageVar+"=join", "TMPDIR="+c.dir,
		cellVar+"="+strconv.Itoa(c.holder.Process.Pid)+":"+strings.Join(c.groups, ":"))
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// end kills the cell, removes its cgroups and its folder, and complains about what resists.
func (c *cell) end(t *testing.T) {
	if c.holder != nil && c.holder.Process != nil {
		_ = c.holder.Process.Kill() // an error means that it is gone already
		_ = c.holder.Wait()         // returns when the whole PID namespace is empty; killed is no news
	}
	if err := removeGroups(c.groups); err != nil {
		t.Errorf("cgroups of the cell: %v", err)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		t.Errorf("folder of the cell: %v", err)
	}
	if left := hostMountsUnder(t, c.dir); len(left) > 0 {
		t.Errorf("mounts on the host after the cell ended: %v", left)
	}
}

// leftovers lists what the commands have left in the cell: processes, mounts, cgroups. A process
// that was killed has twenty seconds to go.
func (c *cell) leftovers(t *testing.T) []string {
	t.Helper()
	var left []string
	n := c.processes(t)
	for deadline := time.Now().Add(20 * time.Second); n > 1 && time.Now().Before(deadline); n = c.processes(t) {
		time.Sleep(50 * time.Millisecond)
	}
	if n > 1 {
		left = append(left, "(left processes)")
	}
	for _, m := range c.mountPoints(t) {
		if !c.mounts[m] {
			left = append(left, "(left mounts)")
			break
		}
	}
	if len(c.made()) > 0 {
		left = append(left, "(left cgroups)")
	}
	return left
}

// processes counts those in the cell's PID namespace, zombies apart.
func (c *cell) processes(t *testing.T) int {
	t.Helper()
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", c.holder.Process.Pid))
	if err != nil {
		t.Fatalf("the cell died: %v", err)
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		if got, err := os.Readlink(link); err == nil && got == want {
			n++
		}
	}
	return n
}

// mountPoints are those of the cell, seen from the host.
func (c *cell) mountPoints(t *testing.T) []string {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", c.holder.Process.Pid))
	if err != nil {
		t.Fatalf("the cell died: %v", err)
	}
	return mountPoints(string(table))
}

func mountPoints(mountinfo string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 4 {
			points = append(points, f[4])
		}
	}
	return points
}

func hostMountsUnder(t *testing.T, dir string) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, m := range mountPoints(string(table)) {
		if m == dir || strings.HasPrefix(m, dir+"/") {
			left = append(left, m)
		}
	}
	return left
}

// result of a command in a cell.
type result struct {
	stdout, stderr string
	code           int // -1: killed, timed out or never started
	err            error
}

// run runs argv in the cell for at most a minute.
func (c *cell) run(t *testing.T, argv ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return finish(c.command(ctx, argv...))
}

func finish(cmd *exec.Cmd) result {
	var stdout, stderr strings.Builder
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String(), err: err}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.code = exit.ExitCode()
	} else if err != nil {
		r.code = -1
	}
	return r
}

// must runs argv in the cell and returns its trimmed output; anything but exit code 0 is fatal.
func (c *cell) must(t *testing.T, argv ...string) string {
	t.Helper()
	r := c.run(t, argv...)
	if r.code != 0 {
		t.Fatalf("%s: %v\nstdout: %s\nstderr: %s", strings.Join(argv, " "), r.err, r.stdout, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}
