package cgroup

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// apply writes the settings in order and returns how many were written. Those that may depend on a later one of the same controller are
// tried again after them.
func (g *Group) apply(settings []setting) (int, error) {
	var again []setting
	for i := range settings {
		s := &settings[i]
		err := g.write(s)
		if s.retry && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBUSY)) {
			again = append(again, *s)
			err = nil
		}
		if err != nil {
			return i, g.explain(s, err)
		}
		if i+1 == len(settings) || settings[i+1].controller != s.controller {
			for j := range again {
				if err := g.write(&again[j]); err != nil {
					return i + 1, g.explain(&again[j], err)
				}
			}
			again = again[:0]
		}
	}
	return len(settings), nil
}

// write makes one setting; its error is bare, for explain.
func (g *Group) write(s *setting) error {
	d := g.dirOf(s.controller)
	if d == nil {
		if s.optional {
			return nil
		}
		return errNoController
	}
	if err := d.open(); err != nil {
		return err
	}
	err := writeFile(d.fd, s.file, s.value)
	if err == nil || !errors.Is(err, unix.ENOENT) {
		return err
	}
	if s.or != nil {
		err = writeFile(d.fd, s.or.file, s.or.value)
	}
	if s.optional && errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

var errNoController = errors.New("no such controller")

// explain says what a failed setting means.
func (g *Group) explain(s *setting, err error) error {
	d := g.dirOf(s.controller)
	switch {
	case d == nil && g.rootless:
		return errdef.WithHint(errdef.Errorf(errdef.Denied, "%s: no permission to make a cgroup of controller %s", s.field, s.controller), rootlessHint)
	case d == nil:
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "%s: controller %s is not mounted", s.field, s.controller),
			"mount it, boot with the unified hierarchy, or remove the limit")
	case errors.Is(err, unix.ENOENT):
		return g.explainMissing(d, s)
	case denied(err):
		return errdef.WithHint(errdef.Errorf(errdef.Denied, "%s: %s of %s: %w", s.field, s.file, d.name(), err), rootlessHint)
	case errors.Is(err, unix.ENODEV) && s.device != "":
		return errdef.Errorf(errdef.Invalid, "%s: %s %q: no such device: %w", s.field, s.file, s.value, err)
	case errors.Is(err, unix.EBUSY) && s.controller == "memory":
		usage, _ := readFile(d.fd, "memory.usage_in_bytes")
		return errdef.Errorf(errdef.Conflict, "%s: %s %q: below what is in use (%s bytes): %w", s.field, s.file, s.value, strings.TrimSpace(usage), err)
	case errors.Is(err, unix.EINVAL) && s.file == "memory.limit_in_bytes":
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s: write %q to %s of %s: %w", s.field, s.value, s.file, d.name(), err),
			"the sum of memory and swap (linux.resources.memory.swap) in force is below it: change both")
	case errors.Is(err, unix.EOPNOTSUPP):
		return errdef.Errorf(errdef.Unsupported, "%s: %s %q: %w", s.field, s.file, s.value, err)
	}
	return errdef.Errorf(kindOf(err), "%s: write %q to %s of %s: %w", s.field, s.value, s.file, d.name(), err)
}

// since names the kernels that brought a file, where a reader may have an older one, or lost it.
var since = map[string]string{
	"cpu.idle": "kernel before 5.15?", "cpu.cfs_burst_us": "kernel before 5.14?", "cpu.max.burst": "kernel before 5.14?",
	"rdma.max": "kernel before 4.11?", "pids.max": "kernel before 4.3?", "memory.memsw.limit_in_bytes": "no swap accounting: boot with swapaccount=1",
	"memory.swap.max": "no swap accounting: boot with swapaccount=1", "blkio.leaf_weight": "gone with CFQ in kernel 5.0",
	"blkio.leaf_weight_device": "gone with CFQ in kernel 5.0", "blkio.weight": "no BFQ scheduler: load the module bfq",
	"blkio.weight_device": "no BFQ scheduler: load the module bfq", "io.bfq.weight": "neither BFQ (module bfq) nor CONFIG_BLK_CGROUP_IOCOST",
	"cpu.rt_runtime_us": "kernel without CONFIG_RT_GROUP_SCHED", "cpu.rt_period_us": "kernel without CONFIG_RT_GROUP_SCHED",
	"cpu.cfs_quota_us": "kernel without CONFIG_CFS_BANDWIDTH", "memory.kmem.tcp.limit_in_bytes": "kernel without it",
}

func (g *Group) explainMissing(d *dir, s *setting) error {
	if g.mode == V2 && s.controller != "" {
		text, _ := readFile(d.fd, "cgroup.controllers")
		if have := strings.Fields(text); !slices.Contains(have, s.controller) {
			return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "%s: controller %s is not delegated to %s, which has %q", s.field, s.controller, d.name(), have),
				"enable it in cgroup.subtree_control of the parent; systemd: Delegate="+s.controller+" for the unit above it")
		}
	}
	why := since[s.file]
	if why == "" {
		why = "this kernel does not have it"
	}
	names := s.file
	if s.or != nil {
		names += " nor " + s.or.file
		return errdef.Errorf(errdef.Unsupported, "%s: neither %s exists: %s", s.field, names, why)
	}
	return errdef.Errorf(errdef.Unsupported, "%s: %s does not exist: %s", s.field, names, why)
}

// applyDevices filters devices: by the v1 controller where it is mounted, else by a program on the v2 cgroup. A rootless caller has
// neither right: see the package comment.
func (g *Group) applyDevices(f *filter) error {
	err := g.filterDevices(f)
	if err != nil && g.rootless && (denied(err) || errdef.Is(err, errdef.Unsupported)) {
		return nil
	}
	return err
}

func (g *Group) filterDevices(f *filter) error {
	d := g.dirOf("devices")
	if d == nil {
		d = g.unifiedDir()
	}
	if d == nil {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "linux.resources.devices: controller devices is not mounted, and there is no cgroup2 hierarchy either"),
			"without one of them a container that may make device nodes can use every device of the host")
	}
	if err := d.open(); err != nil {
		return err
	}
	if d.unified() {
		return setFilter(d.fd, f)
	}
	list := "" // a directory that was just made has its parent's list: all of it goes
	if !d.fresh {
		var err error
		if list, err = readFile(d.fd, "devices.list"); err != nil {
			return errdef.Errorf(kindOf(err), "linux.resources.devices: devices.list: %w", err)
		}
	}
	writes, err := f.v1Writes(list)
	if err != nil {
		return err
	}
	return writeDevices(d, writes)
}

// writeDevices keeps the two files open over the many short writes.
func writeDevices(d *dir, writes []setting) error {
	open := map[string]int{}
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	for i := range writes {
		s := &writes[i]
		fd, ok := open[s.file]
		if !ok {
			var err error
			if fd, err = openFile(d.fd, s.file, unix.O_WRONLY); err != nil {
				return errdef.Errorf(kindOf(err), "%s: %s of %s: %w", s.field, s.file, d.name(), err)
			}
			open[s.file] = fd
		}
		if err := writeFD(fd, s.value); err != nil {
			return errdef.WithHint(errdef.Errorf(kindOf(err), "%s: write %q to %s of %s: %w", s.field, s.value, s.file, d.name(), err),
				"a cgroup cannot allow what the one above it denies")
		}
	}
	return nil
}

// update is Update with resources that are there.
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
	if g.unit.name != "" {
		if err := g.updateUnit(res, devices); err != nil {
			return err
		}
	}
	n, err := g.apply(settings)
	if err == nil && devices != nil {
		err = g.applyDevices(devices)
	}
	if err != nil {
		return g.restore(old, n, err)
	}
	return nil
}

// complete fills in what a v2 swap limit needs to know of the memory limit in force, since the specification's is the sum of both.
func (g *Group) complete(res *specs.LinuxResources) (*specs.LinuxResources, error) {
	m := res.Memory
	if g.mode != V2 || m == nil || value(m.Swap) <= 0 || value(m.Limit) != 0 {
		return res, nil
	}
	now, err := g.readNumber("memory", "memory.max")
	if err != nil {
		return nil, err
	}
	whole, memory := *res, *m
	memory.Limit = &now
	whole.Memory = &memory
	return &whole, nil
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
