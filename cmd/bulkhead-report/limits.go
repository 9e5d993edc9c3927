package main

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A limit is what one controller caps, by its file in each version of the cgroup file system.
type limit struct{ name, controller, v2, v1 string }

var limits = []limit{
	{"memory", "memory", "memory.max", "memory.limit_in_bytes"},
	{"swap", "memory", "memory.swap.max", "memory.memsw.limit_in_bytes"},
	{"pids", "pids", "pids.max", "pids.max"},
	{"cpu", "cpu", "cpu.max", "cpu.cfs_quota_us"},
	{"cpuset", "cpuset", "cpuset.cpus.effective", "cpuset.cpus"},
}

// unlimitedV1 is where version 1's memory limit begins to mean none: PAGE_COUNTER_MAX in bytes, less rounding.
const unlimitedV1 = 1 << 62

// cgroupLimits reads the limits that the container can see of itself.
func cgroupLimits(v view) []item {
	paths := cgroupPaths(v)
	var items []item
	for _, l := range limits {
		items = append(items, cgroupLimit(v, l, paths))
	}
	return items
}

// cgroupPaths maps a controller to its path in /proc/self/cgroup, "" standing for version 2; cgroups(7).
func cgroupPaths(v view) map[string]string {
	paths := map[string]string{}
	for _, line := range strings.Split(v.read("/proc/self/cgroup"), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		for _, controller := range strings.Split(f[1], ",") {
			paths[controller] = f[2]
		}
	}
	return paths
}

func cgroupLimit(v view, l limit, paths map[string]string) item {
	const root = "/sys/fs/cgroup"
	for _, file := range []string{
		root + "/" + paths[""] + "/" + l.v2, root + "/" + l.v2, root + "/unified/" + paths[""] + "/" + l.v2,
		root + "/" + l.controller + "/" + paths[l.controller] + "/" + l.v1, root + "/" + l.controller + "/" + l.v1,
	} {
		value := v.read(file)
		if value == "" {
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		unlimited := strings.HasPrefix(value, "max") || value == "-1" || err == nil && l.controller == "memory" && n >= unlimitedV1
		switch {
		case l.name == "cpuset":
			return item{l.name, value, fact}
		case unlimited && l.name == "swap":
			return item{l.name, "unlimited", fact} // memory's own limit is the wall
		case unlimited:
			return item{l.name, "unlimited", open}
		}
		return item{l.name, value + period(v, file), holds}
	}
	return item{l.name, "not visible", fact}
}

// period appends version 1's period, which version 2 has in the same file.
func period(v view, file string) string {
	if p, ok := strings.CutSuffix(file, "cpu.cfs_quota_us"); ok {
		return " " + v.read(p+"cpu.cfs_period_us")
	}
	return ""
}

var rlimitNames = []struct {
	name string
	id   int
}{
	{"as", unix.RLIMIT_AS},
	{"core", unix.RLIMIT_CORE},
	{"cpu", unix.RLIMIT_CPU},
	{"data", unix.RLIMIT_DATA},
	{"fsize", unix.RLIMIT_FSIZE},
	{"locks", unix.RLIMIT_LOCKS},
	{"memlock", unix.RLIMIT_MEMLOCK},
	{"msgqueue", unix.RLIMIT_MSGQUEUE},
	{"nice", unix.RLIMIT_NICE},
	{"nofile", unix.RLIMIT_NOFILE},
	{"nproc", unix.RLIMIT_NPROC},
	{"rss", unix.RLIMIT_RSS},
	{"rtprio", unix.RLIMIT_RTPRIO},
	{"rttime", unix.RLIMIT_RTTIME},
	{"sigpending", unix.RLIMIT_SIGPENDING},
	{"stack", unix.RLIMIT_STACK},
}

// rlimits prints the process's resource limits, soft:hard, getrlimit(2). A Go program raises its soft limit of descriptors as it starts,
// so that of nofile says nothing about the container.
func rlimits() []item {
	var items []item
	for _, r := range rlimitNames {
		var lim unix.Rlimit
		if err := unix.Getrlimit(r.id, &lim); err != nil {
			items = append(items, item{r.name, reason(err), fact})
			continue
		}
		if r.id == unix.RLIMIT_NOFILE {
			items = append(items, item{r.name, "hard limit " + rlimitText(lim.Max), fact})
			continue
		}
		items = append(items, item{r.name, rlimitText(lim.Cur) + ":" + rlimitText(lim.Max), fact})
	}
	return items
}

func rlimitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
