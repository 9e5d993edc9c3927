package cgroup

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestSameValue: what the kernel shows of what was written.
func TestSameValue(t *testing.T) {
	page := strconv.Itoa(os.Getpagesize())
	for _, v := range []struct {
		file, device, want, have string
		same                     bool
	}{
		{"pids.max", "", "5", "5\n", true},
		{"pids.max", "", "5", "max\n", false},
		{"memory.limit_in_bytes", "", "-1", "9223372036854771712\n", true},
		{"memory.limit_in_bytes", "", page + "1", "0\n", false},
		{"memory.max", "", "max", "max\n", true},
		{"memory.max", "", "4097", "4096\n", os.Getpagesize() == 4096},
		{"cpu.max", "", "max", "max 100000\n", true},
		{"cpu.max", "", "50000", "50000 100000\n", true},
		{"cpu.max", "", "50000 1000", "50000 100000\n", false},
		{"cpuset.cpus", "", "0,1,2", "0-2\n", true},
		{"cpuset.cpus", "", "0", "0-1\n", false},
		{"memory.oom_control", "", "1", "oom_kill_disable 1\nunder_oom 0\n", true},
		{"memory.oom_control", "", "1", "oom_kill_disable 0\nunder_oom 0\n", false},
		{"io.bfq.weight", "", "200", "default 200\n8:0 10\n", true},
		{"io.weight", "", "default 7", "default 100\n", false},
		{"blkio.throttle.read_bps_device", "8:0", "8:0 100", "8:0 100\n8:16 5\n", true},
		{"blkio.throttle.read_bps_device", "8:0", "8:0 100", "8:16 100\n", false},
		{"blkio.throttle.read_bps_device", "8:0", "8:0 0", "", true},
		{"io.max", "8:0", "8:0 rbps=5", "8:0 rbps=5 wbps=max riops=max wiops=max\n", true},
		{"io.max", "8:0", "8:0 rbps=max", "", true},
	} {
		if have, same := sameValue(&setting{file: v.file, device: v.device, value: v.want}, v.have); same != v.same {
			t.Errorf("%s: want %q, have %q: %v (%q)", v.file, v.want, v.have, same, have)
		}
	}
}

// TestCompareLive: a group as it was made has no difference, and each change of a file is one.
func TestCompareLive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	l, err := Detect()
	if err != nil || l.Mode == None {
		t.Skip("no cgroups here")
	}
	g, err := l.Open("/bulkhead-compare-"+strconv.Itoa(os.Getpid()), "x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	pids := int64(7)
	res := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &pids}, Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}
	if err := g.Create(res); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	differ := func() (out []string) {
		values, err := g.Compare(res)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if !v.Same || v.Err != nil {
				out = append(out, v.Field)
			}
		}
		if len(values) != 2 {
			t.Errorf("%+v", values)
		}
		return out
	}
	if d := differ(); len(d) > 0 {
		t.Errorf("new: %v", d)
	}
	eight := int64(8)
	if err := g.Update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &eight}, Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}); err != nil {
		t.Fatal(err)
	}
	if d := strings.Join(differ(), " "); d != "linux.resources.pids.limit linux.resources.devices" {
		t.Errorf("changed: %s", d)
	}
}

// TestCompareProgram: the program of the same rules is recognised, that of others and none are told.
func TestCompareProgram(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	g, err := l.Open("/bulkhead-program-"+strconv.Itoa(os.Getpid()), "x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Create(nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	d := g.unifiedDir()
	if d == nil || d.open() != nil {
		t.Skip("no unified hierarchy here")
	}
	one, _ := newFilter([]specs.LinuxDeviceCgroup{{Access: "rwm"}})
	all, _ := newFilter([]specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}})
	if g.mode != V2 {
		if text, err := compareProgram(d.fd, one); text != "no program is attached" {
			t.Errorf("%q, %v", text, err)
		}
	}
	if err := setFilter(d.fd, one); err != nil {
		t.Skip("device programs cannot be attached here: ", err)
	}
	if text, err := compareProgram(d.fd, one); text != "" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := compareProgram(d.fd, all); text != "the program of other rules" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
