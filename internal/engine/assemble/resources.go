package assemble

import (
	"math"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	leastMemory = 6 << 20 // bytes, as Docker has it: less starts no program
	cpuPeriod   = 100_000 // microseconds, the kernel's default
)

// resources sets the limits of the container's cgroup.
func (b *build) resources() error {
	r, h := b.spec.Linux.Resources, &b.r.Host
	if r == nil { // rootless, until a cgroup was delegated
		r = &specs.LinuxResources{}
	}
	before := *r
	for _, step := range []func(*specs.LinuxResources) error{b.memory, b.cpu, b.pids, b.blkio} {
		if err := step(r); err != nil {
			return err
		}
	}
	if b.spec.Linux.Resources == nil && (r.Memory != before.Memory || r.CPU != before.CPU || r.Pids != before.Pids || r.BlockIO != before.BlockIO) {
		b.spec.Linux.Resources = r
	}
	b.spec.Linux.CgroupsPath = b.r.Facts.Cgroup
	if h.CgroupParent != "" && b.r.Facts.Cgroup == "" {
		return errdef.Errorf(errdef.Internal, "cgroup-parent %s: the engine gave no path", h.CgroupParent)
	}
	return nil
}

func (b *build) memory(r *specs.LinuxResources) error {
	h := &b.r.Host
	if h.Memory == 0 && h.MemorySwap == 0 && h.MemoryReservation == 0 && h.MemorySwappiness == nil && h.OomKillDisable == nil {
		return nil
	}
	m := &specs.LinuxMemory{}
	switch {
	case h.Memory < 0 || h.Memory > 0 && h.Memory < leastMemory:
		return errdef.Errorf(errdef.Invalid, "memory: minimum memory limit allowed is 6MB")
	case h.Memory == 0 && h.MemorySwap > 0:
		return errdef.Errorf(errdef.Invalid, "memory-swap: you should always set the memory limit when using memory-swap limit")
	case h.MemorySwap > 0 && h.MemorySwap < h.Memory:
		return errdef.Errorf(errdef.Invalid, "memory-swap: minimum memoryswap limit should be larger than memory limit")
	case h.MemorySwap < -1:
		return errdef.Errorf(errdef.Invalid, "memory-swap %d: wants bytes, or -1 for no limit", h.MemorySwap)
	case h.Memory > 0 && h.MemoryReservation > h.Memory:
		return errdef.Errorf(errdef.Invalid, "memory-reservation: minimum memory limit can not be less than memory reservation limit")
	}
	if h.Memory > 0 {
		limit, swap := h.Memory, h.MemorySwap
		if swap == 0 { // as much again
			if swap = 2 * limit; limit > math.MaxInt64/2 {
				swap = -1
			}
		}
		m.Limit, m.Swap = &limit, &swap
	}
	if h.MemoryReservation > 0 {
		n := h.MemoryReservation
		m.Reservation = &n
	}
	if h.MemorySwappiness != nil && *h.MemorySwappiness != -1 {
		if *h.MemorySwappiness < 0 || *h.MemorySwappiness > 100 {
			return errdef.Errorf(errdef.Invalid, "memory-swappiness %d: wants 0 to 100", *h.MemorySwappiness)
		}
		n := uint64(*h.MemorySwappiness)
		m.Swappiness = &n
	}
	if h.OomKillDisable != nil && *h.OomKillDisable {
		on := true
		m.DisableOOMKiller = &on
		b.weaker("oom-kill-disable", "that a container that is out of memory is ended")
	}
	r.Memory = m
	return nil
}

func (b *build) cpu(r *specs.LinuxResources) error {
	h := &b.r.Host
	c := &specs.LinuxCPU{Cpus: h.CpusetCpus, Mems: h.CpusetMems}
	switch {
	case h.NanoCPUs != 0 && (h.CPUQuota != 0 || h.CPUPeriod != 0):
		return errdef.Errorf(errdef.Invalid, "cpus: conflicting options: cpus and cpu-quota or cpu-period cannot both be set")
	case h.NanoCPUs < 0 || b.r.Facts.CPUs > 0 && h.NanoCPUs > int64(b.r.Facts.CPUs)*1e9:
		return errdef.Errorf(errdef.Invalid, "cpus: range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", b.r.Facts.CPUs, b.r.Facts.CPUs)
	case h.CPUShares < 0:
		return errdef.Errorf(errdef.Invalid, "cpu-shares %d: wants a positive number", h.CPUShares)
	case h.CPUPeriod != 0 && (h.CPUPeriod < 1000 || h.CPUPeriod > 1_000_000):
		return errdef.Errorf(errdef.Invalid, "cpu-period: CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
	case h.CPUQuota != 0 && h.CPUQuota < 1000 && h.CPUQuota != -1:
		return errdef.Errorf(errdef.Invalid, "cpu-quota: CPU cfs quota can not be less than 1ms (i.e. 1000)")
	}
	if h.NanoCPUs > 0 {
		period, quota := uint64(cpuPeriod), h.NanoCPUs*cpuPeriod/1e9
		if quota < 1000 {
			return errdef.Errorf(errdef.Invalid, "cpus: less than 0.01 are no time at all")
		}
		c.Period, c.Quota = &period, &quota
	}
	if h.CPUPeriod > 0 {
		n := uint64(h.CPUPeriod)
		c.Period = &n
	}
	if h.CPUQuota != 0 {
		n := h.CPUQuota
		c.Quota = &n
	}
	if h.CPUShares > 0 {
		n := uint64(h.CPUShares)
		c.Shares = &n
	}
	if h.CPURealtimeRuntime != 0 {
		n := h.CPURealtimeRuntime
		c.RealtimeRuntime = &n
	}
	if h.CPURealtimePeriod != 0 {
		n := uint64(h.CPURealtimePeriod)
		c.RealtimePeriod = &n
	}
	if *c != (specs.LinuxCPU{}) {
		r.CPU = c
	}
	return nil
}

func (b *build) pids(r *specs.LinuxResources) error {
	switch n := b.r.Host.PidsLimit; {
	case n == nil:
	case *n <= 0:
		r.Pids = nil
		b.weaker("pids-limit", "the limit against fork bombs")
	default:
		limit := *n
		r.Pids = &specs.LinuxPids{Limit: &limit}
	}
	return nil
}

func (b *build) blkio(r *specs.LinuxResources) error {
	h := &b.r.Host
	io := &specs.LinuxBlockIO{}
	if h.BlkioWeight != 0 {
		if h.BlkioWeight < 10 || h.BlkioWeight > 1000 {
			return errdef.Errorf(errdef.Invalid, "blkio-weight: range of blkio weight is from 10 to 1000")
		}
		n := h.BlkioWeight
		io.Weight = &n
	}
	for _, d := range h.BlkioWeightDevice {
		if d == nil {
			return errdef.Errorf(errdef.Invalid, "blkio-weight-device: null is no device")
		}
		node, err := b.block("blkio-weight-device", d.Path)
		if err != nil {
			return err
		}
		n := d.Weight
		w := specs.LinuxWeightDevice{Weight: &n}
		w.Major, w.Minor = node.Major, node.Minor
		io.WeightDevice = append(io.WeightDevice, w)
	}
	for _, t := range []struct {
		flag string
		from []*blkiodev.ThrottleDevice
		to   *[]specs.LinuxThrottleDevice
	}{
		{"device-read-bps", h.BlkioDeviceReadBps, &io.ThrottleReadBpsDevice},
		{"device-write-bps", h.BlkioDeviceWriteBps, &io.ThrottleWriteBpsDevice},
		{"device-read-iops", h.BlkioDeviceReadIOps, &io.ThrottleReadIOPSDevice},
		{"device-write-iops", h.BlkioDeviceWriteIOps, &io.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.from {
			if d == nil {
				return errdef.Errorf(errdef.Invalid, "%s: null is no device", t.flag)
			}
			node, err := b.block(t.flag, d.Path)
			if err != nil {
				return err
			}
			one := specs.LinuxThrottleDevice{Rate: d.Rate}
			one.Major, one.Minor = node.Major, node.Minor
			*t.to = append(*t.to, one)
		}
	}
	if io.Weight != nil || len(io.WeightDevice)+len(io.ThrottleReadBpsDevice)+len(io.ThrottleWriteBpsDevice)+len(io.ThrottleReadIOPSDevice)+len(io.ThrottleWriteIOPSDevice) > 0 {
		r.BlockIO = io
	}
	return nil
}

// block finds a block device of the host.
func (b *build) block(flag, path string) (specs.LinuxDevice, error) {
	if !strings.HasPrefix(path, "/dev/") {
		return specs.LinuxDevice{}, errdef.Errorf(errdef.Invalid, "%s %.128q: wants a path below /dev", flag, path)
	}
	if b.r.Facts.Device == nil {
		return specs.LinuxDevice{}, errdef.Errorf(errdef.Unsupported, "%s %s: this engine knows no devices", flag, path)
	}
	found, err := b.r.Facts.Device(path)
	if err != nil {
		return specs.LinuxDevice{}, errdef.Errorf(errdef.KindOf(err), "%s %s: %w", flag, path, err)
	}
	if len(found) != 1 || found[0].Type != "b" {
		return specs.LinuxDevice{}, errdef.Errorf(errdef.Invalid, "%s %s: is no block device", flag, path)
	}
	return found[0], nil
}
