package cgroup

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func lines(props []property) string {
	var out []string
	for _, p := range props {
		out = append(out, p.line())
	}
	return strings.Join(out, "\n")
}

func TestUnitProperties(t *testing.T) {
	const v2 = `prop=231:MemoryMax:t:1048576
prop=231:MemoryLow:t:524288
prop=232:MemorySwapMax:t:2097152
prop=227:TasksMax:t:1
prop=232:CPUWeight:t:174
prop=242:CPUQuotaPeriodUSec:t:50000
prop=0:CPUQuotaPerSecUSec:t:400000
prop=244:AllowedCPUs:ay:03
prop=244:AllowedMemoryNodes:ay:01
prop=230:IOWeight:t:4950`
	const v1 = `prop=0:MemoryLimit:t:1048576
prop=227:TasksMax:t:1
prop=0:CPUShares:t:2048
prop=242:CPUQuotaPeriodUSec:t:50000
prop=0:CPUQuotaPerSecUSec:t:400000
prop=244:AllowedCPUs:ay:03
prop=244:AllowedMemoryNodes:ay:01
prop=0:BlockIOWeight:t:500`
	for mode, want := range map[Mode]string{V1: v1, V2: v2} {
		props, err := unitProperties(mode, full(), nil)
		if got := lines(props); err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant:\n%s", mode, err, got, want)
		}
	}
	const strict = "prop=0:DevicePolicy:s:strict\nprop=0:DeviceAllow:a(ss):\nprop=0:DeviceAllow:a(ss):"
	const rest = "/dev/char/1:3 rwm,/dev/char/1:5 rwm,/dev/char/1:7 rwm,/dev/char/1:8 rwm,/dev/char/1:9 rwm,/dev/char/5:0 rwm,/dev/char/5:2 rwm,block-* m,char-* m,char-pts rwm"
	const open = "prop=0:DevicePolicy:s:auto\nprop=0:DeviceAllow:a(ss):"
	for list, want := range map[string]string{"none": strict + rest, "one disk": strict + "/dev/block/8:0 r," + rest, "privileged": open, "hole": open} {
		f, err := newFilter(deviceLists[list])
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(deviceProperties(f)); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", list, got, want)
		}
	}
}

func TestAnnotate(t *testing.T) {
	g := &Group{unit: unit{name: "a.scope"}}
	err := g.Annotate(map[string]string{"org.systemd.property.KillMode": "'mixed'", "other": "x", "org.systemd.property.CollectMode": "'y'"})
	if got := fmt.Sprint(g.unit.variants); err != nil || got != "[CollectMode='y' KillMode='mixed']" {
		t.Errorf("%s, %v", got, err)
	}
	for key, val := range map[string]string{"org.systemd.property.A B": "1", "org.systemd.property.": "1", "org.systemd.property.Kill": "1\nop=stop"} {
		if err := g.Annotate(map[string]string{key: val}); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// The whole way through the helper, on a machine that runs systemd, with the helper program beside the test's.
func TestLiveUnit(t *testing.T) {
	l := liveLayout(t)
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		t.Skip("systemd is not the machine's init system")
	}
	needHelper(t)
	id := fmt.Sprintf("test-%d-%d", os.Getpid(), counter.Add(1))
	g, err := l.Open("bulkhead-test.slice:bulkhead:"+id, id, Options{Systemd: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Delete(context.Background()); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		if err := g.Close(); err != nil {
			t.Errorf("cleanup: %v", err)
		}
	})
	if err := g.Annotate(map[string]string{"org.systemd.property.Description": "'a test'"}); err != nil {
		t.Fatal(err)
	}
	create(t, g, &specs.LinuxResources{
		CPU: &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(55500))}, Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))},
		Pids: &specs.LinuxPids{Limit: ptr(int64(1))},
	})
	cmd := start(t, g, "exec sleep 60")
	if g.mode == V2 && content(t, g, "pids", "pids.max") != fmt.Sprint(1+holderTasks) {
		t.Errorf("pids.max before Release: %s", content(t, g, "pids", "pids.max"))
	}
	if err := g.Release(); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.PIDs(true); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("pids: %v, %v, want %d alone", pids, err, cmd.Process.Pid)
	}
	for file, want := range map[string]string{"cpu.weight": "59", "memory.max": "67108864", "pids.max": "1"} {
		if controller, _, _ := strings.Cut(file, "."); g.mode == V2 && content(t, g, controller, file) != want {
			t.Errorf("%s: %s, want %s", file, content(t, g, controller, file), want)
		}
	}
	again, err := FromRecord(g.Record())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(128 << 20))}, Pids: &specs.LinuxPids{Limit: ptr(int64(50))}}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, g, "memory", pick(g, "memory.limit_in_bytes", "memory.max")); got != fmt.Sprint(128<<20) {
		t.Errorf("memory limit after update: %s", got)
	}
	if canOpen(t, g, 11) {
		t.Error("kmsg, which is not allowed: can be opened")
	}
	other, err := l.Open("bulkhead-test.slice:bulkhead:"+id, id, Options{Systemd: true})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Create(nil); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("create over a unit that runs: %v", err)
	}
	if pids, err := g.PIDs(true); err != nil || len(pids) != 1 {
		t.Errorf("pids after the refused create: %v, %v", pids, err)
	}
	if err := again.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := again.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the unit's cgroup is gone", func() bool { _, err := os.Stat(g.dirs[0].name()); return os.IsNotExist(err) })
}

func needHelper(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(self), helperName)); err != nil {
		t.Skip("the helper program is not beside the test's")
	}
}

// A user's systemd: run as that user, with XDG_RUNTIME_DIR set.
func TestLiveUserUnit(t *testing.T) {
	if _, err := os.Stat(os.Getenv("XDG_RUNTIME_DIR") + "/systemd/private"); os.Geteuid() == 0 || err != nil {
		t.Skip("the test is for a user with a systemd of their own")
	}
	needHelper(t)
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("test-%d-%d", os.Getpid(), counter.Add(1))
	g, err := l.Open("", id, Options{Systemd: true, Rootless: true})
	if l.Mode != V2 {
		if !errdef.Is(err, errdef.Unsupported) {
			t.Errorf("a user's manager without the unified hierarchy: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Delete(context.Background()); err != nil {
			t.Errorf("cleanup: %v", err)
		}
		g.Close()
	})
	create(t, g, &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20))}, Pids: &specs.LinuxPids{Limit: ptr(int64(30))}})
	if !g.JoinsByParent() {
		t.Fatal("the container's process would have to join by itself")
	}
	if fd, err := g.DirFD(); fd != -1 || err != nil {
		t.Errorf("a descriptor to join by: %d, %v", fd, err)
	}
	cmd := exec.Command("/bin/sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := g.AddProcess(cmd.Process.Pid, ""); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.PIDs(true); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("pids: %v, %v", pids, err)
	}
	if memory, pids := content(t, g, "memory", "memory.max"), content(t, g, "pids", "pids.max"); memory != "67108864" || pids != "30" {
		t.Errorf("limits: memory %s, pids %s", memory, pids)
	}
	if err := g.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
}
