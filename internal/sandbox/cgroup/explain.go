package cgroup

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

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
	case denied(err) && !g.rootless:
		return errdef.Errorf(errdef.Denied, "%s: %s of %s cannot be written: %w", s.field, s.file, d.name(), err)
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
	if d.unified() && s.controller != "" {
		text, _ := readFile(d.fd, "cgroup.controllers")
		if have := strings.Fields(text); !slices.Contains(have, s.controller) {
			return g.explainController(d, s, have)
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

// explainController says why a controller of v2 has no files in the group's directory, and what gives it some.
func (g *Group) explainController(d *dir, s *setting, have []string) error {
	if d.openRoot() == nil {
		if text, err := readFile(d.root, "cgroup.controllers"); err == nil && !slices.Contains(strings.Fields(text), s.controller) {
			why, hint := absentController(s.controller)
			err := errdef.Errorf(errdef.Unsupported, "%s: controller %s is not in the unified hierarchy: %s", s.field, s.controller, why)
			return errdef.WithHint(err, hint)
		}
	}
	err := errdef.Errorf(errdef.Unsupported, "%s: controller %s is not delegated to %s, which has %q", s.field, s.controller, d.name(), have)
	return errdef.WithHint(err, delegation(d, s.controller))
}

// absentController looks the controller up in /proc/cgroups: name, hierarchy (0: none of v1), number of cgroups, enabled.
func absentController(controller string) (why, hint string) {
	name := controller
	if name == "io" {
		name = "blkio" // as v1 calls it
	}
	text, _ := readProc("/proc/cgroups")
	for _, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] != name {
			continue
		}
		switch {
		case f[3] == "0":
			return "it is switched off", "take cgroup_disable=" + name + " off the kernel's command line"
		case f[1] != "0":
			return "a cgroup v1 hierarchy has it", "unmount that (see /proc/mounts), or boot with cgroup_no_v1=" + name
		}
	}
	return "this kernel has no such controller", "remove the limit"
}

// managed are the controllers that systemd hands down (systemd.resource-control(5), Delegate=); of the others it does not know.
var managed = []string{"cpu", "cpuset", "io", "memory", "pids"}

// delegation is the command that gives the controller to the group's directory: systemd's drop-in where the directory is a user's, else a
// write at the topmost cgroup that has the controller and does not hand it down.
func delegation(d *dir, controller string) string {
	_, rest, found := strings.Cut(d.path, "user@")
	uid, _, ok := strings.Cut(rest, ".service/")
	if found && ok && slices.Contains(managed, controller) {
		return "as root: mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=" + strings.Join(managed, " ") +
			"\\n' >/etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload && systemctl restart user@" + uid + ".service"
	}
	at := ""
	parts := strings.Split(d.path, "/")
	for i := range parts {
		at = strings.TrimSuffix(d.mount+"/"+strings.Join(parts[:i], "/"), "/")
		text, _ := readProc(at + "/cgroup.subtree_control")
		if !slices.Contains(strings.Fields(text), controller) {
			break
		}
	}
	return "as root: echo +" + controller + " >" + at + "/cgroup.subtree_control"
}
