package cgroup

import (
	"math"
	"strconv"
	"strings"
)

func (s *Stats) readV2(r *reader) {
	k := r.keys("cpu.stat")
	s.CPU.Usage = CPUUsage{Total: k["usage_usec"] * 1000, User: k["user_usec"] * 1000, Kernel: k["system_usec"] * 1000}
	s.CPU.Throttling = Throttling{Periods: k["nr_periods"], ThrottledPeriods: k["nr_throttled"], ThrottledTime: k["throttled_usec"] * 1000}
	s.CPU.PSI = parsePSI(r.text("cpu.pressure"))
	s.Memory.readV2(r)
	if r.has("pids.current") {
		s.Pids.read(r)
	} else { // the controller is not enabled here
		s.Pids.Current = uint64(strings.Count(r.text("cgroup.threads"), "\n"))
	}
	s.Blkio.readV2(r)
	s.readHugetlb(r)
	s.RDMA = r.rdma()
}

// readHugetlb: reservations are what a limit holds back where the kernel counts them.
func (s *Stats) readHugetlb(r *reader) {
	for _, size := range r.pageSizes(".current") {
		prefix := "hugetlb." + size
		if r.has(prefix + ".rsvd.current") {
			s.Hugetlb[size] = HugetlbStats{Usage: r.number(prefix + ".rsvd.current"), Failcnt: r.keys(prefix + ".events")["max"]}
			continue
		}
		s.Hugetlb[size] = HugetlbStats{Usage: r.number(prefix + ".current"), Failcnt: r.keys(prefix + ".events")["max"]}
	}
}

// readV2 puts memory and swap together, as v1's counter has it, for those who read the one shape.
func (m *MemoryStats) readV2(r *reader) {
	m.Raw = r.keys("memory.stat")
	m.Cache = m.Raw["file"]
	if !r.has("memory.current") {
		return
	}
	m.Usage = MemoryEntry{Limit: r.number("memory.max"), Usage: r.number("memory.current"), Max: r.number("memory.peak")}
	m.Usage.Failcnt = r.keys("memory.events")["max"]
	if r.has("memory.swap.current") {
		m.Swap = MemoryEntry{Limit: r.number("memory.swap.max"), Usage: r.number("memory.swap.current") + m.Usage.Usage}
		m.Swap.Failcnt = r.keys("memory.swap.events")["max"]
		if m.Usage.Limit == math.MaxUint64 {
			m.Swap.Limit = math.MaxUint64
		}
		if m.Swap.Limit != math.MaxUint64 {
			m.Swap.Limit += m.Usage.Limit
		}
	}
	m.Kernel.Usage = m.Raw["kernel"]
	m.KernelTCP.Usage = m.Raw["sock"]
	m.PSI = parsePSI(r.text("memory.pressure"))
}

// readV2: io.stat has a line for each device, "MAJ:MIN rbytes=N wbytes=N rios=N wios=N dbytes=N dios=N".
func (b *BlkioStats) readV2(r *reader) {
	b.parseIO(r.text("io.stat"))
	b.PSI = parsePSI(r.text("io.pressure"))
}

func (b *BlkioStats) parseIO(text string) {
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		e, ok := blkioDevice(words[0])
		if !ok {
			continue
		}
		for _, word := range words[1:] {
			key, val, _ := strings.Cut(word, "=")
			n, err := strconv.ParseUint(val, 10, 64)
			if err != nil {
				continue
			}
			e.Value = n
			to := &b.IoServiceBytesRecursive
			switch key {
			case "rbytes":
				e.Op = "Read"
			case "wbytes":
				e.Op = "Write"
			case "dbytes":
				e.Op = "Discard"
			case "rios":
				e.Op, to = "Read", &b.IoServicedRecursive
			case "wios":
				e.Op, to = "Write", &b.IoServicedRecursive
			case "dios":
				e.Op, to = "Discard", &b.IoServicedRecursive
			default:
				continue
			}
			*to = append(*to, e)
		}
	}
}
