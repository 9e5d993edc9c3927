package main

import (
	"bufio"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// masked are files and directories that tell a container about the host or let it reach it; what each is good for stands with the
// default that masks it, in package defaults.
var masked = []string{
	"/proc/acpi", "/proc/asound", "/proc/config.gz", "/proc/interrupts", "/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/kmsg",
	"/proc/latency_stats", "/proc/modules", "/proc/pagetypeinfo", "/proc/sched_debug", "/proc/scsi", "/proc/slabinfo",
	"/proc/sysrq-trigger", "/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo", "/sys/class/dmi/id", "/sys/devices/virtual/dmi",
	"/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux", "/sys/kernel/debug", "/sys/kernel/security",
	"/sys/kernel/tracing", "/sys/dev/block",
}

// maskedPaths says of each path whether anything can be read from it.
func maskedPaths(v view) []item {
	var items []item
	for _, path := range masked {
		items = append(items, maskedPath(v, path))
	}
	return items
}

func maskedPath(v view, path string) item {
	// O_NONBLOCK: kmsg waits for the next message.
	f, err := os.OpenFile(v.path(path), os.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case os.IsNotExist(err):
		return item{path, "absent", holds}
	case err != nil:
		return item{path, reason(err), holds}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return item{path, reason(err), fact}
	}
	if info.IsDir() {
		names, _ := f.Readdirnames(1)
		if len(names) == 0 {
			return item{path, "empty directory", holds}
		}
		return item{path, "can be listed", open}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode()&os.ModeCharDevice != 0 && uint64(st.Rdev) == unix.Mkdev(1, 3) {
		return item{path, "/dev/null", holds}
	}
	if strings.HasSuffix(path, "sysrq-trigger") {
		return item{path, "exists", readonlyVerdict(v, path)}
	}
	n, err := f.Read(make([]byte, 64))
	if n > 0 {
		return item{path, "can be read", open}
	}
	if err != nil && err != io.EOF {
		return item{path, reason(err), holds}
	}
	return item{path, "empty", holds}
}

// frozen are files whose writing changes the host.
var frozen = []string{
	"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom", "/proc/sys/fs/binfmt_misc/register",
	"/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/bus/pci", "/proc/fs", "/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run", "/sys/power/state",
	"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/release_agent", "/proc/self/attr/current", "/proc/1/exe",
}

// readonlyPaths says of each path whether it could be opened for writing; nothing is written.
func readonlyPaths(v view) []item {
	var items []item
	for _, path := range frozen {
		verdict := readonlyVerdict(v, path)
		if strings.HasPrefix(path, "/proc/self/") {
			verdict = fact // one's own label is written by oneself
		}
		items = append(items, item{path, writable(v, path), verdict})
	}
	return items
}

func writable(v view, path string) string {
	// O_WRONLY without O_TRUNC and O_CREAT changes nothing; a directory gives EISDIR unless its mount is read-only, so look there.
	info, err := os.Stat(v.path(path))
	if err != nil {
		return reason(err)
	}
	if info.IsDir() {
		if err := unix.Access(v.path(path), unix.W_OK); err != nil {
			return reason(err)
		}
		return "can be written"
	}
	f, err := os.OpenFile(v.path(path), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return reason(err)
	}
	f.Close()
	return "can be written"
}

func readonlyVerdict(v view, path string) string {
	if writable(v, path) == "can be written" {
		return open
	}
	return holds
}

// harmless are the devices that a container has.
var harmless = map[string]uint64{
	"null": unix.Mkdev(1, 3), "zero": unix.Mkdev(1, 5), "full": unix.Mkdev(1, 7), "random": unix.Mkdev(1, 8), "urandom": unix.Mkdev(1, 9),
	"tty": unix.Mkdev(5, 0), "ptmx": unix.Mkdev(5, 2), "console": 0, // a terminal of any number
}

// devices lists /dev, one level deep: the harmless nodes, everything that is no device, and the rest by kind.
func devices(v view) []item {
	entries, err := os.ReadDir(v.path("/dev"))
	if err != nil {
		return []item{{"/dev", reason(err), fact}}
	}
	lists := map[string][]string{}
	for _, e := range entries {
		kind := deviceKind(e)
		lists[kind] = append(lists[kind], e.Name())
	}
	items := []item{
		{"harmless devices", orNone(strings.Join(lists["harmless"], " ")), fact},
		{"directories and links", orNone(strings.Join(lists["other"], " ")), fact},
	}
	for _, kind := range []string{"character", "block"} {
		i := item{kind + " devices", orNone(strings.Join(lists[kind], " ")), holds}
		if len(lists[kind]) > 0 {
			i.Verdict = open
		}
		items = append(items, i)
	}
	return items
}

// deviceKind is one of harmless, character, block, other.
func deviceKind(e os.DirEntry) string {
	info, err := e.Info()
	if err != nil {
		return "other"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || info.Mode()&os.ModeDevice == 0:
		return "other"
	case info.Mode()&os.ModeCharDevice == 0:
		return "block"
	}
	if number, known := harmless[e.Name()]; known && (number == 0 || number == uint64(st.Rdev)) {
		return "harmless"
	}
	return "character"
}

// mounts prints the mount table, proc_pid_mountinfo(5). A mount on which a setuid file or a device node works is a door unless a user
// namespace or no_new_privs makes it none, so it is only counted as a fact; a kernel file system that can be written is one.
func mounts(v view) []item {
	var items []item
	lines := bufio.NewScanner(strings.NewReader(v.read("/proc/self/mountinfo")))
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 2 {
			continue
		}
		i := item{unescape(f[4]), g[0] + " " + f[5], fact}
		if kernelFS[g[0]] {
			i.Verdict = holds
			if strings.HasPrefix(f[5]+",", "rw,") {
				i.Verdict = open
			}
		}
		items = append(items, i)
	}
	return items
}

// kernelFS are file systems through which the host is configured.
var kernelFS = map[string]bool{"sysfs": true, "cgroup": true, "cgroup2": true, "debugfs": true, "tracefs": true, "securityfs": true, "bpf": true, "configfs": true}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
