package cgroup

import (
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// v1 compiles for v1 controllers (Documentation/admin-guide/cgroup-v1).
func (c *compiler) v1() {
	if len(c.res.Unified) > 0 {
		c.missing("unified", "cgroup v1 has no unified files")
	}
	if cpu := c.res.CPU; cpu != nil {
		if cpu.Cpus != "" {
			c.add("cpuset", "cpuset.cpus", cpu.Cpus, "cpu.cpus")
		}
		if cpu.Mems != "" {
			c.add("cpuset", "cpuset.mems", cpu.Mems, "cpu.mems")
		}
		c.v1CPU(cpu)
	}
	if m := c.res.Memory; m != nil {
		c.v1Memory(m)
	}
	c.pids()
	if b := c.res.BlockIO; b != nil {
		c.v1BlockIO(b)
	}
	c.hugepages(".limit_in_bytes")
	c.rdma()
	if n := c.res.Network; n != nil {
		if n.ClassID != nil && *n.ClassID != 0 {
			c.add("net_cls", "net_cls.classid", strconv.FormatUint(uint64(*n.ClassID), 10), "network.classID")
		}
		for i, p := range n.Priorities {
			s := c.add("net_prio", "net_prio.ifpriomap", p.Name+" "+strconv.FormatUint(uint64(p.Priority), 10), "network.priorities["+strconv.Itoa(i)+"]")
			s.device = p.Name
		}
	}
}

// v1CPU: period and burst are checked by the kernel against the quota in force, hence the retries; weight and idle likewise.
func (c *compiler) v1CPU(cpu *specs.LinuxCPU) {
	if shares := value(cpu.Shares); shares != 0 {
		// The kernel clamps silently to MIN_SHARES and MAX_SHARES (kernel/sched/core.c).
		if shares < 2 || shares > 262144 {
			c.invalid("cpu.shares", "%d is not between 2 and 262144", shares)
		}
		c.add("cpu", "cpu.shares", strconv.FormatUint(shares, 10), "cpu.shares").retry = true
	}
	if period := value(cpu.Period); period != 0 {
		c.add("cpu", "cpu.cfs_period_us", strconv.FormatUint(period, 10), "cpu.period").retry = true
	}
	if cpu.Burst != nil {
		c.add("cpu", "cpu.cfs_burst_us", strconv.FormatUint(*cpu.Burst, 10), "cpu.burst").retry = true
	}
	if quota := value(cpu.Quota); quota != 0 {
		c.add("cpu", "cpu.cfs_quota_us", strconv.FormatInt(quota, 10), "cpu.quota").retry = true
	}
	if period := value(cpu.RealtimePeriod); period != 0 {
		c.add("cpu", "cpu.rt_period_us", strconv.FormatUint(period, 10), "cpu.realtimePeriod").retry = true
	}
	if runtime := value(cpu.RealtimeRuntime); runtime != 0 {
		c.add("cpu", "cpu.rt_runtime_us", strconv.FormatInt(runtime, 10), "cpu.realtimeRuntime").retry = true
	}
	if cpu.Idle != nil {
		c.add("cpu", "cpu.idle", strconv.FormatInt(*cpu.Idle, 10), "cpu.idle")
	}
}

// v1Memory: memsw may never be below memory, so that raising needs the one order and lowering the other: memory is tried first, and again
// after memsw.
func (c *compiler) v1Memory(m *specs.LinuxMemory) {
	if m.UseHierarchy != nil {
		// Linux 5.11 has nothing else than 1, and refuses 0.
		c.add("memory", "memory.use_hierarchy", strconv.Itoa(b2i(*m.UseHierarchy)), "memory.useHierarchy").optional = *m.UseHierarchy
	}
	limit, swap := value(m.Limit), value(m.Swap)
	if limit != 0 {
		c.add("memory", "memory.limit_in_bytes", strconv.FormatInt(limit, 10), "memory.limit").retry = true
	}
	switch {
	case swap != 0:
		c.add("memory", "memory.memsw.limit_in_bytes", strconv.FormatInt(swap, 10), "memory.swap").retry = true
	case limit == -1: // no limit on memory alone would leave the old sum in force
		s := c.add("memory", "memory.memsw.limit_in_bytes", "-1", "memory.limit")
		s.retry, s.optional = true, true
	}
	if m.Reservation != nil && *m.Reservation != 0 {
		c.add("memory", "memory.soft_limit_in_bytes", strconv.FormatInt(*m.Reservation, 10), "memory.reservation")
	}
	if m.KernelTCP != nil {
		c.add("memory", "memory.kmem.tcp.limit_in_bytes", strconv.FormatInt(*m.KernelTCP, 10), "memory.kernelTCP")
	}
	if m.DisableOOMKiller != nil {
		c.add("memory", "memory.oom_control", strconv.Itoa(b2i(*m.DisableOOMKiller)), "memory.disableOOMKiller")
	}
	if m.Swappiness != nil && int64(*m.Swappiness) != -1 {
		c.add("memory", "memory.swappiness", strconv.FormatUint(*m.Swappiness, 10), "memory.swappiness")
	}
}

// v1BlockIO: weights were CFQ's until Linux 5.0, and are BFQ's since.
func (c *compiler) v1BlockIO(b *specs.LinuxBlockIO) {
	if b.Weight != nil && *b.Weight != 0 {
		v := strconv.FormatUint(uint64(*b.Weight), 10)
		s := c.add("blkio", "blkio.weight", v, "blockIO.weight")
		s.or = &setting{file: "blkio.bfq.weight", value: v}
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		c.add("blkio", "blkio.leaf_weight", strconv.FormatUint(uint64(*b.LeafWeight), 10), "blockIO.leafWeight")
	}
	for i, d := range b.WeightDevice {
		field, dev := "blockIO.weightDevice["+strconv.Itoa(i)+"]", deviceNumber(d.LinuxBlockIODevice)
		if d.Weight != nil && *d.Weight != 0 {
			v := dev + " " + strconv.FormatUint(uint64(*d.Weight), 10)
			s := c.add("blkio", "blkio.weight_device", v, field+".weight")
			s.device = dev
			s.or = &setting{file: "blkio.bfq.weight_device", value: v, device: dev}
		}
		if d.LeafWeight != nil && *d.LeafWeight != 0 {
			c.add("blkio", "blkio.leaf_weight_device", dev+" "+strconv.FormatUint(uint64(*d.LeafWeight), 10), field+".leafWeight").device = dev
		}
	}
	throttle := func(name, file string, list []specs.LinuxThrottleDevice) {
		for i, d := range list {
			dev := deviceNumber(d.LinuxBlockIODevice)
			c.add("blkio", "blkio.throttle."+file, dev+" "+strconv.FormatUint(d.Rate, 10), "blockIO."+name+"["+strconv.Itoa(i)+"]").device = dev
		}
	}
	throttle("throttleReadBpsDevice", "read_bps_device", b.ThrottleReadBpsDevice)
	throttle("throttleWriteBpsDevice", "write_bps_device", b.ThrottleWriteBpsDevice)
	throttle("throttleReadIOPSDevice", "read_iops_device", b.ThrottleReadIOPSDevice)
	throttle("throttleWriteIOPSDevice", "write_iops_device", b.ThrottleWriteIOPSDevice)
}

func deviceNumber(d specs.LinuxBlockIODevice) string {
	return strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
