package cgroup

import (
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// counted is what the cpu controller has counted.
type counted struct{ used, periods, throttled int64 }

func (b *box) counted() counted {
	b.t.Helper()
	return counted{b.cpuTime(), b.key("nr_periods", "cpu.stat"), b.key("nr_throttled", "cpu.stat")}
}

// overPeriods lets the container run until so many periods more have ended, and returns what was counted meanwhile.
func (b *box) overPeriods(n int64) counted {
	b.t.Helper()
	from := b.counted()
	eventually(b.t, "periods of the quota end", func() bool { return b.counted().periods-from.periods >= n })
	to := b.counted()
	return counted{to.used - from.used, to.periods - from.periods, to.throttled - from.throttled}
}

// TestQuota: two busy threads get no more than the quota in each period, and are throttled. The kernel hands out slices of 5 ms, so that
// one for each CPU may be over (Documentation/scheduler/sched-bwc.rst), and looks at its ticks, between which an emulated CPU may stand for long.
// Without a quota the two would use 200 ms in each period.
func TestQuota(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "spin", "2")
		b.res.CPU = &specs.LinuxCPU{Quota: ptr(int64(20_000)), Period: ptr(uint64(100_000))}
		b.up()
		within := func(quota int64) {
			t.Helper()
			var c counted
			for range 10 { // until the machine lets the container have what it may
				c = b.overPeriods(15)
				most := (c.periods+2)*quota + 100_000
				if lab { // on a busy host
					most *= 2
				}
				if c.used > most {
					t.Errorf("quota %d µs: used %d µs in %d periods, at most %d are allowed", quota, c.used, c.periods, most)
				}
				if c.used >= c.periods*quota/2 && c.throttled > 0 {
					return
				}
			}
			t.Errorf("quota %d µs: used %d µs, throttled in %d of %d periods", quota, c.used, c.throttled, c.periods)
		}
		within(20_000)
		if r := b.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(35_000))}}); r.code != 0 {
			t.Fatal(r.err)
		}
		within(35_000)
		if r := b.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(10_000))}}); r.code != 0 {
			t.Fatal(r.err)
		}
		within(10_000)
	})
}

// TestPeriodAlone: an update of the period leaves the quota as it is, on both versions.
func TestPeriodAlone(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.res.CPU = &specs.LinuxCPU{Quota: ptr(int64(20_000)), Period: ptr(uint64(100_000))}
		b.up()
		want := func(quota, period string) {
			t.Helper()
			got := b.value("cpu.max", "cpu.cfs_quota_us")
			if !unified {
				got += " " + b.value("cpu.cfs_period_us")
			}
			if got != quota+" "+period {
				t.Errorf("quota and period %s, want %s %s", got, quota, period)
			}
		}
		for _, step := range []struct {
			cpu           specs.LinuxCPU
			quota, period string
		}{
			{specs.LinuxCPU{Period: ptr(uint64(50_000))}, "20000", "50000"},
			{specs.LinuxCPU{Quota: ptr(int64(40_000))}, "40000", "50000"},
			{specs.LinuxCPU{Quota: ptr(int64(-1))}, map[bool]string{true: "max", false: "-1"}[unified], "50000"},
			{specs.LinuxCPU{Quota: ptr(int64(30_000)), Period: ptr(uint64(60_000))}, "30000", "60000"},
		} {
			if r := b.update(&specs.LinuxResources{CPU: &step.cpu}); r.code != 0 {
				t.Fatal(r.err)
			}
			want(step.quota, step.period)
		}
		if d == units {
			reload(t)
			want("30000", "60000")
		}
	})
}

// TestBurst: after idling a container may use more than its quota, if the burst says so (Linux 5.14).
func TestBurst(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "bursts", "60", "400")
		b.res.CPU = &specs.LinuxCPU{Quota: ptr(int64(20_000)), Period: ptr(uint64(100_000)), Burst: ptr(uint64(20_000))}
		b.up()
		eventually(t, "a burst is counted", func() bool { return b.key("nr_bursts", "cpu.stat") > 0 })
		b.res.CPU.Burst = ptr(uint64(0))
		if r := b.update(&specs.LinuxResources{CPU: b.res.CPU}); r.code != 0 {
			t.Fatal(r.err)
		}
		before := b.key("nr_bursts", "cpu.stat")
		b.overPeriods(15)
		if after := b.key("nr_bursts", "cpu.stat"); after > before+1 {
			t.Errorf("without a burst: %d bursts, before %d", after, before)
		}
	})
}

// compete lets two containers run on one CPU and returns the CPU time that each used while both did.
func compete(t *testing.T, d driver, first, second *specs.LinuxCPU) (a, b int64) {
	t.Helper()
	var boxes [2]*box
	for i, cpu := range []*specs.LinuxCPU{first, second} {
		cpu.Cpus = "0"
		boxes[i] = newBox(t, d, "spin", "1")
		boxes[i].res.CPU = cpu
		boxes[i].up()
	}
	a, b = boxes[0].cpuTime(), boxes[1].cpuTime()
	eventually(t, "two seconds of CPU time", func() bool {
		time.Sleep(50 * time.Millisecond)
		return boxes[0].cpuTime()-a+boxes[1].cpuTime()-b > 2_000_000
	})
	return boxes[0].cpuTime() - a, boxes[1].cpuTime() - b
}

// TestShares: two containers share a CPU in the ratio of their shares, which v2 has as weights on a curve of its own.
func TestShares(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		for _, c := range []struct {
			shares  [2]uint64
			v1, v2  float64
			unified [2]string
		}{
			{shares: [2]uint64{512, 2048}, v1: 4, v2: 174.0 / 59},
			{unified: [2]string{"50", "200"}, v2: 4},
		} {
			cpus := [2]*specs.LinuxCPU{{}, {}}
			want := c.v1
			if unified {
				want = c.v2
			}
			if want == 0 {
				continue
			}
			if c.shares[0] != 0 {
				cpus[0].Shares, cpus[1].Shares = &c.shares[0], &c.shares[1]
			}
			var used [2]int64
			if c.unified[0] == "" {
				used[0], used[1] = compete(t, d, cpus[0], cpus[1])
			} else {
				used = competeUnified(t, d, c.unified)
			}
			if ratio := float64(used[1]) / float64(used[0]); ratio < want*0.7 || ratio > want*1.4 {
				t.Errorf("CPU time of %v %v: %d and %d µs: 1 to %.2f, want 1 to %.2f", c.shares, c.unified, used[0], used[1], ratio, want)
			}
		}
	})
}

func competeUnified(t *testing.T, d driver, weights [2]string) (used [2]int64) {
	t.Helper()
	var boxes [2]*box
	for i := range boxes {
		boxes[i] = newBox(t, d, "spin", "1")
		boxes[i].res.CPU = &specs.LinuxCPU{Cpus: "0"}
		boxes[i].res.Unified = map[string]string{"cpu.weight": weights[i]}
		boxes[i].up()
	}
	from := [2]int64{boxes[0].cpuTime(), boxes[1].cpuTime()}
	eventually(t, "two seconds of CPU time", func() bool {
		for i, b := range boxes {
			used[i] = b.cpuTime() - from[i]
		}
		return used[0]+used[1] > 2_000_000
	})
	return used
}

// TestIdle: an idle container gets next to nothing beside one that is not (Linux 5.15), and its share again when it is no more.
func TestIdle(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		idle, busy := compete(t, d, &specs.LinuxCPU{Idle: ptr(int64(1))}, &specs.LinuxCPU{})
		if idle*10 > busy {
			t.Errorf("idle: %d µs, beside %d µs", idle, busy)
		}
		b := newBox(t, d, "sleep")
		b.res.CPU = &specs.LinuxCPU{Idle: ptr(int64(1))}
		b.up()
		if r := b.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(0)), Shares: ptr(uint64(2048))}}); r.code != 0 {
			t.Fatal(r.err)
		}
		if got, weight := b.value("cpu.idle"), b.number("cpu.weight", "cpu.shares"); got != "0" || weight != map[bool]int64{true: 174, false: 2048}[unified] {
			t.Errorf("no more idle: cpu.idle %s, weight %d", got, weight)
		}
		if r := b.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(1))}}); r.code != 0 || b.value("cpu.idle") != "1" {
			t.Errorf("idle again: %s%s", b.value("cpu.idle"), r.err)
		}
	})
}

// TestCpuset: the process runs on the CPUs, and takes memory of the nodes, that it is given.
func TestCpuset(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.res.CPU = &specs.LinuxCPU{Cpus: "1", Mems: "0"}
		b.up()
		allowed := func(cpus string) {
			t.Helper()
			out := b.exec("try", "read:/proc/self/status").out
			for _, want := range []string{"|Cpus_allowed_list:\t" + cpus + "|", "|Mems_allowed_list:\t0|"} {
				if !strings.Contains(out, want) {
					t.Errorf("the process's status does not have %q: %s", want, out)
				}
			}
		}
		allowed("1")
		for _, cpus := range []string{"0", "0-1"} {
			if r := b.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: cpus}}); r.code != 0 {
				t.Fatal(r.err)
			}
			allowed(cpus)
		}
		if d == units {
			if r := b.update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "1"}}); r.code != 0 {
				t.Fatal(r.err)
			}
			reload(t)
			allowed("1")
		}
		newBad := newBox(t, d, "sleep")
		newBad.res.CPU = &specs.LinuxCPU{Cpus: "4000"}
		newBad.refused("linux.resources.cpu.cpus", "4000")
	})
}
