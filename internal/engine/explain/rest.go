package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

type pointType = assemble.Point

func (o *origins) paths() {
	opts := &o.in.Result.Options
	for _, l := range []struct {
		kind        string
		have, usual []string
	}{{"mask", o.spec.Linux.MaskedPaths, o.base.Linux.MaskedPaths}, {"read-only", o.spec.Linux.ReadonlyPaths, o.base.Linux.ReadonlyPaths}} {
		for _, p := range l.have {
			o.differs(l.kind, p, slices.Contains(l.usual, p), "--security-opt "+l.kind+"="+p, o.reason(l.kind, p))
		}
		for _, p := range l.usual {
			if !slices.Contains(l.have, p) {
				o.add("not "+l.kind, p, o.flag(when(len(opts.Unmask) > 0, "--security-opt unmask="+strings.Join(opts.Unmask, ":"))), "given up: "+o.reason(l.kind, p))
			}
		}
	}
}

// reason is that of the default; thermal_throttle has one for all processors.
func (o *origins) reason(kind, p string) string {
	if r, ok := o.reasons[kind+" "+p]; ok || !strings.HasSuffix(p, "/thermal_throttle") {
		return r
	}
	return o.reasons[kind+" /sys/devices/system/cpu/cpu*/thermal_throttle"]
}

func (o *origins) devices() {
	for _, d := range rootfs.DefaultDevices() {
		o.add("device", fmt.Sprintf("%s %c %d:%d", d.Path, d.Type, d.Major, d.Minor), "runtime specification", "harmless, and every program expects it")
	}
	for _, d := range o.spec.Linux.Devices {
		if !o.in.Host.Privileged {
			o.add("device", fmt.Sprintf("%s %s %d:%d", d.Path, d.Type, d.Major, d.Minor), "--device", "")
		}
	}
	if o.in.Host.Privileged {
		o.add("device", fmt.Sprintf("all %d nodes of the host", len(o.spec.Linux.Devices)), "--privileged", "")
	}
}

// limits are what the runtime sets on the cgroup before there is a process in it.
func (o *origins) limits() {
	l, h := o.spec.Linux, &o.in.Host
	o.add("cgroup", l.CgroupsPath, o.flag(when(h.CgroupParent != "", "--cgroup-parent "+h.CgroupParent)), "its processes are counted, limited and killed together")
	r := l.Resources
	if r == nil {
		return
	}
	num := func(what string, v *int64, flag, reason string) {
		if v != nil {
			o.add("limit", fmt.Sprintf("%s %d", what, *v), flag, reason)
		}
	}
	if r.Pids != nil {
		usual := o.base.Linux.Resources != nil && h.PidsLimit == nil
		o.differs("limit", fmt.Sprintf("pids %d", *r.Pids.Limit), usual, "--pids-limit", "a fork bomb ends here; the host and its neighbours go on")
	}
	if m := r.Memory; m != nil {
		num("memory", m.Limit, "--memory", "")
		num("memory and swap", m.Swap, "--memory-swap, or twice --memory", "")
		num("memory reservation", m.Reservation, "--memory-reservation", "")
	}
	if c := r.CPU; c != nil {
		num("cpu quota", c.Quota, "--cpus, --cpu-quota", "")
		if c.Shares != nil {
			o.add("limit", fmt.Sprintf("cpu shares %d", *c.Shares), "--cpu-shares", "")
		}
		if c.Cpus != "" {
			o.add("limit", "processors "+c.Cpus, "--cpuset-cpus", "")
		}
	}
	if b := r.BlockIO; b != nil {
		o.add("limit", "disks", "--blkio-weight, --device-read-bps ...", "")
	}
	for _, d := range r.Devices {
		o.deviceRule(&d)
	}
}

func (o *origins) deviceRule(d *specs.LinuxDeviceCgroup) {
	number := func(n *int64) string {
		if n == nil {
			return "*"
		}
		return fmt.Sprint(*n)
	}
	what := map[bool]string{true: "allowed", false: "denied"}[d.Allow] + ": "
	if d.Type == "" && d.Major == nil {
		what += "all devices"
	} else {
		what += d.Type + " " + number(d.Major) + ":" + number(d.Minor)
	}
	usual := !d.Allow && d.Major == nil
	o.differs("devices", what+" "+d.Access, usual, o.flag("--device, --device-cgroup-rule"), when(usual, o.reasons["limit devices none"]))
}

func (o *origins) sysctls() {
	var keys []string
	for k := range o.spec.Linux.Sysctl {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		v := o.spec.Linux.Sysctl[k]
		o.differs("sysctl", k+"="+v, o.base.Linux.Sysctl[k] == v, "--sysctl "+k, o.reasons["sysctl "+k+"="+v])
	}
}
