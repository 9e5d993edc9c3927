package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// The tests of this file make real cgroups, in whichever layout the machine has: v1, v2 or hybrid.

var counter atomic.Int64

// liveLayout returns the machine's layout, or skips where no cgroup can be made. With BULKHEAD_TEST_STRICT=1 it fails instead.
func liveLayout(t *testing.T) *Layout {
	t.Helper()
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	reason := ""
	switch {
	case os.Geteuid() != 0:
		reason = "making cgroups needs root"
	case l.Mode == None:
		reason = "no cgroup hierarchy is mounted"
	default:
		name := filepath.Join(l.Hierarchies[0].Mount, fmt.Sprintf("bulkhead-test-probe-%d-%d", os.Getpid(), counter.Add(1)))
		if err := os.Mkdir(name, 0o755); err != nil {
			reason = "cgroups cannot be made here: " + err.Error()
		} else if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if reason != "" && os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
		t.Fatal(reason)
	}
	if reason != "" {
		t.Skip(reason)
	}
	return l
}

// newGroup opens a group with a name of its own and removes it, with all in it, at the end; a trace that is left fails the test.
func newGroup(t *testing.T, l *Layout) *Group {
	t.Helper()
	id := fmt.Sprintf("bulkhead-test-%d-%d", os.Getpid(), counter.Add(1))
	g, err := l.Open("/"+id, id, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if g.Exists() {
			if err := g.Kill(ctx); err != nil {
				t.Errorf("cleanup: %v", err)
			}
		}
		if err := g.Delete(ctx); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		if err := g.Close(); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		for i := range l.Hierarchies {
			if _, err := os.Stat(filepath.Join(l.Hierarchies[i].Mount, id)); !os.IsNotExist(err) {
				t.Errorf("%s: left behind in %s", id, l.Hierarchies[i].Name())
			}
		}
	})
	return g
}

func create(t *testing.T, g *Group, res *specs.LinuxResources) {
	t.Helper()
	if err := g.Create(res); err != nil {
		t.Fatal(err)
	}
}

// start runs a shell script in the group: the shell joins as a container's first process does, by writing "0" into the descriptors of
// ProcsFDs, and by CLONE_INTO_CGROUP.
func start(t *testing.T, g *Group, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "n=3; while [ $n -lt $((3+JOIN)) ]; do echo 0 >/proc/self/fd/$n || exit 99; n=$((n+1)); done; : >\"$READY\"; "+script)
	fds, err := g.ProcsFDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "tasks"))
	}
	ready := filepath.Join(t.TempDir(), "ready")
	cmd.Env = append(os.Environ(), fmt.Sprintf("JOIN=%d", len(fds)), "READY="+ready)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	dirfd, err := g.DirFD()
	if err != nil {
		t.Fatal(err)
	}
	if dirfd >= 0 {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, dirfd
		defer unix.Close(dirfd)
	}
	// A file, not a pipe: Wait would wait for all who have the pipe.
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out.Close()
		if text, err := os.ReadFile(out.Name()); t.Failed() && err == nil && len(text) > 0 {
			t.Logf("output of %q: %s", script, text)
		}
	})
	eventually(t, "the shell has joined", func() bool { _, err := os.Stat(ready); return err == nil })
	return cmd
}

// eventually polls: the processes of a test are real and take their time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 60 s", what)
		}
	}
}

// content reads a control file of the group.
func content(t *testing.T, g *Group, controller, file string) string {
	t.Helper()
	d := g.dirOf(controller)
	if d == nil {
		t.Fatalf("no directory for controller %s", controller)
	}
	raw, err := os.ReadFile(filepath.Join(d.name(), file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// pick chooses by version.
func pick(g *Group, v1, v2 string) string {
	if g.mode == V2 {
		return v2
	}
	return v1
}

func ptr[T any](v T) *T { return &v }

// has reports whether the machine has the controller, in the version that limits use.
func has(l *Layout, controller string) bool {
	for i := range l.Hierarchies {
		h := &l.Hierarchies[i]
		if l.Mode == V2 || h.Unified() && besideV1[controller] {
			raw, err := os.ReadFile(filepath.Join(h.Mount, "cgroup.controllers"))
			return err == nil && strings.Contains(" "+strings.TrimSpace(string(raw))+" ", " "+controller+" ")
		}
		for _, c := range h.Controllers {
			if c == controller {
				return true
			}
		}
	}
	return false
}

// The limits that every machine of ours can set, and how they read back.
func TestLiveLimits(t *testing.T) {
	l := liveLayout(t)
	g := newGroup(t, l)
	create(t, g, &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(50000)), Period: ptr(uint64(200000)), Cpus: "0"},
		Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Reservation: ptr(int64(32 << 20))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(17))},
	})
	checks := []struct{ controller, v1, v1Want, v2, v2Want string }{
		{"cpu", "cpu.shares", "512", "cpu.weight", "59"},
		{"cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 200000"},
		{"cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"},
		{"memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"},
		{"memory", "memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432"},
		{"pids", "pids.max", "17", "pids.max", "17"},
	}
	for _, c := range checks {
		if got, want := content(t, g, c.controller, pick(g, c.v1, c.v2)), pick(g, c.v1Want, c.v2Want); got != want {
			t.Errorf("%s: %q, want %q", pick(g, c.v1, c.v2), got, want)
		}
	}
	if g.mode != V2 && content(t, g, "cpuset", "cpuset.mems") == "" {
		t.Error("cpuset.mems: empty, so that nothing can join")
	}
	if g.mode != V2 {
		if got := content(t, g, "devices", "devices.list"); !strings.Contains(got, "c 1:3 rwm") || strings.Contains(got, "a *:* rwm") {
			t.Errorf("devices.list: %q", got)
		}
	}
}

func TestLiveUpdate(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	memory := func(limit int64) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(limit), Swap: ptr(limit)}, Pids: &specs.LinuxPids{Limit: ptr(limit >> 20)}}
	}
	create(t, g, memory(64<<20))
	// Raising and lowering need different orders of the two memory files of v1.
	for _, mib := range []int64{256, 32, 128} {
		if err := g.Update(memory(mib << 20)); err != nil {
			t.Fatalf("to %d MiB: %v", mib, err)
		}
		if got, want := content(t, g, "memory", pick(g, "memory.limit_in_bytes", "memory.max")), fmt.Sprint(mib<<20); got != want {
			t.Fatalf("memory limit: %s, want %s", got, want)
		}
	}
	// The second limit is impossible, so that the first is put back.
	err := g.Update(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(200 << 20)), Swap: ptr(int64(200 << 20))},
		Rdma:   map[string]specs.LinuxRdma{"none0": {HcaHandles: ptr(uint32(1))}},
	})
	if err == nil {
		t.Fatal("a limit on an RDMA device that is not there: no error")
	}
	if got := content(t, g, "memory", pick(g, "memory.limit_in_bytes", "memory.max")); got != fmt.Sprint(128<<20) {
		t.Errorf("memory limit after an update that failed (%v): %s, want what it was", err, got)
	}
	err = g.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}})
	if got := content(t, g, "memory", pick(g, "memory.limit_in_bytes", "memory.max")); err != nil || got == fmt.Sprint(128<<20) {
		t.Errorf("no limit: %v, %s", err, got)
	}
}

// A script of two nested shells needs two processes: with a limit of one it cannot.
func TestLivePidsLimitHolds(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(1))}})
	cmd := start(t, g, "(exit 0) && exit 7; exit 8")
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() == 7 || exit.ExitCode() == 99 {
		t.Errorf("a fork beyond the limit: %v", err)
	}
}

func TestLiveJoin(t *testing.T) {
	l := liveLayout(t)
	g := newGroup(t, l)
	create(t, g, nil)
	fds, err := g.ProcsFDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds { // any other file costs an RCU grace period
		if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil || filepath.Base(target) != "tasks" {
			t.Errorf("descriptor to join by: %s, %v", target, err)
		}
	}
	closeAll(fds)
	cmd := start(t, g, "sleep 60; exit")
	eventually(t, "the shell is in every hierarchy", func() bool {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
		return err == nil && strings.Count(string(raw), g.dirs[0].path) == len(l.Hierarchies)
	})
	eventually(t, "both processes are listed", func() bool {
		pids, err := g.PIDs(false)
		return err == nil && len(pids) == 2
	})
	again, err := FromRecord(g.Record())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if pids, err := again.PIDs(true); err != nil || len(pids) != 2 {
		t.Errorf("pids by a record: %v, %v", pids, err)
	}
	other, err := l.Open("/"+g.dirs[0].path, "x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Create(nil); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("create over a container that runs: %v", err)
	}
	if pids, err := g.PIDs(false); err != nil || len(pids) != 2 {
		t.Errorf("pids after the refused create: %v, %v", pids, err)
	}
}

func TestLiveFreeze(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, nil)
	file := filepath.Join(t.TempDir(), "ticks")
	start(t, g, "while :; do echo >>"+file+"; done")
	size := func() int64 {
		st, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return st.Size()
	}
	eventually(t, "the loop runs", func() bool { return size() > 10 })
	if err := g.Freeze(context.Background()); err != nil {
		t.Fatal(err)
	}
	if frozen, err := g.Frozen(); err != nil || !frozen {
		t.Errorf("frozen: %v, %v", frozen, err)
	}
	before := size()
	time.Sleep(50 * time.Millisecond)
	if after := size(); after != before {
		t.Errorf("the loop went on while frozen: %d, then %d", before, after)
	}
	if err := g.Thaw(context.Background()); err != nil {
		t.Fatal(err)
	}
	if frozen, err := g.Frozen(); err != nil || frozen {
		t.Errorf("frozen after thawing: %v, %v", frozen, err)
	}
	eventually(t, "the loop goes on", func() bool { return size() > before })
	// What is killed while it is frozen dies, too.
	if err := g.Freeze(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.PIDs(true); err != nil || len(pids) != 0 {
		t.Errorf("after kill: %v, %v", pids, err)
	}
}

func bomb(t *testing.T, g *Group) {
	t.Helper()
	var lit time.Time
	eventually(t, "the bomb goes off", func() bool {
		if time.Since(lit) > 2*time.Second { // it dies of its limit when the machine's init is slow to reap
			start(t, g, "c() { c & }; c; c; c; c; c; c; c; c; c; c; c; c; sleep 60")
			lit = time.Now()
		}
		pids, err := g.PIDs(true)
		return err == nil && len(pids) > 5
	})
}

// TestLiveKillRemoved: a cgroup that somebody removes while its list is open has nobody in it.
func TestLiveKillRemoved(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, nil)
	if pids, err := g.PIDs(true); err != nil || len(pids) > 0 { // the directory is open from here on
		t.Fatal(pids, err)
	}
	for _, d := range g.dirs {
		if !d.absent {
			if err := os.Remove(d.name()); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	if err := g.killEach(context.Background()); err != nil {
		t.Error(err)
	}
	if err := g.Kill(context.Background()); err != nil {
		t.Error(err)
	}
}

// A bomb whose processes end as they fork new ones is what a loop over a list of numbers never catches. The limit is for the orphans that
// wait for the machine's init to reap them.
func TestLiveKillForkBomb(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(1500))}})
	bomb(t, g)
	begin := time.Now()
	if err := g.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed in %v", time.Since(begin))
	if pids, err := g.PIDs(true); err != nil || len(pids) != 0 {
		t.Errorf("after kill: %v, %v", pids, err)
	}
}

// The same where the kernel has no cgroup.kill: with v1 alone, or before Linux 5.14. What is frozen for the list is complete.
func TestLiveKillEach(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(1500))}})
	bomb(t, g)
	if err := g.Freeze(context.Background()); err != nil {
		t.Fatal(err)
	}
	if g.dirOf("freezer") != nil && g.mode != V2 {
		if state := content(t, g, "freezer", "freezer.state"); state != "FROZEN" {
			t.Errorf("freezer.state after Freeze: %s", state)
		}
	}
	first, err := g.PIDs(true)
	time.Sleep(10 * time.Millisecond)
	second, err2 := g.PIDs(true)
	if err != nil || err2 != nil || len(first) == 0 || !slices.Equal(first, second) {
		t.Errorf("a frozen bomb: %v, then %v (%v, %v)", first, second, err, err2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Thaw(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.killEach(ctx); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.PIDs(true); err != nil || len(pids) != 0 {
		t.Errorf("after killing each: %v, %v", pids, err)
	}
}

// The container's own cgroups below its own are listed, killed and removed with it.
func TestLiveSubCgroups(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, nil)
	for _, d := range g.dirs {
		if err := os.MkdirAll(filepath.Join(d.name(), "a/b/c"), 0o755); err != nil {
			t.Fatal(err)
		}
		if d.has("cpuset") {
			for _, sub := range []string{"a", "a/b", "a/b/c"} {
				for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
					if err := os.WriteFile(filepath.Join(d.name(), sub, f), []byte("0"), 0); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	cmd := start(t, g, "exec sleep 60")
	if err := g.AddProcess(cmd.Process.Pid, "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := g.AddProcess(cmd.Process.Pid, "../x"); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("sub-cgroup ../x: %v", err)
	}
	eventually(t, "it moved", func() bool {
		direct, err := g.PIDs(false)
		all, err2 := g.PIDs(true)
		return err == nil && err2 == nil && len(direct) == 0 && len(all) > 0
	})
	if err := g.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(context.Background()); err != nil {
		t.Fatal(err)
	}
	if g.Close(); g.Exists() {
		t.Error("it is still there")
	}
}

func TestLiveCreateUndoes(t *testing.T) {
	l := liveLayout(t)
	g := newGroup(t, l)
	path := g.dirs[0].path
	err := g.Create(&specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3KB", Limit: 1}}})
	if !errdef.Is(err, errdef.Unsupported) || !strings.Contains(err.Error(), "linux.resources.hugepageLimits[0].limit") {
		t.Errorf("limit of a page size that does not exist: %v", err)
	}
	for i := range l.Hierarchies {
		if _, err := os.Stat(filepath.Join(l.Hierarchies[i].Mount, path)); !os.IsNotExist(err) {
			t.Errorf("left behind in %s: %v", l.Hierarchies[i].Name(), err)
		}
	}
}

func TestLiveDeleteRefusesWhileInUse(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, nil)
	start(t, g, "sleep 60")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	eventually(t, "it is in", func() bool { p, err := g.PIDs(false); return err == nil && len(p) > 0 })
	if err := g.Delete(ctx); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("delete with a process in it: %v", err)
	}
}
