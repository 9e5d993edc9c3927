package cgroup

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// listing is the settings one a line: controller/file value, with what is tried instead in brackets.
func listing(list []setting) string {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s.controller + "/" + s.file + " " + s.value)
		if s.or != nil {
			b.WriteString(" [" + s.or.file + " " + s.or.value + "]")
		}
		if s.optional {
			b.WriteString(" ?")
		}
		b.WriteString("\n")
	}
	return strings.TrimSpace(b.String())
}

func full() *specs.LinuxResources {
	dev := specs.LinuxBlockIODevice{Major: 8, Minor: 16}
	throttle := func(rate uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{{LinuxBlockIODevice: dev, Rate: rate}}
	}
	return &specs.LinuxResources{
		CPU: &specs.LinuxCPU{
			Shares: ptr(uint64(2048)), Quota: ptr(int64(20000)), Period: ptr(uint64(50000)), Burst: ptr(uint64(1000)), Idle: ptr(int64(0)),
			Cpus: "0-1", Mems: "0",
		},
		Memory: &specs.LinuxMemory{Limit: ptr(int64(1 << 20)), Swap: ptr(int64(3 << 20)), Reservation: ptr(int64(1 << 19)), Kernel: ptr(int64(5))},
		Pids:   &specs.LinuxPids{Limit: ptr(int64(0))},
		BlockIO: &specs.LinuxBlockIO{
			Weight: ptr(uint16(500)), WeightDevice: []specs.LinuxWeightDevice{{LinuxBlockIODevice: dev, Weight: ptr(uint16(1000))}},
			ThrottleReadBpsDevice: throttle(1), ThrottleWriteBpsDevice: throttle(2), ThrottleReadIOPSDevice: throttle(3), ThrottleWriteIOPSDevice: throttle(0),
		},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4096}},
		Rdma:           map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: ptr(uint32(3)), HcaObjects: ptr(uint32(4))}, "a": {}},
	}
}

func TestCompile(t *testing.T) {
	const v1 = `cpuset/cpuset.cpus 0-1
cpuset/cpuset.mems 0
cpu/cpu.shares 2048
cpu/cpu.cfs_period_us 50000
cpu/cpu.cfs_burst_us 1000
cpu/cpu.cfs_quota_us 20000
cpu/cpu.idle 0
memory/memory.limit_in_bytes 1048576
memory/memory.memsw.limit_in_bytes 3145728
memory/memory.soft_limit_in_bytes 524288
pids/pids.max 1
blkio/blkio.weight 500 [blkio.bfq.weight 500]
blkio/blkio.weight_device 8:16 1000 [blkio.bfq.weight_device 8:16 1000]
blkio/blkio.throttle.read_bps_device 8:16 1
blkio/blkio.throttle.write_bps_device 8:16 2
blkio/blkio.throttle.read_iops_device 8:16 3
blkio/blkio.throttle.write_iops_device 8:16 0
hugetlb/hugetlb.2MB.limit_in_bytes 4096 [hugetlb.2MB.max 4096]
hugetlb/hugetlb.2MB.rsvd.limit_in_bytes 4096 [hugetlb.2MB.rsvd.max 4096] ?
rdma/rdma.max mlx5_1 hca_handle=3 hca_object=4`
	const v2 = `cpuset/cpuset.cpus 0-1
cpuset/cpuset.mems 0
cpu/cpu.weight 174
cpu/cpu.idle 0
cpu/cpu.max.burst 1000
cpu/cpu.max 20000 50000
memory/memory.swap.max 2097152
memory/memory.max 1048576
memory/memory.low 524288
pids/pids.max 1
io/io.bfq.weight 500 [io.weight default 4950]
io/io.bfq.weight 8:16 1000 [io.weight 8:16 10000]
io/io.max 8:16 rbps=1
io/io.max 8:16 wbps=2
io/io.max 8:16 riops=3
io/io.max 8:16 wiops=max
hugetlb/hugetlb.2MB.max 4096
hugetlb/hugetlb.2MB.rsvd.max 4096 ?
rdma/rdma.max mlx5_1 hca_handle=3 hca_object=4`
	for mode, want := range map[Mode]string{V1: v1, Hybrid: v1, V2: v2} {
		list, err := compile(mode, full())
		if err != nil {
			t.Fatal(err)
		}
		if got := listing(list); got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", mode, got, want)
		}
		for _, s := range list {
			if !strings.HasPrefix(s.field, "linux.resources.") {
				t.Errorf("%s: field %q", s.file, s.field)
			}
		}
	}
	if got := Ignored(full()); len(got) != 1 || got[0] != "linux.resources.memory.kernel" {
		t.Errorf("ignored: %v", got)
	}
}

func TestCompileEdges(t *testing.T) {
	mem := func(limit, swap int64) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &swap}}
	}
	for _, c := range []struct {
		name   string
		res    *specs.LinuxResources
		v1, v2 string
	}{
		{"nothing", nil, "", ""},
		{"zeroes ask for nothing", &specs.LinuxResources{
			CPU:    &specs.LinuxCPU{Shares: ptr(uint64(0)), Quota: ptr(int64(0)), Period: ptr(uint64(0))},
			Memory: &specs.LinuxMemory{Limit: ptr(int64(0)), Swap: ptr(int64(0)), DisableOOMKiller: ptr(false)}, Network: &specs.LinuxNetwork{ClassID: ptr(uint32(0))},
		}, "memory/memory.oom_control 0", ""},
		{"no limits", mem(-1, -1), "memory/memory.limit_in_bytes -1\nmemory/memory.memsw.limit_in_bytes -1", "memory/memory.swap.max max ?\nmemory/memory.max max"},
		{"no limit of memory", mem(-1, 0), "memory/memory.limit_in_bytes -1\nmemory/memory.memsw.limit_in_bytes -1 ?", "memory/memory.swap.max max ?\nmemory/memory.max max"},
		{"no swap", mem(8, 8), "memory/memory.limit_in_bytes 8\nmemory/memory.memsw.limit_in_bytes 8", "memory/memory.swap.max 0 ?\nmemory/memory.max 8"},
		{"all swap", mem(8, -1), "memory/memory.limit_in_bytes 8\nmemory/memory.memsw.limit_in_bytes -1", "memory/memory.swap.max max ?\nmemory/memory.max 8"},
		{"no pids limit", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}, "pids/pids.max max", "pids/pids.max max"},
		{"quota without period", &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(1000))}}, "cpu/cpu.cfs_quota_us 1000", "cpu/cpu.max 1000"},
		{"period without quota", &specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(1000))}}, "cpu/cpu.cfs_period_us 1000", "cpu/cpu.max max 1000"},
		{"idle after weight", &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(1024)), Idle: ptr(int64(1))}}, "cpu/cpu.shares 1024\ncpu/cpu.idle 1", "cpu/cpu.weight 100\ncpu/cpu.idle 1"},
	} {
		for mode, want := range map[Mode]string{V1: c.v1, V2: c.v2} {
			list, err := compile(mode, c.res)
			if err != nil {
				t.Errorf("%s, %s: %v", c.name, mode, err)
			}
			if got := listing(list); got != want {
				t.Errorf("%s, %s:\n%s\nwant:\n%s", c.name, mode, got, want)
			}
		}
	}
	list, err := compile(V2, &specs.LinuxResources{Unified: map[string]string{"memory.high": "1", "io.max": "8:0 rbps=1\n8:1 rbps=2\n", "cgroup.max.depth": "3"}})
	if want := "/cgroup.max.depth 3\nio/io.max 8:0 rbps=1\nio/io.max 8:1 rbps=2\nmemory/memory.high 1"; err != nil || listing(list) != want {
		t.Errorf("unified: %v\n%s\nwant:\n%s", err, listing(list), want)
	}
}

func TestCompileRefuses(t *testing.T) {
	res := func(f func(*specs.LinuxResources)) *specs.LinuxResources {
		r := &specs.LinuxResources{CPU: &specs.LinuxCPU{}, Memory: &specs.LinuxMemory{}, BlockIO: &specs.LinuxBlockIO{}, Network: &specs.LinuxNetwork{}}
		f(r)
		return r
	}
	both, v1, v2 := []Mode{V1, V2}, []Mode{V1}, []Mode{V2}
	for _, c := range []struct {
		field string
		kind  errdef.Kind
		modes []Mode
		res   *specs.LinuxResources
	}{
		{"cpu.shares", errdef.Invalid, v1, res(func(r *specs.LinuxResources) { r.CPU.Shares = ptr(uint64(1)) })},
		{"cpu.quota", errdef.Invalid, both, res(func(r *specs.LinuxResources) { r.CPU.Quota = ptr(int64(-2)) })},
		{"cpu.idle", errdef.Invalid, both, res(func(r *specs.LinuxResources) { r.CPU.Idle = ptr(int64(2)) })},
		{"cpu.cpus", errdef.Invalid, both, res(func(r *specs.LinuxResources) { r.CPU.Cpus = "0\n1" })},
		{"cpu.realtimeRuntime", errdef.Unsupported, v2, res(func(r *specs.LinuxResources) { r.CPU.RealtimeRuntime = ptr(int64(1)) })},
		{"memory.limit", errdef.Invalid, both, res(func(r *specs.LinuxResources) { r.Memory.Limit = ptr(int64(-5)) })},
		{"memory.swap", errdef.Invalid, both, res(func(r *specs.LinuxResources) { r.Memory.Limit, r.Memory.Swap = ptr(int64(9)), ptr(int64(8)) })},
		{"memory.swap", errdef.Invalid, v2, res(func(r *specs.LinuxResources) { r.Memory.Swap = ptr(int64(8)) })},
		{"memory.swappiness", errdef.Invalid, v1, res(func(r *specs.LinuxResources) { r.Memory.Swappiness = ptr(uint64(101)) })},
		{"memory.swappiness", errdef.Unsupported, v2, res(func(r *specs.LinuxResources) { r.Memory.Swappiness = ptr(uint64(10)) })},
		{"memory.disableOOMKiller", errdef.Unsupported, v2, res(func(r *specs.LinuxResources) { r.Memory.DisableOOMKiller = ptr(true) })},
		{"memory.kernelTCP", errdef.Unsupported, v2, res(func(r *specs.LinuxResources) { r.Memory.KernelTCP = ptr(int64(1)) })},
		{"blockIO.leafWeight", errdef.Unsupported, v2, res(func(r *specs.LinuxResources) { r.BlockIO.LeafWeight = ptr(uint16(10)) })},
		{"blockIO.weight", errdef.Invalid, v2, res(func(r *specs.LinuxResources) { r.BlockIO.Weight = ptr(uint16(5)) })},
		{"network.classID", errdef.Unsupported, v2, res(func(r *specs.LinuxResources) { r.Network.ClassID = ptr(uint32(1)) })},
		{"network.priorities", errdef.Invalid, v1, res(func(r *specs.LinuxResources) { r.Network.Priorities = []specs.LinuxInterfacePriority{{Name: "a b"}} })},
		{"hugepageLimits[0].pageSize", errdef.Invalid, both, res(func(r *specs.LinuxResources) { r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "../2MB"}} })},
		{"rdma", errdef.Invalid, both, res(func(r *specs.LinuxResources) { r.Rdma = map[string]specs.LinuxRdma{"a b": {}} })},
		{"unified", errdef.Unsupported, v1, res(func(r *specs.LinuxResources) { r.Unified = map[string]string{"memory.high": "1"} })},
		{`unified["../x.y"]`, errdef.Invalid, v2, res(func(r *specs.LinuxResources) { r.Unified = map[string]string{"../x.y": "1"} })},
		{`unified["memory"]`, errdef.Invalid, v2, res(func(r *specs.LinuxResources) { r.Unified = map[string]string{"memory": "1"} })},
		{`unified["cgroup.procs"]`, errdef.Invalid, v2, res(func(r *specs.LinuxResources) { r.Unified = map[string]string{"cgroup.procs": "1"} })},
	} {
		for _, mode := range c.modes {
			if _, err := compile(mode, c.res); !errdef.Is(err, c.kind) || !strings.Contains(err.Error(), "linux.resources."+c.field) {
				t.Errorf("%s, %s: %v", c.field, mode, err)
			}
		}
	}
}

func TestConversions(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 3: 2, 102: 17, 512: 59, 1024: 100, 2048: 174, 10240: 639, 262143: 10000, 262144: 10000, 1 << 40: 10000} {
		if got := weightOfShares(shares); got != want {
			t.Errorf("cpu.shares %d: cpu.weight %d, want %d", shares, got, want)
		}
	}
	for weight, want := range map[uint16]uint64{1: 1, 10: 1, 500: 4950, 1000: 10000} {
		if got := ioWeight(weight); got != want {
			t.Errorf("blkio weight %d: io.weight %d, want %d", weight, got, want)
		}
	}
	for list, want := range map[string]string{"0": "01", "0-3,7": "8f", "8": "0001", "0-15": "ffff"} {
		if got, ok := bitmask(list); !ok || got != want {
			t.Errorf("%s: bits %s, want %s", list, got, want)
		}
	}
	for _, list := range []string{"", "a", "3-1", "-1", "0-999999999"} {
		if got, ok := bitmask(list); ok {
			t.Errorf("%q: bits %s", list, got)
		}
	}
}
