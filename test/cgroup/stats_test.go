package cgroup

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestStats compares `events --stats` of a container that stands still, field by field, with the kernel's files.
func TestStats(t *testing.T) {
	if !unified {
		t.Skip("v1 is compared with runc, in test/conformance and test/script")
	}
	dir := diskFile(t, 2*mib)
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "forks", "5")
		b.mountDisk(dir)
		b.res.Memory = &specs.LinuxMemory{Limit: ptr(int64(64 * mib)), Swap: ptr(int64(100 * mib))}
		b.res.CPU = &specs.LinuxCPU{Quota: ptr(int64(30_000)), Period: ptr(uint64(100_000))}
		b.res.Pids = &specs.LinuxPids{Limit: ptr(int64(77))}
		b.up()
		b.exec("disk", "/disk/a", "read", "65536", "100")
		b.exec("disk", "/disk/b", "write", "65536", "100")
		b.exec("hold", "30000000")
		b.ok("pause", b.id)
		got := b.stillStats()
		at := func(path string) any {
			var v any = got
			for _, key := range strings.Split(path, ".") {
				m, ok := v.(map[string]any)
				if !ok {
					return nil
				}
				v = m[key]
			}
			return v
		}
		want := func(path string, n float64) {
			t.Helper()
			v, _ := at(path).(float64) // absent is 0
			if v != n {
				t.Errorf("%s: %v, the kernel says %v", path, v, n)
			}
		}
		cpu := func(key string) float64 { return 1000 * float64(b.key(key, "cpu.stat")) }
		want("cpu.usage.total", cpu("usage_usec"))
		want("cpu.usage.user", cpu("user_usec"))
		want("cpu.usage.kernel", cpu("system_usec"))
		want("cpu.throttling.periods", cpu("nr_periods")/1000)
		want("cpu.throttling.throttledPeriods", cpu("nr_throttled")/1000)
		want("cpu.throttling.throttledTime", cpu("throttled_usec"))
		want("memory.usage.limit", 64*mib)
		want("memory.usage.usage", float64(b.number("memory.current")))
		if b.file("memory.peak") != "" {
			want("memory.usage.max", float64(b.number("memory.peak")))
		}
		want("memory.usage.failcnt", float64(b.key("max", "memory.events")))
		want("memory.swap.limit", 100*mib)
		want("memory.swap.usage", float64(b.number("memory.current")+b.number("memory.swap.current")))
		want("memory.cache", float64(b.key("file", "memory.stat")))
		raw, _ := at("memory.raw").(map[string]any)
		lines := strings.Split(b.value("memory.stat"), "\n")
		if len(raw) != len(lines) {
			t.Errorf("memory.raw has %d keys, memory.stat %d", len(raw), len(lines))
		}
		for _, line := range lines {
			key, val, _ := strings.Cut(line, " ")
			if n, _ := raw[key].(float64); n != float64(number(val)) {
				t.Errorf("memory.raw.%s: %v, the kernel says %s", key, raw[key], val)
			}
		}
		want("pids.current", float64(b.number("pids.current")))
		want("pids.limit", 77)
		b.sameIO(at("blkio.ioServiceBytesRecursive"), "rbytes", "wbytes", "dbytes")
		b.sameIO(at("blkio.ioServicedRecursive"), "rios", "wios", "dios")
		for _, what := range []string{"cpu", "memory", "io"} {
			path := map[string]string{"io": "blkio"}[what]
			if path == "" {
				path = what
			}
			if b.file(what+".pressure") == "" {
				continue
			}
			for _, line := range strings.Split(b.value(what+".pressure"), "\n") {
				f := strings.Fields(line)
				total := strings.TrimPrefix(f[len(f)-1], "total=")
				want(path+".psi."+f[0]+".total", float64(number(total)))
			}
		}
		if v, ok := at("hugetlb").(map[string]any); b.file("hugetlb.2MB.max") != "" && (!ok || v["2MB"] == nil) {
			t.Errorf("hugetlb: %v", v)
		}
		if limit, _ := at("memory.usage.limit").(float64); limit >= math.MaxUint64 {
			t.Errorf("limit %v", limit)
		}
	})
}

// stillStats is the data of `events --stats`, asked for while the kernel's counters stood still. Those of a frozen container do not at once: the
// timer of the quota goes on for a while, and what the processors hold of charged memory in advance is given back some time.
func (b *box) stillStats() map[string]any {
	b.t.Helper()
	counters := func() string { return b.value("cpu.stat") + b.value("memory.current") + b.value("memory.stat") }
	var data map[string]any
	eventually(b.t, "the counters stand still", func() bool {
		before := counters()
		time.Sleep(150 * time.Millisecond)
		var event struct {
			Type, ID string
			Data     map[string]any
		}
		b.must(json.Unmarshal([]byte(b.ok("events", "--stats", b.id).out), &event))
		if data = event.Data; event.Type != "stats" || event.ID != b.id {
			b.t.Errorf("%s of %s", event.Type, event.ID)
		}
		return counters() == before
	})
	return data
}

// sameIO compares the entries of one counter with io.stat.
func (b *box) sameIO(got any, keys ...string) {
	b.t.Helper()
	want := map[string]float64{}
	ops := []string{"Read", "Write", "Discard"}
	for _, line := range strings.Split(b.value("io.stat"), "\n") {
		f := strings.Fields(line)
		for _, word := range f[min(1, len(f)):] {
			key, val, _ := strings.Cut(word, "=")
			for i, k := range keys {
				if n := number(val); k == key && n != 0 {
					want[f[0]+" "+ops[i]] = float64(n)
				}
			}
		}
	}
	have := map[string]float64{}
	list, _ := got.([]any)
	for _, e := range list {
		m, _ := e.(map[string]any)
		number := func(key string) float64 { n, _ := m[key].(float64); return n }
		if number("value") != 0 {
			have[fmt.Sprintf("%v:%v %v", number("major"), number("minor"), m["op"])] = number("value")
		}
	}
	if len(want) == 0 || !reflect.DeepEqual(have, want) {
		b.t.Errorf("%v: %v, the kernel says %v", keys, have, want)
	}
}

// TestEventsEnd: events prints one line each interval and ends with the container.
func TestEventsEnd(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.up()
		w := b.events("100ms")
		for range 3 {
			if line := w.line(t, `"stats"`); !strings.Contains(line, strconv.Quote(b.id)) {
				t.Error(line)
			}
		}
		b.ok("kill", b.id, "KILL")
		eventually(t, "events ends", func() bool { return !running(w.cmd.Process.Pid) })
	})
}
