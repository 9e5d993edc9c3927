package cgroup

import (
	"strconv"
	"strings"
)

// tick is what cpuacct.stat counts in: USER_HZ, which is 100 on every architecture that we build for, in nanoseconds.
const tick = 1_000_000_000 / 100

func (s *Stats) readV1(g *Group, r *reader) {
	if r.in(g, "cpu") {
		k := r.keys("cpu.stat")
		s.CPU.Throttling = Throttling{Periods: k["nr_periods"], ThrottledPeriods: k["nr_throttled"], ThrottledTime: k["throttled_time"]}
	}
	if r.in(g, "cpuacct") {
		s.CPU.Usage.readV1(r)
	}
	if r.in(g, "cpuset") {
		s.CPUSet.readV1(r)
	}
	if r.in(g, "memory") {
		s.Memory.readV1(r)
	}
	if r.in(g, "pids") {
		s.Pids.read(r)
	}
	if r.in(g, "blkio") {
		s.Blkio.readV1(r)
	}
	if r.in(g, "hugetlb") && r.d.unified() {
		s.readHugetlb(r)
	} else if r.d != nil && r.d.has("hugetlb") {
		for _, size := range r.pageSizes(".usage_in_bytes") {
			prefix := "hugetlb." + size
			if r.has(prefix + ".rsvd.usage_in_bytes") {
				prefix += ".rsvd"
			}
			s.Hugetlb[size] = HugetlbStats{
				Usage: r.number(prefix + ".usage_in_bytes"), Max: r.number(prefix + ".max_usage_in_bytes"), Failcnt: r.number(prefix + ".failcnt"),
			}
		}
	}
	if r.in(g, "rdma") {
		s.RDMA = r.rdma()
	}
}

func (u *CPUUsage) readV1(r *reader) {
	k := r.keys("cpuacct.stat")
	u.User, u.Kernel = k["user"]*tick, k["system"]*tick
	u.Total = r.number("cpuacct.usage")
	for _, word := range strings.Fields(r.text("cpuacct.usage_percpu")) {
		n, _ := strconv.ParseUint(word, 10, 64)
		u.Percpu = append(u.Percpu, n)
	}
	for _, line := range strings.Split(r.text("cpuacct.usage_all"), "\n") { // "cpu user system", then numbers
		words := strings.Fields(line)
		if len(words) != 3 || words[0] == "cpu" {
			continue
		}
		user, _ := strconv.ParseUint(words[1], 10, 64)
		kernel, _ := strconv.ParseUint(words[2], 10, 64)
		u.PercpuUser, u.PercpuKernel = append(u.PercpuUser, user), append(u.PercpuKernel, kernel)
	}
}

func (c *CPUSetStats) readV1(r *reader) {
	c.CPUs = parseList(r.text("cpuset.cpus"))
	c.Mems = parseList(r.text("cpuset.mems"))
	for _, f := range []struct {
		file string
		to   *uint64
	}{
		{"cpu_exclusive", &c.CPUExclusive},
		{"mem_hardwall", &c.MemHardwall},
		{"mem_exclusive", &c.MemExclusive},
		{"memory_migrate", &c.MemoryMigrate},
		{"memory_spread_page", &c.MemorySpreadPage},
		{"memory_spread_slab", &c.MemorySpreadSlab},
		{"memory_pressure", &c.MemoryPressure},
		{"sched_load_balance", &c.SchedLoadBalance},
	} {
		*f.to = r.number("cpuset." + f.file)
	}
	c.SchedRelaxDomainLevel, _ = strconv.ParseInt(strings.TrimSpace(r.text("cpuset.sched_relax_domain_level")), 10, 64)
}

func (m *MemoryStats) readV1(r *reader) {
	m.Raw = r.keys("memory.stat")
	m.Cache = m.Raw["cache"]
	entry := func(prefix string) MemoryEntry {
		return MemoryEntry{
			Limit: r.number(prefix + ".limit_in_bytes"), Usage: r.number(prefix + ".usage_in_bytes"),
			Max: r.number(prefix + ".max_usage_in_bytes"), Failcnt: r.number(prefix + ".failcnt"),
		}
	}
	m.Usage, m.Swap = entry("memory"), entry("memory.memsw")
	m.Kernel, m.KernelTCP = entry("memory.kmem"), entry("memory.kmem.tcp")
}

// read serves both versions: the files are the same.
func (p *PidsStats) read(r *reader) {
	p.Current = r.number("pids.current")
	if limit := r.number("pids.max"); limit != 1<<64-1 {
		p.Limit = limit
	}
}

// readV1: which files there are depends on the scheduler (BFQ, with or without CONFIG_BFQ_CGROUP_DEBUG; CFQ until Linux 5.0) and, without
// one, on the throttling layer. The first family that has a counter of operations is taken.
func (b *BlkioStats) readV1(r *reader) {
	for _, prefix := range []string{"blkio.bfq.", "blkio.", "blkio.throttle."} {
		suffix := "_recursive"
		if !r.has(prefix + "io_serviced" + suffix) {
			continue
		}
		serviced := parseBlkio(r.text(prefix + "io_serviced" + suffix))
		if len(serviced) == 0 && prefix != "blkio.throttle." {
			continue // no device uses this scheduler
		}
		b.IoServicedRecursive = serviced
		for _, f := range []struct {
			file string
			to   *[]BlkioEntry
		}{
			{"io_service_bytes", &b.IoServiceBytesRecursive},
			{"io_queued", &b.IoQueuedRecursive},
			{"io_service_time", &b.IoServiceTimeRecursive},
			{"io_wait_time", &b.IoWaitTimeRecursive},
			{"io_merged", &b.IoMergedRecursive},
			{"time", &b.IoTimeRecursive},
			{"sectors", &b.SectorsRecursive},
		} {
			*f.to = parseBlkio(r.text(prefix + f.file + suffix))
		}
		return
	}
	b.IoServicedRecursive = parseBlkio(r.text("blkio.throttle.io_serviced"))
	b.IoServiceBytesRecursive = parseBlkio(r.text("blkio.throttle.io_service_bytes"))
}

// parseBlkio reads lines "MAJ:MIN OP NUMBER" or "MAJ:MIN NUMBER"; the sum at the end, "Total NUMBER", is left out.
func parseBlkio(text string) []BlkioEntry {
	var out []BlkioEntry
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || len(words) > 3 {
			continue
		}
		e, ok := blkioDevice(words[0])
		if !ok {
			continue
		}
		if len(words) == 3 {
			e.Op = words[1]
		}
		n, err := strconv.ParseUint(words[len(words)-1], 10, 64)
		if err != nil {
			continue
		}
		e.Value = n
		out = append(out, e)
	}
	return out
}

func blkioDevice(text string) (BlkioEntry, bool) {
	major, minor, ok := strings.Cut(text, ":")
	a, err := strconv.ParseUint(major, 10, 32)
	b, err2 := strconv.ParseUint(minor, 10, 32)
	return BlkioEntry{Major: a, Minor: b}, ok && err == nil && err2 == nil
}
