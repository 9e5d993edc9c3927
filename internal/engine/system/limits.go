package system

import (
	"slices"
	"strings"

	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"
)

// cgroupRoot is where the groups are.
const cgroupRoot = "/sys/fs/cgroup"

// limits says which limits there are, and warns of those there are not.
func limits(out *system.Info) {
	var st unix.Statfs_t
	unified := unix.Statfs(cgroupRoot, &st) == nil && int64(st.Type) == unix.CGROUP2_SUPER_MAGIC
	v1 := func(controller, file string) bool { return exists(cgroupRoot + "/" + controller + "/" + file) }
	if unified {
		out.CgroupVersion = "2"
		controllers := strings.Fields(read(cgroupRoot + "/cgroup.controllers"))
		has := func(c string) bool { return slices.Contains(controllers, c) }
		out.MemoryLimit, out.SwapLimit, out.PidsLimit, out.CPUSet = has("memory"), has("memory") && swapAccounted(), has("pids"), has("cpuset")
		out.CPUShares, out.CPUCfsPeriod, out.CPUCfsQuota = has("cpu"), has("cpu"), has("cpu")
	} else {
		out.CgroupVersion = "1"
		out.MemoryLimit, out.SwapLimit = v1("memory", "memory.limit_in_bytes"), v1("memory", "memory.memsw.limit_in_bytes")
		out.OomKillDisable, out.PidsLimit, out.CPUSet = v1("memory", "memory.oom_control"), v1("pids", ""), v1("cpuset", "cpuset.cpus")
		out.CPUShares, out.CPUCfsPeriod, out.CPUCfsQuota = v1("cpu", "cpu.shares"), v1("cpu", "cpu.cfs_period_us"), v1("cpu", "cpu.cfs_quota_us")
	}
	for _, w := range []struct {
		there bool
		text  string
	}{
		{out.MemoryLimit, "WARNING: No memory limit support"},
		{out.SwapLimit, "WARNING: No swap limit support"},
		{out.PidsLimit, "WARNING: No pids limit support"},
		{out.CPUCfsQuota, "WARNING: No cpu cfs quota support"},
		{out.CPUShares, "WARNING: No cpu shares support"},
		{out.CPUSet, "WARNING: No cpuset support"},
	} {
		if !w.there {
			out.Warnings = append(out.Warnings, w.text)
		}
	}
}

// swapAccounted reports whether the kernel counts swap: a group has the file if it does, the root one never.
func swapAccounted() bool {
	own := read("/proc/self/cgroup")
	_, path, ok := strings.Cut(own, "::")
	if !ok {
		return false
	}
	path, _, _ = strings.Cut(path, "\n")
	return exists(cgroupRoot+path+"/memory.swap.max") || path == "/" && exists("/proc/swaps")
}

// securityOptions are what confines containers here, in Docker's form.
func securityOptions() []string {
	out := []string{}
	modules := strings.Split(read("/sys/kernel/security/lsm"), ",")
	if read("/sys/module/apparmor/parameters/enabled") == "Y" {
		out = append(out, "name=apparmor")
	}
	out = append(out, "name=seccomp,profile=builtin")
	if exists("/sys/fs/selinux/enforce") {
		out = append(out, "name=selinux")
	}
	if slices.Contains(modules, "landlock") {
		out = append(out, "name=landlock")
	}
	for _, ns := range []struct{ file, option string }{{"user", "name=userns"}, {"cgroup", "name=cgroupns"}} {
		if exists("/proc/self/ns/" + ns.file) {
			out = append(out, ns.option)
		}
	}
	return append(out, "name=no-new-privileges", "name=level,default=hardened")
}
