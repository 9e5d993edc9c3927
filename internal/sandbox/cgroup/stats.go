package cgroup

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// Stats is what the kernel has counted for the group, in the shape in which `events --stats` has shown it since runc's first release:
// times in nanoseconds, sizes in bytes. What a hierarchy does not count is zero or absent; no limit is 18446744073709551615, but 0 for
// pids.
type Stats struct {
	CPU     CPUStats                `json:"cpu"`
	CPUSet  CPUSetStats             `json:"cpuset"`
	Memory  MemoryStats             `json:"memory"`
	Pids    PidsStats               `json:"pids"`
	Blkio   BlkioStats              `json:"blkio"`
	Hugetlb map[string]HugetlbStats `json:"hugetlb"`
	RDMA    *RDMAStats              `json:"rdma,omitempty"`
}

// CPUStats is CPU time.
type CPUStats struct {
	Usage      CPUUsage   `json:"usage"`
	Throttling Throttling `json:"throttling"`
	PSI        *PSI       `json:"psi,omitempty"`
}

// CPUUsage is CPU time used, in all and, with v1, on each CPU.
type CPUUsage struct {
	Total        uint64   `json:"total,omitempty"`
	Percpu       []uint64 `json:"percpu,omitempty"`
	PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
	PercpuUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

// Throttling is how often and how long the quota held the group back.
type Throttling struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

// PSI is pressure: the share of time in which some or all processes waited (Documentation/accounting/psi.rst).
type PSI struct {
	Some Pressure `json:"some"`
	Full Pressure `json:"full"`
}

// Pressure is in percent over 10, 60 and 300 s; Total is in microseconds.
type Pressure struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

// CPUSetStats are the settings of a v1 cpuset.
type CPUSetStats struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

// MemoryStats is memory. Swap is memory and swap together, as v1 counts it.
type MemoryStats struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     MemoryEntry       `json:"usage"`
	Swap      MemoryEntry       `json:"swap"`
	Kernel    MemoryEntry       `json:"kernel"`
	KernelTCP MemoryEntry       `json:"kernelTCP"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       *PSI              `json:"psi,omitempty"`
}

// MemoryEntry is one counter of memory.
type MemoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// PidsStats is the number of tasks.
type PidsStats struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

// BlkioStats is block I/O by device and operation.
type BlkioStats struct {
	IoServiceBytesRecursive []BlkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	IoServicedRecursive     []BlkioEntry `json:"ioServicedRecursive,omitempty"`
	IoQueuedRecursive       []BlkioEntry `json:"ioQueueRecursive,omitempty"`
	IoServiceTimeRecursive  []BlkioEntry `json:"ioServiceTimeRecursive,omitempty"`
	IoWaitTimeRecursive     []BlkioEntry `json:"ioWaitTimeRecursive,omitempty"`
	IoMergedRecursive       []BlkioEntry `json:"ioMergedRecursive,omitempty"`
	IoTimeRecursive         []BlkioEntry `json:"ioTimeRecursive,omitempty"`
	SectorsRecursive        []BlkioEntry `json:"sectorsRecursive,omitempty"`
	PSI                     *PSI         `json:"psi,omitempty"`
}

// BlkioEntry is a counter of one device.
type BlkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

// HugetlbStats is huge pages of one size.
type HugetlbStats struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

// RDMAStats is what is used of, and allowed on, RDMA devices.
type RDMAStats struct {
	Limit   []RDMAEntry `json:"rdma_limit,omitempty"`
	Current []RDMAEntry `json:"rdma_current,omitempty"`
}

// RDMAEntry is one device's; no limit is 4294967295.
type RDMAEntry struct {
	Device     string `json:"device,omitempty"`
	HcaHandles uint32 `json:"hca_handles,omitempty"`
	HcaObjects uint32 `json:"hca_objects,omitempty"`
}

// Stats reads the counters of the group.
func (g *Group) Stats() (*Stats, error) {
	d := g.listing()
	if d == nil {
		return nil, errdef.Errorf(errdef.Unsupported, "cgroup: the container has none of its own")
	}
	if err := d.open(); err != nil {
		return nil, err
	}
	s := &Stats{Hugetlb: map[string]HugetlbStats{}}
	r := &reader{}
	if g.mode == V2 {
		r.d = d
		s.readV2(r)
	} else {
		s.readV1(g, r)
	}
	if r.err != nil {
		return nil, r.err
	}
	return s, nil
}

// A reader reads control files of one directory and keeps the first error. A file that is not there is empty and no error: which files
// there are depends on the kernel's version and configuration.
type reader struct {
	d   *dir
	err error
}

// in makes the reader read the controller's directory; false when there is none.
func (r *reader) in(g *Group, controller string) bool {
	r.d = g.dirOf(controller)
	if r.d == nil || r.err != nil {
		return false
	}
	r.err = r.d.open()
	return r.err == nil
}

func (r *reader) text(file string) string {
	if r.err != nil {
		return ""
	}
	text, err := readFile(r.d.fd, file)
	if gone(err) || errors.Is(err, unix.EOPNOTSUPP) { // pressure without psi=1
		return ""
	}
	if err != nil {
		r.err = errdef.Errorf(kindOf(err), "%s of %s: %w", file, r.d.name(), err)
	}
	return text
}

func (r *reader) has(file string) bool {
	var st unix.Stat_t
	return r.err == nil && unix.Fstatat(r.d.fd, file, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func (r *reader) number(file string) uint64 {
	text := strings.TrimSpace(r.text(file))
	if text == "" {
		return 0
	}
	n, err := parseNumber(text)
	if err != nil && r.err == nil {
		r.err = errdef.Errorf(errdef.Internal, "%s of %s: %q is no number", file, r.d.name(), text)
	}
	return n
}

// keys reads a file of "KEY NUMBER" lines.
func (r *reader) keys(file string) map[string]uint64 { return parseKeys(r.text(file)) }

func parseKeys(text string) map[string]uint64 {
	out := map[string]uint64{}
	for len(text) > 0 {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		key, val, ok := strings.Cut(line, " ")
		if n, err := parseNumber(val); ok && err == nil {
			out[key] = n
		}
	}
	return out
}

// parseNumber reads a counter; "max" is the largest number. A counter of v1 may be negative for a moment, which is zero.
func parseNumber(text string) (uint64, error) {
	text = strings.TrimSpace(text)
	if text == "max" {
		return math.MaxUint64, nil
	}
	if strings.HasPrefix(text, "-") {
		_, err := strconv.ParseInt(text, 10, 64)
		return 0, err
	}
	return strconv.ParseUint(text, 10, 64)
}

// parsePSI reads a pressure file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and the same for full. Nil when there is none.
func parsePSI(text string) *PSI {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	psi := &PSI{}
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		p := &psi.Some
		if words[0] == "full" {
			p = &psi.Full
		}
		for _, word := range words[1:] {
			key, val, _ := strings.Cut(word, "=")
			f, _ := strconv.ParseFloat(val, 64)
			switch key {
			case "avg10":
				p.Avg10 = f
			case "avg60":
				p.Avg60 = f
			case "avg300":
				p.Avg300 = f
			case "total":
				p.Total, _ = strconv.ParseUint(val, 10, 64)
			}
		}
	}
	return psi
}

// parseList reads a list such as "0-3,7" (cpuset(7)).
func parseList(text string) []uint16 {
	var out []uint16
	for _, part := range strings.Split(strings.TrimSpace(text), ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(from, 10, 16)
		b := a
		if isRange && err == nil {
			b, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil {
			continue
		}
		for n := a; n <= b; n++ {
			out = append(out, uint16(n))
		}
	}
	return out
}

// rdma reads rdma.max and rdma.current: "DEVICE hca_handle=N hca_object=N".
func (r *reader) rdma() *RDMAStats {
	s := &RDMAStats{Limit: parseRDMA(r.text("rdma.max")), Current: parseRDMA(r.text("rdma.current"))}
	if s.Limit == nil && s.Current == nil {
		return nil
	}
	return s
}

func parseRDMA(text string) []RDMAEntry {
	var out []RDMAEntry
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		e := RDMAEntry{Device: words[0]}
		for _, word := range words[1:] {
			key, val, _ := strings.Cut(word, "=")
			n, err := parseNumber(val)
			if err != nil {
				continue
			}
			switch key {
			case "hca_handle":
				e.HcaHandles = uint32(min(n, math.MaxUint32))
			case "hca_object":
				e.HcaObjects = uint32(min(n, math.MaxUint32))
			}
		}
		out = append(out, e)
	}
	return out
}

// pageSizes lists the sizes of huge pages for which the directory has files, from their names.
func (r *reader) pageSizes(suffix string) []string {
	if r.err != nil {
		return nil
	}
	names, err := dirNames(r.d.fd)
	if err != nil {
		r.err = errdef.Errorf(kindOf(err), "cgroup %s: list: %w", r.d.name(), err)
	}
	var out []string
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, "hugetlb."); ok {
			if size, ok := strings.CutSuffix(rest, suffix); ok && !strings.Contains(size, ".") {
				out = append(out, size)
			}
		}
	}
	return out
}
