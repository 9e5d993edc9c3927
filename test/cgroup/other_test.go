package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestHugepages: no more pages than the limit, on v1, v2 and hybrid hosts. The machine's pool has more.
func TestHugepages(t *testing.T) {
	const pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
	before, err := os.ReadFile(pool)
	if err != nil {
		t.Skip("no huge pages of 2 MiB")
	}
	if !lab {
		t.Skip("huge pages are set aside in the lab only")
	}
	if err := os.WriteFile(pool, []byte("8"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(pool, before, 0); err != nil {
			t.Error(err)
		}
	})
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "huge", "4")
		b.res.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 * mib}}
		if out := b.run().out; out != "huge 2 true\n" {
			t.Errorf("at most two pages: %q", out)
		}
		b.res.HugepageLimits[0].Limit = 16 * mib
		if out := b.run().out; out != "huge 4 all\n" {
			t.Errorf("at most eight pages: %q", out)
		}
		c := newBox(t, d, "sleep")
		c.res.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 4 * mib}}
		c.refused("linux.resources.hugepageLimits[0]", "hugetlb.3MB")
	})
}

// TestDevicesElsewhere: limits of devices that are not there are refused by name.
func TestDevicesElsewhere(t *testing.T) {
	if !unified {
		t.Skip("rdma and misc are v2's")
	}
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.res.Rdma = map[string]specs.LinuxRdma{"mlx5_9": {HcaHandles: ptr(uint32(1))}}
		b.refused(`linux.resources.rdma["mlx5_9"]`)
		c := newBox(t, d, "sleep")
		c.res.Unified = map[string]string{"misc.max": "sev_none 1"}
		c.refused(`linux.resources.unified["misc.max"]`, "sev_none")
	})
}

// TestUnified: every line of the map is written, and what is wrong is refused by name.
func TestUnified(t *testing.T) {
	if !unified {
		b := newBox(t, files, "sleep")
		b.res.Unified = map[string]string{"memory.high": "1000000"}
		b.refused("linux.resources.unified")
		return
	}
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.res.Unified = map[string]string{
			"memory.max": "96M", "memory.high": "83886080", "memory.low": "33554432", "memory.min": "16777216", "memory.swap.max": "1048576",
			"memory.oom.group": "1", "cpu.weight": "77", "cpu.max": "30000 100000", "cpuset.cpus": "1", "cpuset.mems": "0", "pids.max": "55",
			"hugetlb.2MB.max": "2097152", "cgroup.max.depth": "3", "cgroup.max.descendants": "7", "io.weight": "default 50",
		}
		b.up()
		version := systemdVersion(t)
		check := func(when string) {
			t.Helper()
			for file, want := range b.res.Unified {
				if file == "memory.max" {
					want = "100663296"
				}
				if got := b.value(file); got != want {
					t.Errorf("%s: %s is %q, want %q", when, file, got, want)
				}
			}
		}
		check("at the start")
		if d == units {
			reload(t)
			if version < 253 { // has no OOMPolicy for scopes, and writes 0
				delete(b.res.Unified, "memory.oom.group")
			}
			check("after a reload of systemd")
		}
		more := map[string]string{"memory.high": "max", "cpu.weight": "123", "cpu.max": "max 100000", "pids.max": "max", "cpuset.cpus": "0-1"}
		if r := b.update(&specs.LinuxResources{Unified: more}); r.code != 0 {
			t.Fatal(r.err)
		}
		for file, val := range more {
			b.res.Unified[file] = val
		}
		check("after an update")
		if d == units {
			reload(t)
			check("after an update and a reload of systemd")
		}
		for key, value := range map[string]string{
			"memory": "1", "memory.": "1", ".max": "1", "memory/max": "1", "memory.nonesuch": "1", "nonesuch.max": "1", "cpu.stat": "1", "cgroup.procs": "1",
			"cgroup.kill": "1", "cgroup.freeze": "1", "cgroup.subtree_control": "+cpu", "../x.y": "1", "memory.max": "much", "cpu.weight": "0",
			"io.max": "9999:1 rbps=1", "pids.max": "-5", "cpuset.cpus": "77", "cpu.max": "1", "memory.high": "1\x00",
		} {
			c := newBox(t, d, "sleep")
			c.res.Unified = map[string]string{key: value}
			c.refused("linux.resources.unified[" + strconv.Quote(key) + "]")
		}
	})
}

// TestRollback: an update of several values of which one is refused changes nothing, not even what systemd would write at its next reload.
func TestRollback(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.res.CPU = &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(40_000)), Period: ptr(uint64(100_000)), Cpus: "0"}
		b.res.Memory = memory(64 * mib)
		b.res.Pids = &specs.LinuxPids{Limit: ptr(int64(70))}
		b.up()
		watched := [][]string{
			{"cpu.max", "cpu.cfs_quota_us"}, {"cpu.weight", "cpu.shares"}, {"cpuset.cpus"}, {"memory.max", "memory.limit_in_bytes"}, {"pids.max"},
		}
		all := func() string {
			var out []string
			for _, names := range watched {
				out = append(out, names[0]+" "+b.value(names...))
			}
			return strings.Join(out, "\n")
		}
		before := all()
		none := specs.LinuxThrottleDevice{Rate: 5}
		none.Major, none.Minor = 4094, 7
		changes := func() *specs.LinuxResources {
			return &specs.LinuxResources{
				CPU:    &specs.LinuxCPU{Shares: ptr(uint64(2048)), Quota: ptr(int64(70_000)), Period: ptr(uint64(100_000)), Cpus: "0-1"},
				Memory: memory(128 * mib), Pids: &specs.LinuxPids{Limit: ptr(int64(90))},
			}
		}
		for name, spoil := range map[string]func(*specs.LinuxResources){
			"blockIO.throttleReadBpsDevice[0]": func(r *specs.LinuxResources) {
				r.BlockIO = &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{none}}
			},
			"hugepageLimits[0]": func(r *specs.LinuxResources) {
				r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1 << 21}}
			},
			"cpu.cpus":   func(r *specs.LinuxResources) { r.CPU.Cpus = "900" },
			"cpu.period": func(r *specs.LinuxResources) { r.CPU.Period = ptr(uint64(3)) },
		} {
			res := changes()
			spoil(res)
			r := b.update(res)
			if r.code == 0 {
				t.Errorf("%s: accepted", name)
			}
			if !strings.Contains(r.err, name) && name != "cpu.period" {
				t.Errorf("%s: not named: %s", name, r.err)
			}
			if strings.Contains(r.err, "not put back") {
				t.Error(r.err)
			}
			if d == units {
				reload(t)
			}
			if after := all(); after != before {
				t.Errorf("%s: after the refused update:\n%s\nbefore:\n%s", name, after, before)
			}
		}
		if r := b.update(changes()); r.code != 0 || all() == before {
			t.Errorf("the update without the wrong value: %s", r.err)
		}
	})
}

// TestPlaces: where a cgroupsPath leads, and where it may not.
func TestPlaces(t *testing.T) {
	parentGroup(t, "pids", "p")
	at := func(path string) string {
		t.Helper()
		b := newBox(t, files, "sleep")
		b.spec.Linux.CgroupsPath = path
		b.up()
		defer b.ok("delete", "--force", b.id)
		return lastDir(b.pid, "pids")
	}
	if got := at("/" + prefix + "p/abs"); !strings.HasSuffix(got, "/"+prefix+"p/abs") {
		t.Errorf("absolute: %s", got)
	}
	own := lastDir(os.Getpid(), "pids")
	if unified {
		own = filepath.Dir(own + "/x")
		if own != "/sys/fs/cgroup" {
			own = filepath.Dir(own)
		}
	}
	if got := at(prefix + "rel"); got != filepath.Join(own, prefix+"rel") {
		t.Errorf("relative: %s, and the runtime's own cgroup stands for %s", got, own)
	}
	for _, path := range []string{"/../" + prefix + "up", "../" + prefix + "up", "/" + prefix + "p/../../x", "/", "//x", "/" + prefix + "p/cgroup.x", "a\nb"} {
		b := newBox(t, files, "sleep")
		b.spec.Linux.CgroupsPath = path
		b.refused("linux.cgroupsPath")
	}
	// there already, with somebody in it
	b := newBox(t, files, "sleep")
	b.spec.Linux.CgroupsPath = "/" + prefix + "p/shared"
	b.up()
	c := newBox(t, files, "sleep")
	c.spec.Linux.CgroupsPath = b.spec.Linux.CgroupsPath
	c.refused("is not empty")
	if b.state().Status != specs.StateRunning {
		t.Error("the one who was there first is gone")
	}
	// below one that has processes of its own, which v2 has no limits for
	d := newBox(t, files, "sleep")
	d.spec.Linux.CgroupsPath = b.spec.Linux.CgroupsPath + "/below"
	d.res.Pids = &specs.LinuxPids{Limit: ptr(int64(20))}
	if unified {
		d.refused("the parent cgroup has processes of its own")
	} else {
		d.up()
		d.ok("delete", "--force", d.id)
	}
}

// TestThreaded: no process can be born below a threaded cgroup, and that is said.
func TestThreaded(t *testing.T) {
	if !unified {
		t.Skip("v2 only")
	}
	dir := parentGroup(t, "pids", "threaded")
	if err := os.WriteFile(dir+"/cgroup.type", []byte("threaded"), 0); err != nil {
		t.Fatal(err)
	}
	b := newBox(t, files, "sleep")
	b.spec.Linux.CgroupsPath = "/" + prefix + "threaded/x"
	b.refused("threaded", b.spec.Linux.CgroupsPath)
}
