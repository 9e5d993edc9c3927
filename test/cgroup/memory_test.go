package cgroup

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// memory is a limit without swap.
func memory(limit int64) *specs.LinuxMemory {
	return &specs.LinuxMemory{Limit: &limit, Swap: &limit}
}

// TestMemoryLimit: who takes more than the limit is killed, and whoever looks is told why: the one who waits in the foreground, the state
// and the events.
func TestMemoryLimit(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "hold", "80000000")
		b.res.Memory = memory(40 * mib)
		r := b.run()
		if r.code != 137 || r.out != "" {
			t.Errorf("exit status %d, want 137: %s", r.code, r.out)
		}
		r.says(t, "out of memory", "41943040", b.id)
		b.res.Memory = memory(160 * mib)
		if r := b.run(); r.code != 0 || r.out != "held\n" || r.err != "" {
			t.Errorf("with enough of memory: exit status %d: %s%s", r.code, r.out, r.err)
		}
	})
}

// TestMemoryOfChild: that a child was killed is said, too, although the container ended well.
func TestMemoryOfChild(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "parent", "hold", "80000000")
		b.res.Memory = memory(40 * mib)
		r := b.run()
		if r.code != 0 || !strings.Contains(r.out, "child: signal: killed") {
			t.Errorf("exit status %d: %s%s", r.code, r.out, r.err)
		}
		r.says(t, "out of memory", "41943040")
		if unified { // memory.oom.group: all for one
			b.res.Unified = map[string]string{"memory.oom.group": "1"}
			if r := b.run(); r.code != 137 || r.out != "" {
				t.Errorf("memory.oom.group: exit status %d: %s%s", r.code, r.out, r.err)
			}
		}
	})
}

// An oomEvent is what events prints.
type oomEvent struct {
	Type, ID string
	Data     struct {
		Kills uint64 `json:"oom_kill"`
		Limit uint64 `json:"limit"`
		Cause string `json:"cause"`
	}
}

func TestMemoryEvents(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.res.Memory = memory(40 * mib)
		b.up()
		events := b.events("1h")
		b.background("hold", "80000000")
		var e oomEvent
		b.must(json.Unmarshal([]byte(events.line(t, `"oom"`)), &e))
		if e.Type != "oom" || e.ID != b.id || e.Data.Kills != 1 || e.Data.Limit != 40*mib || e.Data.Cause != "limit" {
			t.Errorf("%+v", e)
		}
		if s := b.state(); !s.OOMKilled || s.Status != specs.StateRunning {
			t.Errorf("state: %s, oomKilled %v", s.Status, s.OOMKilled)
		}
		c := newBox(t, d, "sleep")
		if c.up(); c.state().OOMKilled {
			t.Error("a container of which nobody was killed is oomKilled")
		}
	})
}

// TestMemoryAbove: the limit of a cgroup above is not the container's, and that is said.
func TestMemoryAbove(t *testing.T) {
	dir := parentGroup(t, "memory", "above")
	limit := filepath.Join(dir, map[bool]string{true: "memory.max", false: "memory.limit_in_bytes"}[unified])
	if err := os.WriteFile(limit, []byte("41943040"), 0); err != nil {
		t.Fatal(err)
	}
	b := newBox(t, files, "hold", "80000000")
	b.spec.Linux.CgroupsPath = "/" + prefix + "above/in"
	r := b.run()
	if r.code != 137 {
		t.Errorf("exit status %d: %s%s", r.code, r.out, r.err)
	}
	r.says(t, "out of memory", "not of the container's own limit")
}

// parentGroup makes a cgroup in the root, in every hierarchy, with the controller, and returns its directory in that one's.
func parentGroup(t *testing.T, controller, name string) string {
	t.Helper()
	roots := []string{"/sys/fs/cgroup"}
	if !unified {
		roots, _ = filepath.Glob("/sys/fs/cgroup/*")
	}
	found := ""
	for _, root := range roots {
		dir := filepath.Join(root, prefix+name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		if slices.Contains(strings.Split(filepath.Base(root), ","), controller) {
			found = dir
		}
	}
	if unified {
		found = "/sys/fs/cgroup/" + prefix + name
		if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+"+controller), 0); err != nil {
			t.Fatal(err)
		}
	}
	if found == "" {
		t.Skipf("controller %s is not mounted", controller)
	}
	return found
}

// TestMemoryTooSmall: a limit in which nothing can start is refused, and one in which the program cannot says so.
func TestMemoryTooSmall(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.res.Memory = memory(4096)
		b.refused("linux.resources.memory.limit", "4096", "out of memory")
		c := newBox(t, files, "hold", "4000000")
		c.res.Memory = memory(1 * mib)
		r := c.run()
		if r.code == 0 {
			t.Error("it runs")
		}
		r.says(t, "out of memory", "1048576")
	})
}

// TestSwap: the specification's swap is the sum of memory and swap. Swap itself is a file of this test.
func TestSwap(t *testing.T) {
	swapOn(t)
	each(t, func(t *testing.T, d driver) {
		for sum, want := range map[int64]int{64: 137, 140: 0} {
			b := newBox(t, d, "hold", "100000000")
			b.res.Memory = &specs.LinuxMemory{Limit: ptr(int64(40 * mib)), Swap: ptr(sum * mib)}
			if r := b.run(); r.code != want {
				t.Errorf("40 MiB, with swap %d MiB: exit status %d, want %d: %s", sum, r.code, want, r.err)
			}
		}
		b := newBox(t, d, "sleep")
		b.res.Memory = &specs.LinuxMemory{Limit: ptr(int64(40 * mib)), Swap: ptr(int64(100 * mib))}
		b.up()
		want := func(v1, v2 string) {
			t.Helper()
			if got := b.value("memory.swap.max", "memory.memsw.limit_in_bytes"); got != map[bool]string{true: v2, false: v1}[unified] {
				t.Errorf("limit of swap: %s, want %s on v1 and %s on v2", got, v1, v2)
			}
		}
		want("104857600", "62914560")
		if r := b.update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Swap: ptr(int64(50 * mib))}}); r.code != 0 {
			t.Fatal(r.err)
		}
		want("52428800", "10485760")
		if d == units {
			reload(t)
			want("52428800", "10485760")
		}
	})
}

// swapOn makes a swap file of 128 MiB: a page whose last ten bytes name the format (include/linux/swap.h, union swap_header).
func swapOn(t *testing.T) {
	t.Helper()
	if !lab {
		t.Skip("swap is turned on in the lab only")
	}
	path := filepath.Join(work, "swap")
	const size = 128 * mib
	header := make([]byte, 4096)
	binary.NativeEndian.PutUint32(header[1024:], 1)           // version
	binary.NativeEndian.PutUint32(header[1028:], size/4096-1) // last page
	copy(header[4086:], "SWAPSPACE2")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(header, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := swap(unix.SYS_SWAPON, path); err != nil {
		t.Fatalf("swapon: %v", err)
	}
	t.Cleanup(func() {
		if err := swap(unix.SYS_SWAPOFF, path); err != nil {
			t.Errorf("swapoff: %v", err)
		}
		os.Remove(path)
	})
}

// TestHigh: memory.high slows down who takes more, and kills nobody.
func TestHigh(t *testing.T) {
	if !unified {
		t.Skip("v1 has no memory.high")
	}
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "keep", "40000000")
		b.res.Unified = map[string]string{"memory.high": "33554432"}
		b.up()
		eventually(t, "memory.high is exceeded", func() bool { return b.key("high", "memory.events") > 0 })
		if n := b.key("oom_kill", "memory.events"); n != 0 {
			t.Errorf("%d processes were killed", n)
		}
	})
}

// TestLow: of two containers with as much page cache, which is free to be reclaimed, the one with a reservation keeps its own when the cgroup above
// has to give up some.
func TestLow(t *testing.T) {
	if !unified {
		t.Skip("the soft limit of v1 works when the whole machine is short of memory")
	}
	const size = 16 * mib
	dir := parentGroup(t, "memory", "low")
	disk := diskFile(t, size)
	boxes := map[string]*box{}
	for name, low := range map[string]int64{"a": 24 * mib, "b": 0} {
		b := newBox(t, files, "sleep")
		b.spec.Linux.CgroupsPath = "/" + prefix + "low/" + name
		b.mountDisk(disk)
		if low > 0 {
			b.res.Memory = &specs.LinuxMemory{Reservation: &low}
		}
		b.up()
		b.ok("exec", b.id, "/bin/inside", "cache", "/disk/"+name, strconv.Itoa(size))
		if n := b.key("file", "memory.stat"); n < size {
			t.Fatalf("page cache of %s: %d", name, n)
		}
		boxes[name] = b
	}
	// Above memory.high the kernel reclaims at once, and kills nobody.
	high := number(read(t, dir+"/memory.current")) - 10*mib
	if err := os.WriteFile(dir+"/memory.high", []byte(strconv.FormatInt(high, 10)), 0); err != nil {
		t.Fatal(err)
	}
	with, without := boxes["a"].key("file", "memory.stat"), boxes["b"].key("file", "memory.stat")
	if with < size-mib || without > with-4*mib {
		t.Errorf("page cache left of 16 MiB: %d with a reservation, %d without", with, without)
	}
	for _, b := range boxes { // before the cgroup above
		b.ok("delete", "--force", b.id)
	}
}
