package cgroup

import (
	"math"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// v2 compiles for the unified hierarchy (Documentation/admin-guide/cgroup-v2.rst). The fields are v1's, so most of it is conversion.
func (c *compiler) v2() {
	if cpu := c.res.CPU; cpu != nil {
		if cpu.Cpus != "" {
			c.add("cpuset", "cpuset.cpus", cpu.Cpus, "cpu.cpus")
		}
		if cpu.Mems != "" {
			c.add("cpuset", "cpuset.mems", cpu.Mems, "cpu.mems")
		}
		c.v2CPU(cpu)
	}
	if m := c.res.Memory; m != nil {
		c.v2Memory(m)
	}
	c.pids()
	if b := c.res.BlockIO; b != nil {
		c.v2BlockIO(b)
	}
	c.hugepages(".max")
	c.rdma()
	if n := c.res.Network; n != nil {
		if n.ClassID != nil && *n.ClassID != 0 {
			c.missing("network.classID", "cgroup v2 has no net_cls controller")
		}
		if len(n.Priorities) > 0 {
			c.missing("network.priorities", "cgroup v2 has no net_prio controller")
		}
	}
	c.unified()
}

func (c *compiler) v2CPU(cpu *specs.LinuxCPU) {
	if shares := value(cpu.Shares); shares != 0 {
		// The kernel refuses a weight while the cgroup is idle, and the idle below may end that.
		c.add("cpu", "cpu.weight", strconv.FormatUint(weightOfShares(shares), 10), "cpu.shares").retry = true
	}
	if cpu.Idle != nil {
		c.add("cpu", "cpu.idle", strconv.FormatInt(*cpu.Idle, 10), "cpu.idle")
	}
	if cpu.Burst != nil {
		c.add("cpu", "cpu.max.burst", strconv.FormatUint(*cpu.Burst, 10), "cpu.burst").retry = true
	}
	quota, period := value(cpu.Quota), value(cpu.Period)
	if quota != 0 || period != 0 {
		v := "max"
		if quota > 0 {
			v = strconv.FormatInt(quota, 10)
		}
		if period != 0 {
			v += " " + strconv.FormatUint(period, 10)
		}
		field := "cpu.quota"
		if quota == 0 {
			field = "cpu.period"
		}
		c.add("cpu", "cpu.max", v, field)
	}
	if value(cpu.RealtimeRuntime) != 0 {
		c.missing("cpu.realtimeRuntime", "cgroup v2 has no realtime limits")
	}
	if value(cpu.RealtimePeriod) != 0 {
		c.missing("cpu.realtimePeriod", "cgroup v2 has no realtime limits")
	}
}

func (c *compiler) v2Memory(m *specs.LinuxMemory) {
	limit, swap := value(m.Limit), value(m.Swap)
	switch {
	case swap == -1 || swap == 0 && limit == -1:
		c.add("memory", "memory.swap.max", "max", "memory.swap").optional = true // without swap there is nothing to unlimit
	case swap > 0 && limit <= 0:
		c.invalid("memory.swap", "%d needs memory.limit: it is the sum of both", swap)
	case swap > 0:
		s := c.add("memory", "memory.swap.max", strconv.FormatInt(swap-limit, 10), "memory.swap")
		s.optional = swap == limit // without swap there is none to forbid
	}
	if limit != 0 {
		c.add("memory", "memory.max", maxOf(limit), "memory.limit")
	}
	if r := value(m.Reservation); r != 0 {
		c.add("memory", "memory.low", maxOf(r), "memory.reservation")
	}
	if m.KernelTCP != nil {
		c.missing("memory.kernelTCP", "cgroup v2 counts it as memory")
	}
	if value(m.DisableOOMKiller) {
		c.missing("memory.disableOOMKiller", "cgroup v2 cannot switch it off")
	}
	if m.Swappiness != nil && int64(*m.Swappiness) != -1 {
		c.missing("memory.swappiness", "cgroup v2 has none for a cgroup")
	}
	if m.UseHierarchy != nil && !*m.UseHierarchy {
		c.missing("memory.useHierarchy", "cgroup v2 is always hierarchical")
	}
}

// v2BlockIO: BFQ reads the weight as v1 does; io.weight (of blk-iocost) has another range.
func (c *compiler) v2BlockIO(b *specs.LinuxBlockIO) {
	if w := value(b.Weight); w != 0 {
		s := c.add("io", "io.bfq.weight", strconv.FormatUint(uint64(w), 10), "blockIO.weight")
		s.or = &setting{file: "io.weight", value: "default " + strconv.FormatUint(ioWeight(w), 10)}
		if w < 10 || w > 1000 {
			c.invalid("blockIO.weight", "%d is not between 10 and 1000", w)
		}
	}
	if value(b.LeafWeight) != 0 {
		c.missing("blockIO.leafWeight", "cgroup v2 has no leaf weights")
	}
	for i, d := range b.WeightDevice {
		field, dev := "blockIO.weightDevice["+strconv.Itoa(i)+"]", deviceNumber(d.LinuxBlockIODevice)
		if w := value(d.Weight); w != 0 {
			s := c.add("io", "io.bfq.weight", dev+" "+strconv.FormatUint(uint64(w), 10), field+".weight")
			s.device = dev
			s.or = &setting{file: "io.weight", value: dev + " " + strconv.FormatUint(ioWeight(w), 10), device: dev}
		}
		if value(d.LeafWeight) != 0 {
			c.missing(field+".leafWeight", "cgroup v2 has no leaf weights")
		}
	}
	throttle := func(name, key string, list []specs.LinuxThrottleDevice) {
		for i, d := range list {
			dev, rate := deviceNumber(d.LinuxBlockIODevice), "max"
			if d.Rate != 0 { // 0 takes the limit away, as in v1
				rate = strconv.FormatUint(d.Rate, 10)
			}
			c.add("io", "io.max", dev+" "+key+"="+rate, "blockIO."+name+"["+strconv.Itoa(i)+"]").device = dev
		}
	}
	throttle("throttleReadBpsDevice", "rbps", b.ThrottleReadBpsDevice)
	throttle("throttleWriteBpsDevice", "wbps", b.ThrottleWriteBpsDevice)
	throttle("throttleReadIOPSDevice", "riops", b.ThrottleReadIOPSDevice)
	throttle("throttleWriteIOPSDevice", "wiops", b.ThrottleWriteIOPSDevice)
}

// coreFiles are the files of the cgroup core that are no limits: they move, kill or change the kind of the cgroup.
var coreFiles = map[string]bool{
	"cgroup.procs": true, "cgroup.threads": true, "cgroup.type": true, "cgroup.kill": true, "cgroup.subtree_control": true, "cgroup.freeze": true,
}

// unified writes each line of a value by itself, as the kernel wants keyed files to be written.
func (c *compiler) unified() {
	for _, file := range sortedKeys(c.res.Unified) {
		field := "unified[" + strconv.Quote(file) + "]"
		controller, rest, ok := strings.Cut(file, ".")
		switch {
		case !ok || controller == "" || rest == "" || strings.ContainsAny(file, "/\x00\n"):
			c.invalid(field, "not of the form CONTROLLER.FILE")
		case coreFiles[file]:
			c.invalid(field, "not a limit")
		}
		if controller == "cgroup" {
			controller = ""
		}
		for _, line := range strings.Split(strings.TrimSuffix(c.res.Unified[file], "\n"), "\n") {
			if strings.ContainsRune(line, 0) {
				c.invalid(field, "%q holds a NUL", line)
			}
			s := c.add(controller, file, line, field)
			if key, _, keyed := strings.Cut(line, " "); keyed && strings.Contains(key, ":") {
				s.device = key
			}
		}
	}
}

// weightOfShares maps cpu.shares (2 to 262144, 1024 by default) to cpu.weight (1 to 10000, 100 by default). The exponent is the quadratic
// in log2(shares) through the three pairs (2, 1), (1024, 100) and (262144, 10000); OCI runtimes since 2025 have agreed on it
// (runc 1.4, crun 1.23), since the linear mapping before put the default at 39.
func weightOfShares(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// ioWeight maps a blkio weight (10 to 1000) linearly to io.weight (1 to 10000).
func ioWeight(w uint16) uint64 {
	if w <= 10 {
		return 1
	}
	return 1 + (uint64(w)-10)*9999/990
}

func maxOf(v int64) string {
	if v == -1 {
		return "max"
	}
	return strconv.FormatInt(v, 10)
}
