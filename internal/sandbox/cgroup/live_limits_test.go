package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func TestLiveStatsAndOOM(t *testing.T) {
	g := newGroup(t, liveLayout(t))
	create(t, g, &specs.LinuxResources{
		Memory: &specs.LinuxMemory{Limit: ptr(int64(16 << 20)), Swap: ptr(int64(16 << 20))}, Pids: &specs.LinuxPids{Limit: ptr(int64(9))},
	})
	w, err := g.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := w.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait while nothing happens: %v", err)
	}
	// The second process eats four times what it may, and dies of it; the first lives on.
	start(t, g, "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; exec sleep 60")
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := w.Wait(ctx); err != nil {
		t.Errorf("wait for a process killed for memory: %v", err)
	}
	eventually(t, "the kernel counts it", func() bool { o, err := g.OOM(); return err == nil && o.Kills == 1 && o.Cause == CauseLimit })
	var s *Stats
	eventually(t, "one process is left, and counted", func() bool {
		pids, err := g.PIDs(false)
		if err == nil {
			s, err = g.Stats()
		}
		return err == nil && len(pids) == 1 && s.Pids.Current == 1
	})
	if s.Pids.Limit != 9 {
		t.Errorf("pids: %+v", s.Pids)
	}
	if s.Memory.Usage.Limit != 16<<20 || s.Memory.Usage.Usage == 0 || len(s.Memory.Raw) < 10 {
		t.Errorf("memory: %+v", s.Memory)
	}
	if s.CPU.Usage.Total == 0 {
		t.Errorf("cpu: %+v", s.CPU)
	}
	if err := g.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := g.Delete(context.Background()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the watch ends with the group", func() bool { return errdef.Is(w.Wait(ctx), errdef.NotFound) })
}

func TestLivePressure(t *testing.T) {
	l := liveLayout(t)
	g := newGroup(t, l)
	create(t, g, nil)
	if w, err := g.WatchPressure("extreme"); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("a level that is none: %v, %v", w, err)
	}
	w, err := g.WatchPressure(Critical)
	if errdef.Is(err, errdef.Unsupported) {
		t.Skip("this kernel has no pressure to watch: " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := w.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait without pressure: %v", err)
	}
}

// Files that younger kernels brought: there they are set, else the error names them.
func TestLiveYoungFiles(t *testing.T) {
	l := liveLayout(t)
	for _, c := range []struct {
		field, v1, v2, want string
		res                 *specs.LinuxResources
	}{
		{"linux.resources.cpu.idle", "cpu.idle", "cpu.idle", "1", &specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(1))}}},
		{
			"linux.resources.cpu.burst", "cpu.cfs_burst_us", "cpu.max.burst", "1000",
			&specs.LinuxResources{CPU: &specs.LinuxCPU{Burst: ptr(uint64(1000)), Quota: ptr(int64(20000))}},
		},
	} {
		g := newGroup(t, l)
		err := g.Create(c.res)
		if errdef.Is(err, errdef.Unsupported) && strings.Contains(err.Error(), c.field) {
			t.Logf("%s: not here: %v", c.field, err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.field, err)
			continue
		}
		if got := content(t, g, "cpu", pick(g, c.v1, c.v2)); got != c.want {
			t.Errorf("%s: %s, want %s", c.field, got, c.want)
		}
	}
}

// A controller that the machine lacks is no matter until something asks for it.
func TestLiveMissingController(t *testing.T) {
	l := liveLayout(t)
	for controller, res := range map[string]*specs.LinuxResources{
		"rdma":    {Rdma: map[string]specs.LinuxRdma{"x": {HcaHandles: ptr(uint32(1))}}},
		"net_cls": {Network: &specs.LinuxNetwork{ClassID: ptr(uint32(1))}},
		"hugetlb": {HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 0}}},
	} {
		if has(l, controller) {
			continue
		}
		g := newGroup(t, l)
		if err := g.Create(res); !errdef.Is(err, errdef.Unsupported) || !strings.Contains(err.Error(), controller) {
			t.Errorf("a limit of %s, which is not there: %v", controller, err)
		}
	}
}

func TestLiveThrottle(t *testing.T) {
	l := liveLayout(t)
	if !has(l, "blkio") && !has(l, "io") {
		t.Skip("no controller of block I/O")
	}
	disks, err := filepath.Glob("/sys/block/*/dev")
	if err != nil || len(disks) == 0 {
		t.Skip("the machine has no block device")
	}
	raw, err := os.ReadFile(disks[0])
	if err != nil {
		t.Fatal(err)
	}
	var dev specs.LinuxBlockIODevice
	if _, err := fmt.Sscanf(string(raw), "%d:%d", &dev.Major, &dev.Minor); err != nil {
		t.Fatal(err)
	}
	res := func(rate uint64) *specs.LinuxResources {
		return &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: dev, Rate: rate}}}}
	}
	g := newGroup(t, l)
	create(t, g, res(1<<20))
	read := func() string {
		return content(t, g, pick(g, "blkio", "io"), pick(g, "blkio.throttle.read_bps_device", "io.max"))
	}
	want := pick(g, deviceNumber(dev)+" 1048576", deviceNumber(dev)+" rbps=1048576 wbps=max riops=max wiops=max")
	if got := read(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	bad := res(2 << 20)
	bad.BlockIO.ThrottleReadBpsDevice = append(bad.BlockIO.ThrottleReadBpsDevice, specs.LinuxThrottleDevice{LinuxBlockIODevice: specs.LinuxBlockIODevice{Major: 4000}, Rate: 1})
	if err := g.Update(bad); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("a device that is not there: %v", err)
	}
	if got := read(); got != want {
		t.Errorf("after an update that failed: %q, want %q", got, want)
	}
	if err := g.Update(res(0)); err != nil || read() != "" {
		t.Errorf("limit taken away: %v, %q", err, read())
	}
}

// Below a threaded cgroup of v2 no process can be born.
func TestLiveThreadedParent(t *testing.T) {
	l := liveLayout(t)
	if l.Mode != V2 {
		t.Skip("only the unified hierarchy has threaded cgroups")
	}
	parent := newGroup(t, l)
	create(t, parent, nil)
	if err := os.WriteFile(filepath.Join(parent.dirs[0].name(), "cgroup.type"), []byte("threaded"), 0); err != nil {
		t.Fatal(err)
	}
	g, err := l.Open("/"+parent.dirs[0].path+"/x", "x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Create(nil); !errdef.Is(err, errdef.Conflict) || !strings.Contains(err.Error(), "domain invalid") {
		t.Errorf("below a threaded cgroup: %v", err)
	}
}

// A container with a writable cgroup file system can make cgroups as deep and as wide as it likes.
func TestLiveDeepAndWide(t *testing.T) {
	l := liveLayout(t)
	g := newGroup(t, l)
	create(t, g, nil)
	d := g.listing()
	deep := d.name()
	for range 120 {
		deep += "/d"
		if err := os.Mkdir(deep, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		if err := os.Mkdir(fmt.Sprintf("%s/w%d", d.name(), i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := start(t, g, "exec sleep 60")
	if err := os.WriteFile(deep+"/cgroup.procs", []byte(fmt.Sprint(cmd.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.PIDs(true); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("pids: %v, %v, want %d, 120 levels down", pids, err, cmd.Process.Pid)
	}
	if err := g.Kill(context.Background()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := g.Delete(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Logf("removed 420 cgroups in %v", time.Since(begin))
	if g.Exists() {
		t.Error("it is still there")
	}
}
