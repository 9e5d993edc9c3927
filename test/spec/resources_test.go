package spec

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// file finds a file of the container's cgroups, by its v1 or v2 name; "" is none.
func (b *box) file(names ...string) string {
	b.t.Helper()
	for _, dir := range b.groups() {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil && name != "" {
				return filepath.Join(dir, name)
			}
		}
	}
	return ""
}

// wantFile checks a file of the container's cgroups; values are for the v1 and the v2 name.
func (b *box) wantFile(v1, value1, v2, value2 string) {
	b.t.Helper()
	path := b.file(v1, v2)
	want := value1
	if filepath.Base(path) == v2 {
		want = value2
	}
	if path == "" {
		b.t.Errorf("there is neither %s nor %s", v1, v2)
	} else if got := read(b.t, path); got != want {
		b.t.Errorf("%s: %q, want %q", path, got, want)
	}
}

// TestCgroupsPath: absolute is from the mount point on, relative is where the runtime decides, and both the same each time.
func TestCgroupsPath(t *testing.T) {
	t.Parallel()
	memory := "/sys/fs/cgroup"
	if _, err := os.Stat(memory + "/memory/cgroup.procs"); err == nil {
		memory += "/memory"
	}
	b := newBox(t, "sleep", "60")
	parent := prefix + "parent"
	b.spec.Linux.CgroupsPath = "/" + parent + "/child"
	pid := b.up()
	if got := read(t, filepath.Join(memory, parent, "child/cgroup.procs")); got != decimal(pid) {
		t.Errorf("%q, want %d", got, pid)
	}
	b.ok("delete", "--force", b.id)
	if _, err := os.Stat(filepath.Join(memory, parent, "child")); err == nil {
		t.Error("the cgroup is left")
	}
	for _, dir := range leftGroups() { // a parent may be another container's too, and is the caller's to remove
		if dir := strings.TrimPrefix(dir, "cgroup "); filepath.Base(dir) == parent {
			b.must(os.Remove(dir))
		}
	}
	var before string
	for range 2 {
		c := newBox(t, "sleep", "60")
		c.spec.Linux.CgroupsPath = prefix + "relative"
		got := read(t, "/proc/"+decimal(c.up())+"/cgroup")
		if before != "" && got != before || !strings.Contains(got, "/"+prefix+"relative") {
			t.Errorf("%s\nthe first time:\n%s", got, before)
		}
		before = got
		if r := c.call("create", "--bundle", c.dir, c.id+"-b"); r.code == 0 {
			t.Error("a second container was made in the same cgroup")
			c.ok("delete", "--force", c.id+"-b")
		}
		c.ok("delete", "--force", c.id)
	}
	d := newBox(t, "true")
	d.spec.Linux.CgroupsPath = "/../" + prefix + "up"
	d.write()
	if r := d.call("create", "--bundle", d.dir, d.id); r.code == 0 {
		if got := leftGroups(); strings.Contains(strings.Join(got, " "), "..") {
			t.Errorf("%q", got)
		}
		d.ok("delete", "--force", d.id)
	}
}

// TestMemory: the limit kills who takes more, and stands in the files.
func TestMemory(t *testing.T) {
	t.Parallel()
	b := newBox(t, "inside", "hold", "80000000")
	b.spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: ptr(int64(40 << 20)), Reservation: ptr(int64(20 << 20)), Swap: ptr(int64(40 << 20))}
	if r := b.run(); r.code != 137 || strings.Contains(r.out, "held") {
		t.Errorf("exit status %d, want 137 of the out-of-memory killer: %s%s", r.code, r.out, r.err)
	}
	b.spec.Process.Args = []string{"inside", "hold", "10000000"}
	if out := b.output(); out != "held\n" {
		t.Errorf("%q", out)
	}
	b.spec.Process.Args = []string{"sleep", "60"}
	b.up()
	b.wantFile("memory.limit_in_bytes", "41943040", "memory.max", "41943040")
	b.wantFile("memory.soft_limit_in_bytes", "20971520", "memory.low", "20971520")
	if b.file("memory.memsw.limit_in_bytes", "memory.swap.max") != "" {
		b.wantFile("memory.memsw.limit_in_bytes", "41943040", "memory.swap.max", "0")
	}
	c := newBox(t, "sleep", "60")
	c.spec.Linux.Resources.Memory = &specs.LinuxMemory{Swappiness: ptr(uint64(13)), DisableOOMKiller: ptr(true)}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil { // version 2 has neither, and says so
		if r := c.run(); r.code == 0 || !strings.Contains(r.err, "linux.resources.memory.") {
			t.Errorf("swappiness and disableOOMKiller on cgroup v2: %d: %s", r.code, r.err)
		}
		return
	}
	c.create()
	if c.file("memory.swappiness") != "" {
		c.wantFile("memory.swappiness", "13", "", "")
		if got := read(t, c.file("memory.oom_control")); !strings.HasPrefix(got, "oom_kill_disable 1") {
			t.Errorf("disableOOMKiller: %q", got)
		}
	}
}

// TestPids: no more tasks than the limit.
func TestPids(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all")
	b.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: ptr(int64(5))}
	if r := b.run(); !strings.Contains(r.err, "Resource temporarily unavailable") || strings.Contains(r.out, "all") {
		t.Errorf("exit status %d: %s%s", r.code, r.out, r.err)
	}
	for limit, want := range map[int64]string{33: "33", -1: "max"} {
		b := newBox(t, "sleep", "60")
		b.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
		b.create()
		b.wantFile("pids.max", want, "", "")
	}
}

// TestCPU: the files of the cpu and cpuset controllers.
func TestCPU(t *testing.T) {
	t.Parallel()
	b := newBox(t, "inside", "report")
	b.spec.Linux.Resources.CPU = &specs.LinuxCPU{
		Shares: ptr(uint64(512)), Quota: ptr(int64(25000)), Period: ptr(uint64(50000)), Burst: ptr(uint64(10000)), Cpus: "0", Mems: "0",
	}
	same(t, facts(b.output()), map[string]string{"cpus": "[0]"})
	b.spec.Process.Args = []string{"sleep", "60"}
	b.create()
	b.wantFile("cpu.shares", "512", "cpu.weight", "59")
	b.wantFile("cpu.cfs_quota_us", "25000", "cpu.max", "25000 50000")
	b.wantFile("cpu.cfs_period_us", "50000", "cpu.max", "25000 50000")
	b.wantFile("cpu.cfs_burst_us", "10000", "cpu.max.burst", "10000")
	b.wantFile("cpuset.cpus", "0", "", "")
	b.wantFile("cpuset.mems", "0", "", "")

	c := newBox(t, "sleep", "60")
	c.spec.Linux.Resources.CPU = &specs.LinuxCPU{Idle: ptr(int64(1))}
	c.create()
	c.wantFile("cpu.idle", "1", "", "")
	d := newBox(t, "true")
	d.spec.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: "4000"} // there is none
	d.refused("cpuset")
}

// TestBlockIO: weights where the kernel has them, else refused by name; throttles of a block device of this machine.
func TestBlockIO(t *testing.T) {
	t.Parallel()
	probe := newBox(t, "sleep", "60")
	probe.create()
	hasWeight := probe.file("blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight") != ""
	b := newBox(t, "sleep", "60")
	b.spec.Linux.Resources.BlockIO = &specs.LinuxBlockIO{Weight: ptr(uint16(300))}
	if hasWeight {
		b.create()
		path := b.file("blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight")
		if got := read(t, path); !strings.Contains(got, "300") && filepath.Base(path) != "io.weight" {
			t.Errorf("%s: %q", path, got)
		}
	} else {
		b.refused("weight")
	}
	dev, ok := blockDevice(t)
	if !ok {
		cannot(t, "there is no block device")
	}
	c := newBox(t, "sleep", "60")
	throttle := []specs.LinuxThrottleDevice{{Rate: 1 << 20}}
	throttle[0].Major, throttle[0].Minor = dev[0], dev[1]
	c.spec.Linux.Resources.BlockIO = &specs.LinuxBlockIO{
		ThrottleReadBpsDevice: throttle, ThrottleWriteBpsDevice: throttle, ThrottleReadIOPSDevice: throttle, ThrottleWriteIOPSDevice: throttle,
	}
	c.create()
	line := decimal(int(dev[0])) + ":" + decimal(int(dev[1])) + " 1048576"
	all := strings.Replace(line, " ", " rbps=1048576 wbps=1048576 riops=1048576 wiops=", 1)
	for _, name := range []string{"read_bps", "write_bps", "read_iops", "write_iops"} {
		c.wantFile("blkio.throttle."+name+"_device", line, "io.max", all)
	}
}

// blockDevice finds a disk of this machine, whose limits are the cgroup's business alone.
func blockDevice(t *testing.T) (dev [2]int64, ok bool) {
	t.Helper()
	disks, _ := filepath.Glob("/sys/block/*/dev")
	for _, path := range disks {
		var st syscall.Stat_t
		name := filepath.Base(filepath.Dir(path))
		if strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") || syscall.Stat("/dev/"+name, &st) != nil {
			continue
		}
		major, minor, _ := strings.Cut(read(t, path), ":")
		return [2]int64{number(major), number(minor)}, true
	}
	return dev, false
}

func number(text string) (n int64) {
	for _, c := range text {
		n = n*10 + int64(c-'0')
	}
	return n
}

// TestMissingControllers: a limit for a controller that this machine has not is refused by name, and set where it has it.
func TestMissingControllers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		word, value string
		file        []string
		set         func(*specs.LinuxResources)
	}{
		{"hugepageLimits", "4194304", []string{"hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"}, func(r *specs.LinuxResources) {
			r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}
		}},
		{"network", "1048577", []string{"net_cls.classid"}, func(r *specs.LinuxResources) { r.Network = &specs.LinuxNetwork{ClassID: ptr(uint32(0x100001))} }},
		{"rdma", "hca_handle=3", []string{"rdma.max"}, func(r *specs.LinuxResources) {
			r.Rdma = map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: ptr(uint32(3))}}
		}},
		{"unified", "9998336", []string{"memory.high"}, func(r *specs.LinuxResources) { r.Unified = map[string]string{"memory.high": "10000000"} }},
	} {
		b := newBox(t, "sleep", "60")
		c.set(b.spec.Linux.Resources)
		b.write()
		r := b.call("create", "--bundle", b.dir, b.id)
		switch {
		case r.code == 0 && b.file(c.file...) == "":
			t.Errorf("%s: accepted, and there is none of %q", c.word, c.file)
		case r.code == 0:
			if got := read(t, b.file(c.file...)); !strings.Contains(got, c.value) {
				t.Errorf("%s: %q, want %q", c.word, got, c.value)
			}
		case !strings.Contains(r.err, c.word):
			t.Errorf("the message does not name %s: %s", c.word, r.err)
		default:
			b.nothing()
		}
	}
}

// TestDeviceRules: linux.resources.devices. Without rules only the default devices, terminals among them, can be opened; a rule allows, a later one
// takes back. Nodes can be made of any, as with runc, where what every container has comes behind the rules.
func TestDeviceRules(t *testing.T) {
	t.Parallel()
	c := func(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Major: &major, Minor: &minor, Access: access}
	}
	run := func(rules []specs.LinuxDeviceCgroup, pairs ...string) {
		t.Helper()
		b := newBox(t)
		b.spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11}, {Path: "/dev/port", Type: "c", Major: 1, Minor: 4}}
		b.spec.Linux.Resources.Devices = rules
		b.grant("CAP_MKNOD", "CAP_SYSLOG", "CAP_DAC_OVERRIDE")
		b.try(pairs...)
	}
	all := specs.LinuxDeviceCgroup{Allow: false, Access: "rwm"}
	run(nil, "openr:/dev/kmsg", "EPERM", "read:/dev/zero", "ok", "write:/dev/null:x", "ok", "mknod:/tmp/n:c:10:229", "ok", "openr:/tmp/n", "EPERM")
	run([]specs.LinuxDeviceCgroup{all}, "openr:/dev/kmsg", "EPERM", "read:/dev/zero", "ok")
	run([]specs.LinuxDeviceCgroup{all, c(true, "c", 1, 11, "r")}, "openr:/dev/kmsg", "ok", "open:/dev/kmsg", "EPERM", "read:/dev/zero", "ok")
	run([]specs.LinuxDeviceCgroup{all, c(true, "c", 1, 11, "rwm"), c(false, "c", 1, 11, "w")}, "openr:/dev/kmsg", "ok", "open:/dev/kmsg", "EPERM")
	run([]specs.LinuxDeviceCgroup{all, c(true, "c", 1, -1, "r")}, "openr:/dev/kmsg", "ok", "open:/dev/kmsg", "EPERM")
	run([]specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}, "openr:/dev/kmsg", "ok", "mknod:/tmp/n:b:7:199", "ok")
	run([]specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}, c(false, "c", 1, 11, "rw")}, "openr:/dev/kmsg", "EPERM", "read:/dev/urandom", "ok")
}

// TestUpdateKeeps: limits are those of the configuration as it was at create; what happens to config.json later has no effect.
func TestConfigKept(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "exit 5")
	b.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: ptr(int64(44))}
	b.create()
	b.must(os.WriteFile(b.path("config.json"), []byte("{}"), 0o600))
	b.wantFile("pids.max", "44", "", "")
	b.ok("start", b.id)
	b.await(specs.StateStopped)
	b.ok("delete", b.id)
}
