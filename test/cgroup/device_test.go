package cgroup

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// device is a rule.
func device(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
	d := specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Access: access}
	if major >= 0 {
		d.Major = &major
	}
	if minor >= 0 {
		d.Minor = &minor
	}
	return d
}

// deviceBox may make every node, so that only the filter stands between it and the device.
func deviceBox(t *testing.T, d driver, rules ...specs.LinuxDeviceCgroup) *box {
	t.Helper()
	b := newBox(t, d, "sleep")
	caps := []string{"CAP_MKNOD", "CAP_SYS_RAWIO", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"}
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	b.res.Devices = rules
	b.spec.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/kmsg", Type: "c", Major: 1, Minor: 11}, {Path: "/dev/mem", Type: "c", Major: 1, Minor: 1}, {Path: "/dev/port", Type: "c", Major: 1, Minor: 4},
	}
	return b.up()
}

// opens checks which devices the container can open: step, outcome, step, outcome ...
func (b *box) opens(when string, pairs ...string) {
	b.t.Helper()
	args := []string{"try"}
	for i := 0; i < len(pairs); i += 2 {
		args = append(args, pairs[i])
	}
	out := b.exec(args...).out
	for i := 0; i < len(pairs); i += 2 {
		// ENXIO is the driver's word, or that of a kernel without it: the filter, which comes before, let it pass.
		if !strings.Contains(strings.ReplaceAll(out, " ENXIO\n", " ok\n"), pairs[i]+" "+pairs[i+1]+"\n") {
			b.t.Errorf("%s: want %s to give %s: %s", when, pairs[i], pairs[i+1], strings.ReplaceAll(out, "\n", "; "))
		}
	}
}

// TestDevices: allow, deny, wildcards, and the rules of a running container replaced as a whole, also where systemd filters beside us.
func TestDevices(t *testing.T) {
	none := device(false, "a", -1, -1, "rwm")
	each(t, func(t *testing.T, d driver) {
		b := deviceBox(t, d, none)
		b.opens("nothing allowed", "openr:/dev/kmsg", "EPERM", "openr:/dev/null", "ok", "openrw:/dev/zero", "ok")
		replace := func(when string, rules ...specs.LinuxDeviceCgroup) {
			t.Helper()
			if r := b.update(&specs.LinuxResources{Devices: append([]specs.LinuxDeviceCgroup{none}, rules...)}); r.code != 0 {
				t.Fatalf("%s: %s", when, r.err)
			}
		}
		replace("read", device(true, "c", 1, 11, "r"))
		b.opens("read", "openr:/dev/kmsg", "ok", "openw:/dev/kmsg", "EPERM", "openr:/dev/null", "ok")
		replace("write", device(true, "c", 1, 11, "w"))
		b.opens("write in the place of read", "openr:/dev/kmsg", "EPERM", "openw:/dev/kmsg", "ok")
		replace("wildcard", device(true, "c", 1, -1, "r"))
		b.opens("a wildcard", "openr:/dev/kmsg", "ok", "openw:/dev/kmsg", "EPERM", "openr:/dev/port", "ok")
		if unified { // v1 has no such thing
			replace("all but one", device(true, "c", 1, -1, "rw"), device(false, "c", 1, 11, "rw"))
			b.opens("all but one", "openr:/dev/kmsg", "EPERM", "openr:/dev/port", "ok")
		}
		replace("nothing")
		b.opens("nothing again", "openr:/dev/kmsg", "EPERM", "openr:/dev/port", "EPERM", "openr:/dev/null", "ok")
		if d == units {
			replace("read", device(true, "c", 1, 11, "r"))
			reload(t)
			b.opens("after a reload", "openr:/dev/kmsg", "ok", "openr:/dev/port", "EPERM")
		}
		if unified {
			if n := len(programsOf(t, lastDir(b.pid, ""))); n != 1 {
				t.Errorf("%d programs of ours on the cgroup, want one", n)
			}
		}
	})
}

// TestDeviceSwitch: while rules are replaced over and over, what is allowed before and after is never refused, and what is denied before and
// after never allowed.
func TestDeviceSwitch(t *testing.T) {
	none := device(false, "a", -1, -1, "rwm")
	b := deviceBox(t, files, none, device(true, "c", 1, 11, "r"))
	b.background("watch", "/dev/kmsg", "/dev/port", "/tmp/stop", "/tmp/said")
	for i := range 30 {
		rule := device(true, "c", 1, 11, map[bool]string{true: "r", false: "rw"}[i%2 == 0])
		if r := b.update(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{none, rule}}); r.code != 0 {
			t.Fatal(r.err)
		}
	}
	if out := b.exec("try", "create:/tmp/stop").out; !strings.Contains(out, "ok") {
		t.Fatal(out)
	}
	eventually(t, "the watcher ends", func() bool { return exists(b.dir + "/rootfs/tmp/said") })
	if said := read(t, b.dir+"/rootfs/tmp/said"); said != "0 0" {
		t.Errorf("refused, allowed by mistake: %s", said)
	}
}
