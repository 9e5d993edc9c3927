package container

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	api "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

// statsPause is between two samples, as with Docker.
const statsPause = time.Second

// Stats calls each with what a container uses: once, a second after a first look, so that there is something to compare with; with oneShot at once, with nothing to
// compare; with stream every second, until the context ends or the container does. One that does not run uses nothing.
func (s *Service) Stats(ctx context.Context, name string, stream, oneShot bool, each func(api.StatsResponse) error) error {
	id, err := s.Resolve(name)
	if err != nil {
		return err
	}
	var before api.StatsResponse
	for first := true; ; first = false {
		c, err := s.get(id)
		if errdef.Is(err, errdef.NotFound) && !first {
			return nil
		}
		if err != nil {
			return err
		}
		now, err := s.sample(c)
		if err != nil {
			return err
		}
		now.PreRead, now.PreCPUStats = before.Read, before.CPUStats
		running := !now.Read.IsZero()
		if stream || oneShot || !first || !running {
			if err := each(now); err != nil {
				return err
			}
		}
		if oneShot || !stream && (!first || !running) || !c.Alive {
			return nil
		}
		before = now
		select {
		case <-ctx.Done():
			return nil //nolint:nilerr // who looked has gone
		case <-time.After(statsPause):
		}
	}
}

// sample reads what a container has used.
func (s *Service) sample(c *Container) (api.StatsResponse, error) {
	out := api.StatsResponse{ID: c.ID, Name: "/" + c.Name, OSType: "linux"}
	if !c.Alive || c.State.Phase != control.Running {
		return out, nil
	}
	line, err := s.rt.Stats(c.ID)
	if errdef.Is(err, errdef.Conflict) || errdef.Is(err, errdef.NotFound) { // it has just ended
		return out, nil
	}
	if err != nil {
		return out, err
	}
	var event struct{ Data cgroup.Stats }
	if err := json.Unmarshal(line, &event); err != nil {
		return out, errdef.Errorf(errdef.Internal, "stats: %w", err)
	}
	fill(&out, &event.Data)
	if c.Host.NetworkMode != "host" {
		out.Networks = interfaces(c.State.PID)
	}
	return out, nil
}

// fill turns what cgroups count into Docker's form.
func fill(out *api.StatsResponse, g *cgroup.Stats) {
	out.Read = time.Now().UTC()
	cpu := &out.CPUStats
	cpu.CPUUsage = api.CPUUsage{TotalUsage: g.CPU.Usage.Total, PercpuUsage: g.CPU.Usage.Percpu, UsageInKernelmode: g.CPU.Usage.Kernel, UsageInUsermode: g.CPU.Usage.User}
	cpu.ThrottlingData = api.ThrottlingData{
		Periods: g.CPU.Throttling.Periods, ThrottledPeriods: g.CPU.Throttling.ThrottledPeriods, ThrottledTime: g.CPU.Throttling.ThrottledTime,
	}
	cpu.SystemUsage, cpu.OnlineCPUs = machine()
	m := g.Memory.Usage
	out.MemoryStats = api.MemoryStats{Usage: m.Usage, MaxUsage: m.Max, Failcnt: m.Failcnt, Limit: min(m.Limit, memory()), Stats: g.Memory.Raw}
	out.PidsStats = api.PidsStats{Current: g.Pids.Current, Limit: g.Pids.Limit}
	b := &g.Blkio
	out.BlkioStats = api.BlkioStats{
		IoServiceBytesRecursive: blkio(b.IoServiceBytesRecursive), IoServicedRecursive: blkio(b.IoServicedRecursive), IoQueuedRecursive: blkio(b.IoQueuedRecursive),
		IoServiceTimeRecursive: blkio(b.IoServiceTimeRecursive), IoWaitTimeRecursive: blkio(b.IoWaitTimeRecursive), IoMergedRecursive: blkio(b.IoMergedRecursive),
		IoTimeRecursive: blkio(b.IoTimeRecursive), SectorsRecursive: blkio(b.SectorsRecursive),
	}
}

func blkio(list []cgroup.BlkioEntry) []api.BlkioStatEntry {
	var out []api.BlkioStatEntry
	for _, e := range list {
		out = append(out, api.BlkioStatEntry{Major: e.Major, Minor: e.Minor, Op: e.Op, Value: e.Value})
	}
	return out
}

// memory is what the machine has.
func memory() uint64 {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return math.MaxUint64
	}
	return uint64(i.Totalram) * uint64(i.Unit)
}

// machine reads the time that all CPUs together have had since the start of the machine, in nanoseconds, and how many there are (proc_stat(5)).
func machine() (used uint64, cpus uint32) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	const tick = 1e9 / 100 // USER_HZ is 100 everywhere
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 8 || !strings.HasPrefix(f[0], "cpu") {
			continue
		}
		if f[0] != "cpu" {
			cpus++
			continue
		}
		for _, text := range f[1:8] { // what guests had is in the first two
			n, _ := strconv.ParseUint(text, 10, 64)
			used += n * tick
		}
	}
	return used, cpus
}

// interfaces reads what went through the network interfaces that a process sees, but for the loopback.
func interfaces(pid int) map[string]api.NetworkStats {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/dev")
	if err != nil {
		return nil
	}
	defer f.Close()
	var out map[string]api.NetworkStats
	for r := bufio.NewScanner(f); r.Scan(); {
		name, rest, ok := strings.Cut(r.Text(), ":")
		n := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || len(n) < 12 || name == "lo" {
			continue
		}
		number := func(i int) uint64 { v, _ := strconv.ParseUint(n[i], 10, 64); return v }
		if out == nil {
			out = map[string]api.NetworkStats{}
		}
		out[name] = api.NetworkStats{
			RxBytes: number(0), RxPackets: number(1), RxErrors: number(2), RxDropped: number(3), TxBytes: number(8), TxPackets: number(9), TxErrors: number(10), TxDropped: number(11),
		}
	}
	return out
}
