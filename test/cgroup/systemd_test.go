package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func itoa(n int) string { return strconv.Itoa(n) }

// systemctl calls it and returns what it prints.
func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// reload makes systemd write again what it knows of every unit.
func reload(t *testing.T) {
	t.Helper()
	systemctl(t, "daemon-reload")
}

// systemdVersion is 0 without systemd.
func systemdVersion(t *testing.T) int {
	t.Helper()
	if !systemd {
		return 0
	}
	f := strings.Fields(systemctl(t, "--version"))
	n, err := strconv.Atoi(f[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// unit is the name of the container's scope.
func (b *box) unit() string { return "bh-" + b.id + ".scope" }

// gone waits until systemd knows nothing of the unit.
func gone(t *testing.T, unit string) {
	t.Helper()
	var out []byte
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		out, _ = exec.Command("systemctl", "show", "-p", "LoadState,ActiveState", "--value", unit).CombinedOutput()
		if strings.Contains(string(out), "not-found") && strings.Contains(string(out), "inactive") {
			return
		}
		if time.Now().After(deadline) {
			break
		}
	}
	show, _ := exec.Command("systemctl", "show", "-p", "ActiveState,SubState,Result,Job", unit).CombinedOutput()
	journal, _ := exec.Command("journalctl", "--no-pager", "-n", "10", "-u", unit).CombinedOutput()
	t.Fatalf("waited in vain: %s is gone: %s\n%s", unit, show, journal)
}

// needSystemd skips on a machine of another init system.
func needSystemd(t *testing.T) {
	t.Helper()
	if !systemd {
		t.Skip("PID 1 is not systemd")
	}
}

// TestScope: what systemd says of the scope is what the configuration asks for, and what an update changes goes through it.
func TestScope(t *testing.T) {
	needSystemd(t)
	b := newBox(t, units, "sleep")
	b.spec.Linux.CgroupsPath = "bhtest-a.slice:bh:" + b.id
	b.res.Memory = &specs.LinuxMemory{Limit: ptr(int64(64 * mib)), Swap: ptr(int64(96 * mib)), Reservation: ptr(int64(32 * mib))}
	b.res.CPU = &specs.LinuxCPU{Shares: ptr(uint64(2048)), Quota: ptr(int64(25_000)), Period: ptr(uint64(50_000)), Cpus: "1"}
	b.res.Pids = &specs.LinuxPids{Limit: ptr(int64(66))}
	b.spec.Annotations = map[string]string{"org.systemd.property.TimeoutStopSec": "uint64 33"}
	b.up()
	properties := func(want string) {
		t.Helper()
		pairs := strings.Fields(want)
		var names []string
		for _, pair := range pairs {
			name, _, _ := strings.Cut(pair, "=")
			names = append(names, name)
		}
		got := strings.Split(systemctl(t, "show", "-p", strings.Join(names, ","), b.unit()), "\n")
		for _, pair := range pairs {
			if !slices.Contains(got, pair) {
				t.Errorf("want %s in %q", pair, got)
			}
		}
	}
	properties("Slice=bhtest-a.slice Delegate=yes MemoryMax=67108864 MemorySwapMax=33554432 MemoryLow=33554432 CPUWeight=174 " +
		"CPUQuotaPerSecUSec=500ms CPUQuotaPeriodUSec=50ms TasksMax=66 AllowedCPUs=1 DevicePolicy=strict CollectMode=inactive-or-failed TimeoutStopUSec=33s OOMPolicy=continue")
	if got := lastDir(b.pid, ""); got != "/sys/fs/cgroup/bhtest.slice/bhtest-a.slice/"+b.unit() {
		t.Errorf("its cgroup is %s", got)
	}
	if out := systemctl(t, "show", "-p", "DeviceAllow", "--value", b.unit()); !strings.Contains(out, "/dev/char/1:3 rwm") || strings.Contains(out, "1:11") {
		t.Errorf("DeviceAllow: %s", out)
	}
	r := b.update(&specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(80 * mib)), Swap: ptr(int64(-1))}, Pids: &specs.LinuxPids{Limit: ptr(int64(-1))},
		CPU: &specs.LinuxCPU{Quota: ptr(int64(-1)), Shares: ptr(uint64(1024)), Cpus: "0-1"},
	})
	if r.code != 0 {
		t.Fatal(r.err)
	}
	properties("MemoryMax=83886080 MemorySwapMax=infinity CPUQuotaPerSecUSec=infinity TasksMax=infinity CPUWeight=100 AllowedCPUs=0-1")
	reload(t)
	for file, want := range map[string]string{"memory.max": "83886080", "memory.swap.max": "max", "pids.max": "max", "cpu.weight": "100", "cpuset.cpus": "0-1"} {
		if got := b.value(file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	b.ok("delete", "--force", b.id)
	gone(t, b.unit())
	if exists(lastDir(b.pid, "")) && lastDir(b.pid, "") != "/sys/fs/cgroup" {
		t.Error("the cgroup is left")
	}
	systemctl(t, "stop", "bhtest-a.slice", "bhtest.slice")
}

// TestUnitOfWrongName: what is no unit is refused before systemd is asked, and what systemd refuses is said in its words.
func TestUnitOfWrongName(t *testing.T) {
	needSystemd(t)
	for path, word := range map[string]string{"/a/b": "slice:prefix:name", "a:b:c": "slice", "system.slice:bh:a/b": "character", "x.slice:": "slice:prefix:name"} {
		b := newBox(t, units, "sleep")
		b.spec.Linux.CgroupsPath = path
		b.refused("linux.cgroupsPath", word)
	}
	b := newBox(t, units, "sleep")
	b.spec.Annotations = map[string]string{"org.systemd.property.NoSuchThing": "'x'"}
	b.refused("NoSuchThing", b.unit())
	gone(t, b.unit())
	c := newBox(t, units, "sleep")
	c.up()
	d := newBox(t, units, "sleep")
	d.spec.Linux.CgroupsPath = c.spec.Linux.CgroupsPath
	d.write()
	if r := d.call("run", "--detach", "--bundle", d.dir, d.id); r.code == 0 || !strings.Contains(r.err, c.unit()) {
		t.Errorf("a second container in a unit: exit status %d: %s", r.code, r.err)
	}
	if s := c.state(); s.Status != specs.StateRunning {
		t.Errorf("the first is %s", s.Status)
	}
}

// TestUnitAfterDeath: the unit goes when the runtime, or its helper, is killed in the middle, or the container by itself.
func TestUnitAfterDeath(t *testing.T) {
	needSystemd(t)
	for _, victim := range []string{"runtime", "helper"} {
		b := newBox(t, units, "sleep")
		// A hook that sleeps holds the create where the scope, with the helper's process in it, is there and the container is not.
		b.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "3"}}}}
		b.write()
		cmd := b.start("run", "--detach", "--bundle", b.dir, b.id)
		eventually(t, "the scope is there", func() bool {
			return exists("/sys/fs/cgroup/system.slice/" + b.unit() + "/cgroup.procs")
		})
		if victim == "runtime" {
			b.must(cmd.Process.Kill())
			eventually(t, "the runtime is dead", func() bool { return !running(cmd.Process.Pid) })
			b.ok("delete", "--force", b.id) // what a killed create left is removed by the next command
		} else {
			for _, pid := range childrenOf(cmd.Process.Pid, "bulkhead-systemd") {
				b.must(syscall.Kill(pid, syscall.SIGKILL))
			}
			eventually(t, "the runtime ends", func() bool { return !running(cmd.Process.Pid) })
			b.call("delete", "--force", b.id)
		}
		gone(t, b.unit())
	}
	b := newBox(t, units, "sleep")
	b.up()
	b.ok("kill", b.id, "KILL")
	b.await(specs.StateStopped)
	gone(t, b.unit())
	b.ok("delete", b.id)
}

// childrenOf lists the children of a process that run that program.
func childrenOf(pid int, program string) (list []int) {
	data, _ := os.ReadFile("/proc/" + itoa(pid) + "/task/" + itoa(pid) + "/children")
	tasks, _ := filepath.Glob("/proc/" + itoa(pid) + "/task/*/children")
	for _, task := range tasks {
		more, _ := os.ReadFile(task)
		data = append(append(data, ' '), more...)
	}
	for _, f := range strings.Fields(string(data)) {
		child, _ := strconv.Atoi(f)
		if exe, _ := os.Readlink("/proc/" + f + "/exe"); filepath.Base(exe) == program && !slices.Contains(list, child) {
			list = append(list, child)
		}
	}
	return list
}
