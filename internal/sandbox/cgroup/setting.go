package cgroup

import (
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A setting is one write into one control file: resources are compiled to a list of them (purely), which is then applied in order.
type setting struct {
	field      string   // the field of config.json that asks for it
	controller string   // whose file it is; "" for the core files of v2
	file       string   // the control file
	value      string   // what is written
	or         *setting // instead, when the file does not exist
	optional   bool     // when the file does not exist (and nor that of `or`), it is as good as set
	retry      bool     // EINVAL and EBUSY may come from the old value of a later setting: try again after those of the controller
	device     string   // "MAJ:MIN" when the file holds a line for each device, for undoing
}

// compiler collects settings. Its methods note the first error and do nothing after it.
type compiler struct {
	res *specs.LinuxResources
	out []setting
	err error
}

func (c *compiler) add(controller, file, value, field string) *setting {
	c.out = append(c.out, setting{field: "linux.resources." + field, controller: controller, file: file, value: value})
	return &c.out[len(c.out)-1]
}

// invalid notes that the value of a field makes no sense.
func (c *compiler) invalid(field, format string, args ...any) {
	if c.err == nil {
		c.err = errdef.Errorf(errdef.Invalid, "linux.resources."+field+": "+format, args...)
	}
}

// missing notes that a field has no counterpart in this version of cgroups.
func (c *compiler) missing(field, reason string) {
	if c.err == nil {
		c.err = errdef.Errorf(errdef.Unsupported, "linux.resources.%s: %s", field, reason)
	}
}

func (c *compiler) done() ([]setting, error) {
	if c.err != nil {
		return nil, c.err
	}
	return c.out, nil
}

// compile turns resources into settings for the layout. Nil resources ask for nothing. Devices are apart: see compileDevices.
func compile(mode Mode, res *specs.LinuxResources) ([]setting, error) {
	if res == nil {
		return nil, nil
	}
	c := &compiler{res: res}
	c.check()
	if mode == V2 {
		c.v2()
	} else {
		c.v1()
	}
	return c.done()
}

// Ignored returns the fields of the resources that are accepted and have no effect, for the caller to warn about.
func Ignored(res *specs.LinuxResources) []string {
	if res != nil && res.Memory != nil && res.Memory.Kernel != nil { //nolint:staticcheck // deprecated, which is why it is ignored
		return []string{"linux.resources.memory.kernel"}
	}
	return nil
}

// check looks at what is invalid whatever the version of cgroups.
func (c *compiler) check() {
	if m := c.res.Memory; m != nil {
		checkAtLeast(c, "memory.limit", m.Limit, -1)
		checkAtLeast(c, "memory.swap", m.Swap, -1)
		checkAtLeast(c, "memory.reservation", m.Reservation, -1)
		limit, swap := value(m.Limit), value(m.Swap)
		if limit > 0 && swap > 0 && swap < limit {
			c.invalid("memory.swap", "%d is below memory.limit %d; it is the sum of memory and swap", swap, limit)
		}
		if limit == -1 && swap > 0 {
			c.invalid("memory.swap", "%d, while memory.limit is unlimited; it is the sum of memory and swap", swap)
		}
		if m.Swappiness != nil && int64(*m.Swappiness) != -1 && *m.Swappiness > 100 {
			c.invalid("memory.swappiness", "%d is not between 0 and 100", *m.Swappiness)
		}
	}
	if cpu := c.res.CPU; cpu != nil {
		checkAtLeast(c, "cpu.quota", cpu.Quota, -1)
		if cpu.Idle != nil && *cpu.Idle != 0 && *cpu.Idle != 1 {
			c.invalid("cpu.idle", "%d is neither 0 nor 1", *cpu.Idle)
		}
		c.checkList("cpu.cpus", cpu.Cpus)
		c.checkList("cpu.mems", cpu.Mems)
	}
	for i, h := range c.res.HugepageLimits {
		if !validPageSize(h.Pagesize) {
			c.invalid("hugepageLimits["+strconv.Itoa(i)+"].pageSize", "%q is not a number with the unit KB, MB or GB", h.Pagesize)
		}
	}
	for _, name := range sortedKeys(c.res.Rdma) {
		if name == "" || strings.ContainsAny(name, " \t\n\x00") {
			c.invalid("rdma", "%q is not the name of a device", name)
		}
	}
	if n := c.res.Network; n != nil {
		for i, p := range n.Priorities {
			if p.Name == "" || strings.ContainsAny(p.Name, " \t\n\x00/") {
				c.invalid("network.priorities["+strconv.Itoa(i)+"].name", "%q is not the name of an interface", p.Name)
			}
		}
	}
}

func checkAtLeast(c *compiler, field string, v *int64, least int64) {
	if v != nil && *v < least {
		c.invalid(field, "%d is below %d", *v, least)
	}
}

// checkList refuses what is no list of numbers and ranges (cpuset(7), List format): what the kernel would do with the rest is not our
// business, but a newline or NUL would end the value early.
func (c *compiler) checkList(field, list string) {
	for _, r := range list {
		if !(r >= '0' && r <= '9' || strings.ContainsRune(",-:/ ", r)) {
			c.invalid(field, "%q is not a list such as 0-3,7", list)
			return
		}
	}
}

func validPageSize(s string) bool {
	n := len(s)
	if n < 3 || s[n-1] != 'B' || !strings.ContainsRune("KMG", rune(s[n-2])) || s[0] == '0' {
		return false
	}
	for _, r := range s[:n-2] {
		if r < '0' || r > '9' {
			return false
		}
	}
	return true
}

// hugepages and rdma have the same files in both versions, but for the suffix of the first.
func (c *compiler) hugepages(suffix string) {
	for i, h := range c.res.HugepageLimits {
		field := "hugepageLimits[" + strconv.Itoa(i) + "].limit"
		limit := strconv.FormatUint(h.Limit, 10)
		c.add("hugetlb", "hugetlb."+h.Pagesize+suffix, limit, field)
		reserved := c.add("hugetlb", "hugetlb."+h.Pagesize+".rsvd"+suffix, limit, field) // Linux 5.7: limits reservations too
		reserved.optional = true
		if suffix != ".max" { // of a hybrid host
			c.out[len(c.out)-2].or = &setting{file: "hugetlb." + h.Pagesize + ".max", value: limit}
			reserved.or = &setting{file: "hugetlb." + h.Pagesize + ".rsvd.max", value: limit}
		}
	}
}

func (c *compiler) rdma() {
	for _, name := range sortedKeys(c.res.Rdma) {
		line, r := name, c.res.Rdma[name]
		if r.HcaHandles != nil {
			line += " hca_handle=" + strconv.FormatUint(uint64(*r.HcaHandles), 10)
		}
		if r.HcaObjects != nil {
			line += " hca_object=" + strconv.FormatUint(uint64(*r.HcaObjects), 10)
		}
		if line != name {
			c.add("rdma", "rdma.max", line, "rdma["+strconv.Quote(name)+"]").device = name
		}
	}
}

// pids: 0 becomes 1, as systemd and runc have it: the limit counts on fork, and the first process is there already.
func (c *compiler) pids() {
	if c.res.Pids == nil || c.res.Pids.Limit == nil {
		return
	}
	value := "max"
	if limit := *c.res.Pids.Limit; limit >= 0 {
		value = strconv.FormatInt(max(limit, 1), 10)
	}
	c.add("pids", "pids.max", value, "pids.limit")
}

func value[T int64 | uint64 | uint16 | uint32 | bool](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
