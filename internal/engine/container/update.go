package container

import (
	"context"
	"reflect"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits and the restart policy of a container, of one that runs at once. What is zero stays as it is. It is all or nothing: limits that
// cannot be are refused before any is set.
func (s *Service) Update(ctx context.Context, name string, u api.UpdateConfig) (api.UpdateResponse, error) {
	id, err := s.Resolve(name)
	if err != nil {
		return api.UpdateResponse{}, err
	}
	if err := s.writable(); err != nil {
		return api.UpdateResponse{}, err
	}
	lock, err := s.lock(ctx, id)
	if err != nil {
		return api.UpdateResponse{}, err
	}
	defer lock.Close()
	c, err := s.get(id)
	if err != nil {
		return api.UpdateResponse{}, err
	}
	r := c.Record
	if err := updated(&r.Host, &u); err != nil {
		return api.UpdateResponse{}, err
	}
	if err := check(&r); err != nil {
		return api.UpdateResponse{}, err
	}
	before, err := s.assemble(ctx, &c.Record, "/", nil)
	if err != nil {
		return api.UpdateResponse{}, err
	}
	after, err := s.assemble(ctx, &r, "/", nil)
	if err != nil {
		return api.UpdateResponse{}, err
	}
	running := c.Alive && c.State.Phase == control.Running
	if change := changed(before.Spec.Linux.Resources, after.Spec.Linux.Resources); running && change != nil {
		if err := s.rt.Update(ctx, id, change, nil); err != nil {
			return api.UpdateResponse{}, err
		}
	}
	r.Weaker = after.Weaker
	if err := s.write(s.dir(id), &r); err != nil {
		return api.UpdateResponse{}, err
	}
	if c.Alive && u.RestartPolicy.Name != "" {
		policy := restartOf(r.Host.RestartPolicy)
		if err := s.change(ctx, id, control.Request{Restart: &policy}); err != nil {
			return api.UpdateResponse{}, err
		}
	}
	s.event(&r, events.ActionUpdate)
	return api.UpdateResponse{Warnings: []string{}}, nil
}

// change tells the monitor of a change; one that has ended meanwhile needs no word.
func (s *Service) change(ctx context.Context, id string, q control.Request) error {
	q.Op = "change"
	conn, err := control.Dial(ctx, s.runDir(id), q)
	if err != nil {
		return s.gone(id, err)
	}
	return conn.Close()
}

// updated puts what an update says into a request.
func updated(h *api.HostConfig, u *api.UpdateConfig) error {
	n := &u.Resources
	for _, f := range []struct {
		asked bool
		name  string
	}{
		{len(n.Devices) > 0, "device"},
		{len(n.DeviceCgroupRules) > 0, "device-cgroup-rule"},
		{len(n.DeviceRequests) > 0, "gpus"},
		{n.CgroupParent != "", "cgroup-parent"},
		{len(n.BlkioWeightDevice) > 0, "blkio-weight-device"},
		{len(n.BlkioDeviceReadBps) > 0, "device-read-bps"},
		{len(n.BlkioDeviceWriteBps) > 0, "device-write-bps"},
		{len(n.BlkioDeviceReadIOps) > 0, "device-read-iops"},
		{len(n.BlkioDeviceWriteIOps) > 0, "device-write-iops"},
		{len(n.Ulimits) > 0, "ulimit"},
		{n.OomKillDisable != nil, "oom-kill-disable"},
		{n.MemorySwappiness != nil, "memory-swappiness"},
		{n.CPUCount+n.CPUPercent > 0 || n.IOMaximumIOps+n.IOMaximumBandwidth > 0, "cpu-count, cpu-percent, io-maxiops, io-maxbandwidth"},
	} {
		if f.asked {
			return errdef.Errorf(errdef.Unsupported, "update: %s: cannot be changed of a container that is there; make another one", f.name)
		}
	}
	switch {
	case n.NanoCPUs > 0 && (h.CPUQuota != 0 || h.CPUPeriod != 0):
		return errdef.Errorf(errdef.Conflict, "update: cpus: conflicting options: cpu-quota or cpu-period has already been set")
	case (n.CPUQuota != 0 || n.CPUPeriod != 0) && h.NanoCPUs > 0:
		return errdef.Errorf(errdef.Conflict, "update: cpu-quota, cpu-period: conflicting options: cpus has already been set")
	case n.Memory > 0 && n.MemorySwap == 0 && h.MemorySwap > 0 && n.Memory > h.MemorySwap:
		return errdef.Errorf(errdef.Conflict, "update: memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
	}
	set(&h.NanoCPUs, n.NanoCPUs)
	set(&h.CPUQuota, n.CPUQuota)
	set(&h.CPUPeriod, n.CPUPeriod)
	set(&h.CPUShares, n.CPUShares)
	set(&h.CPURealtimePeriod, n.CPURealtimePeriod)
	set(&h.CPURealtimeRuntime, n.CPURealtimeRuntime)
	set(&h.CpusetCpus, n.CpusetCpus)
	set(&h.CpusetMems, n.CpusetMems)
	set(&h.Memory, n.Memory)
	set(&h.MemorySwap, n.MemorySwap)
	set(&h.MemoryReservation, n.MemoryReservation)
	set(&h.BlkioWeight, n.BlkioWeight)
	set(&h.PidsLimit, n.PidsLimit)
	if u.RestartPolicy.Name != "" {
		if h.AutoRemove && u.RestartPolicy.Name != "no" {
			return errdef.Errorf(errdef.Conflict, "update: restart policy cannot be updated because AutoRemove is enabled for the container")
		}
		h.RestartPolicy = u.RestartPolicy
	}
	return nil
}

func set[T comparable](to *T, value T) {
	var zero T
	if value != zero {
		*to = value
	}
}

// changed returns what of the limits is another than before; nil: nothing. A limit that there is no more is none, and says so.
func changed(before, after *specs.LinuxResources) *specs.LinuxResources {
	if before == nil {
		before = &specs.LinuxResources{}
	}
	if after == nil {
		after = &specs.LinuxResources{}
	}
	out := &specs.LinuxResources{}
	if !reflect.DeepEqual(before.Memory, after.Memory) {
		out.Memory = after.Memory
	}
	if !reflect.DeepEqual(before.CPU, after.CPU) {
		out.CPU = after.CPU
	}
	if !reflect.DeepEqual(before.BlockIO, after.BlockIO) {
		out.BlockIO = after.BlockIO
	}
	if !reflect.DeepEqual(before.Pids, after.Pids) {
		if out.Pids = after.Pids; out.Pids == nil {
			none := int64(-1)
			out.Pids = &specs.LinuxPids{Limit: &none}
		}
	}
	if reflect.DeepEqual(out, &specs.LinuxResources{}) {
		return nil
	}
	return out
}
