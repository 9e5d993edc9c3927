package cgroup

import (
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// update is Update with resources that are there. The control files come first, because they can be put back one by one; systemd, which
// takes all of its properties or none, comes after them, and rounds what it writes, so that they are written once more.
func (g *Group) update(res *specs.LinuxResources) error {
	res, err := g.complete(res)
	if err != nil {
		return err
	}
	settings, err := compile(g.mode, res)
	if err != nil {
		return err
	}
	var devices *filter
	if len(res.Devices) > 0 {
		if devices, err = newFilter(res.Devices); err != nil {
			return err
		}
	}
	if err := g.checkUsage(res.Memory); err != nil {
		return err
	}
	old := g.before(settings)
	n, err := g.apply(settings)
	if err == nil && g.unit.name != "" {
		if err = g.updateUnit(res, devices); err == nil {
			n, err = g.apply(settings)
		}
	}
	if err == nil && devices != nil {
		err = g.applyDevices(devices)
	}
	if err != nil {
		return g.restore(old, n, err)
	}
	return nil
}

// complete fills in what of the limits in force the new ones are to be read with: v2 has quota and period in one file, the specification's
// swap is the sum of memory and swap, and systemd knows a quota as a part of a second only.
func (g *Group) complete(res *specs.LinuxResources) (*specs.LinuxResources, error) {
	whole := *res
	if m := res.Memory; g.mode == V2 && m != nil && value(m.Swap) > 0 && value(m.Limit) == 0 {
		now, err := g.readNumber("memory", "memory.max")
		if errdef.Is(err, errdef.NotFound) {
			err = g.explain(&setting{field: "linux.resources.memory.swap", controller: "memory", file: "memory.max"}, unix.ENOENT)
		}
		if err != nil {
			return nil, err
		}
		memory := *m
		memory.Limit = &now
		whole.Memory = &memory
	}
	if cpu := res.CPU; cpu != nil && (value(cpu.Quota) == 0) != (value(cpu.Period) == 0) && (g.mode == V2 || g.unit.name != "") {
		quota, period, err := g.bandwidth()
		if err != nil {
			return nil, err
		}
		both := *cpu
		if value(both.Quota) == 0 {
			both.Quota = &quota
		} else {
			both.Period = &period
		}
		if period != 0 {
			whole.CPU = &both
		}
	}
	return &whole, nil
}

// bandwidth is the CPU quota, -1 for none, and the period in force, in microseconds; 0 where nothing counts CPU time.
func (g *Group) bandwidth() (quota int64, period uint64, err error) {
	d := g.dirOf("cpu")
	if d == nil {
		return 0, 0, nil
	}
	if err := d.open(); err != nil {
		return 0, 0, err
	}
	r := &reader{d: d}
	first, second, _ := strings.Cut(strings.TrimSpace(r.text("cpu.max")), " ")
	if !d.unified() {
		first, second = strings.TrimSpace(r.text("cpu.cfs_quota_us")), strings.TrimSpace(r.text("cpu.cfs_period_us"))
	}
	quota = -1
	if n, err := strconv.ParseInt(first, 10, 64); err == nil {
		quota = n
	}
	period, _ = strconv.ParseUint(second, 10, 64)
	return quota, period, r.err
}

// readNumber reads a file with one number; "max" is -1.
func (g *Group) readNumber(controller, file string) (int64, error) {
	d := g.dirOf(controller)
	if d == nil {
		return 0, errdef.Errorf(errdef.Unsupported, "%s: controller %s is not mounted", file, controller)
	}
	if err := d.open(); err != nil {
		return 0, err
	}
	text, err := readFile(d.fd, file)
	if err != nil {
		return 0, errdef.Errorf(kindOf(err), "%s of %s: %w", file, d.name(), err)
	}
	text = strings.TrimSpace(text)
	if text == "max" {
		return -1, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errdef.Errorf(errdef.Internal, "%s of %s: %w", file, d.name(), err)
	}
	return n, nil
}
