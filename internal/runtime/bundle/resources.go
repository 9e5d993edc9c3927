package bundle

import (
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const maxCPU = 8191 // CONFIG_NR_CPUS is at most 8192

// ValidateResources checks limits by themselves, for `update`.
func ValidateResources(r *specs.LinuxResources) error {
	c := &checker{spec: &specs.Spec{}}
	c.resources(r)
	return c.err
}

func (c *checker) resources(r *specs.LinuxResources) {
	if r == nil {
		return
	}
	const field = "linux.resources."
	for i := range r.Devices {
		c.deviceRule(fieldAt(field+"devices", i), &r.Devices[i])
	}
	c.memory(r.Memory)
	c.cpu(r.CPU)
	if r.Pids != nil && r.Pids.Limit != nil {
		c.atLeast(field+"pids.limit", *r.Pids.Limit)
	}
	c.blockIO(r.BlockIO)
	for i, h := range r.HugepageLimits {
		if !pageSize(h.Pagesize) {
			c.bad(fieldAt(field+"hugepageLimits", i)+".pageSize", "write it like 2MB or 1GB", "%q is no size of a page", h.Pagesize)
		}
	}
	if r.Network != nil {
		for i, p := range r.Network.Priorities {
			c.linkName(fieldAt(field+"network.priorities", i)+".name", p.Name)
		}
	}
	for name, limits := range r.Rdma {
		at := fieldKey(field+"rdma", name)
		if name == "" || strings.ContainsAny(name, " \t\n\r\x00") {
			c.bad(at, "name it as in /sys/class/infiniband", "%q is no name of a device", name)
		}
		if limits.HcaHandles == nil && limits.HcaObjects == nil {
			c.bad(at, "set hcaHandles or hcaObjects", "limits nothing")
		}
	}
	for name, value := range r.Unified {
		at := fieldKey(field+"unified", name)
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			c.bad(at, "write a name like memory.high", "%q is no name of a file", name)
		}
		c.cstring(at, value)
	}
}

// deviceRule checks a rule of the device controller. A number of -1 means all, as for runc.
func (c *checker) deviceRule(field string, d *specs.LinuxDeviceCgroup) {
	oneOf(c, field+".type", d.Type, []string{"a", "b", "c", ""})
	if d.Major != nil {
		intRange(c, field+".major", *d.Major, -1, maxMajor)
	}
	if d.Minor != nil {
		intRange(c, field+".minor", *d.Minor, -1, maxMinor)
	}
	if strings.Trim(d.Access, "rwm") != "" {
		c.bad(field+".access", "r is read, w is write, m is mknod", "want letters of \"rwm\", found %q", d.Access)
	}
}

// atLeast refuses numbers below -1, which means no limit.
func (c *checker) atLeast(field string, v int64) {
	if v < -1 {
		c.bad(field, "-1 means no limit", "want at least -1, found %d", v)
	}
}

func (c *checker) memory(m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	const field = "linux.resources.memory."
	for _, f := range []struct {
		name  string
		value *int64
	}{
		{"limit", m.Limit},
		{"reservation", m.Reservation},
		{"swap", m.Swap},
		{"kernel", m.Kernel}, //nolint:staticcheck // deprecated, and still sent
		{"kernelTCP", m.KernelTCP},
	} {
		if f.value != nil {
			c.atLeast(field+f.name, *f.value)
		}
	}
	if m.Limit != nil && m.Swap != nil && *m.Limit > 0 && *m.Swap > 0 && *m.Swap < *m.Limit {
		c.bad(field+"swap", "it is memory and swap together", "want at least the limit %d, found %d", *m.Limit, *m.Swap)
	}
	if m.Swappiness != nil {
		intRange(c, field+"swappiness", *m.Swappiness, 0, 100)
	}
}

// cpu checks what the kernel would refuse of the cpu controller: periods of 1 ms to 1 s, quotas of at least 1 ms
// (Documentation/scheduler/sched-bwc.rst). Zero means unset, as for runc.
func (c *checker) cpu(p *specs.LinuxCPU) {
	if p == nil {
		return
	}
	const field = "linux.resources.cpu."
	const minSlice, maxPeriod = 1000, 1000000
	if p.Period != nil && *p.Period != 0 {
		intRange(c, field+"period", *p.Period, minSlice, maxPeriod)
	}
	if p.Quota != nil {
		c.atLeast(field+"quota", *p.Quota)
		if *p.Quota > 0 && *p.Quota < minSlice {
			c.bad(field+"quota", "it is in microseconds", "want at least %d, found %d", minSlice, *p.Quota)
		}
	}
	if p.Burst != nil && p.Quota != nil && *p.Quota > 0 && *p.Burst > uint64(*p.Quota) {
		c.bad(field+"burst", "lower it", "want at most the quota %d, found %d", *p.Quota, *p.Burst)
	}
	if p.RealtimeRuntime != nil {
		c.atLeast(field+"realtimeRuntime", *p.RealtimeRuntime)
		if p.RealtimePeriod != nil && *p.RealtimeRuntime > 0 && uint64(*p.RealtimeRuntime) > *p.RealtimePeriod {
			c.bad(field+"realtimeRuntime", "lower it", "want at most the period %d, found %d", *p.RealtimePeriod, *p.RealtimeRuntime)
		}
	}
	if p.Idle != nil {
		intRange(c, field+"idle", *p.Idle, 0, 1)
	}
	c.cpuList(field+"cpus", p.Cpus)
	c.cpuList(field+"mems", p.Mems)
}

func (c *checker) blockIO(b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	const field = "linux.resources.blockIO."
	c.weight(field+"weight", b.Weight)
	c.weight(field+"leafWeight", b.LeafWeight)
	for i, d := range b.WeightDevice {
		at := fieldAt(field+"weightDevice", i)
		c.blockDevice(at, d.Major, d.Minor)
		if d.Weight == nil && d.LeafWeight == nil {
			c.bad(at, "set weight or leafWeight", "sets no weight")
		}
		c.weight(at+".weight", d.Weight)
		c.weight(at+".leafWeight", d.LeafWeight)
	}
	for _, l := range []struct {
		name string
		list []specs.LinuxThrottleDevice
	}{
		{"throttleReadBpsDevice", b.ThrottleReadBpsDevice},
		{"throttleWriteBpsDevice", b.ThrottleWriteBpsDevice},
		{"throttleReadIOPSDevice", b.ThrottleReadIOPSDevice},
		{"throttleWriteIOPSDevice", b.ThrottleWriteIOPSDevice},
	} {
		for i, d := range l.list {
			c.blockDevice(fieldAt(field+l.name, i), d.Major, d.Minor)
		}
	}
}

func (c *checker) blockDevice(field string, major, minor int64) {
	intRange(c, field+".major", major, 0, maxMajor)
	intRange(c, field+".minor", minor, 0, maxMinor)
}

// weight checks a share of block I/O: 10 to 1000, and 0 for unset, which Docker sends.
func (c *checker) weight(field string, w *uint16) {
	if w != nil && *w != 0 {
		intRange(c, field, uint32(*w), 10, 1000)
	}
}

// pageSize reports whether s is a number and KB, MB, GB or TB, as in the names of hugetlb files.
func pageSize(s string) bool {
	n, ok := strings.CutSuffix(s, "B")
	if !ok || len(n) < 2 || len(n) > 8 || !strings.ContainsRune("KMGT", rune(n[len(n)-1])) {
		return false
	}
	n = n[:len(n)-1]
	return n[0] != '0' && strings.Trim(n, "0123456789") == ""
}

// cpuList checks a list of processors or memory nodes, as in 0-3,7 (cpuset(7), List format), and reports whether it names any.
// Spaces around elements, and elements that are empty, are let pass as by runc.
func (c *checker) cpuList(field, list string) bool {
	found := false
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		found = true
		first, last, ranged := strings.Cut(part, "-")
		low, ok := listNumber(first)
		high := low
		if ranged && ok {
			high, ok = listNumber(last)
		}
		if !ok || high < low {
			c.bad(field, "write it like 0-3,7", "want numbers and ranges up to %d, found %q", maxCPU, part)
		}
	}
	return found
}

func listNumber(s string) (int, bool) {
	if s == "" || len(s) > 4 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n <= maxCPU
}
