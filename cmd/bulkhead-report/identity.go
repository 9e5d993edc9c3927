package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstNamespaces are the inode numbers of the namespaces that the machine started with: include/uapi/linux/nsfs.h, fixed since
// kernel 3.8, mnt and net since 6.18.
var firstNamespaces = map[string]uint64{
	"ipc": 0xEFFFFFFF, "uts": 0xEFFFFFFE, "user": 0xEFFFFFFD, "pid": 0xEFFFFFFC, "cgroup": 0xEFFFFFFB, "time": 0xEFFFFFFA, "net": 0xEFFFFFF9, "mnt": 0xEFFFFFF8,
}

// parseHost reads `pid=4026531836,net=...`; what it does not name keeps the kernel's fixed number.
func parseHost(list string) (map[string]uint64, error) {
	numbers := map[string]uint64{}
	for name, n := range firstNamespaces {
		numbers[name] = n
	}
	if list == "" {
		return numbers, nil
	}
	for _, entry := range strings.Split(list, ",") {
		name, value, _ := strings.Cut(entry, "=")
		if _, known := firstNamespaces[name]; !known {
			return nil, fmt.Errorf("%q: no such namespace", name)
		}
		value = strings.TrimSuffix(strings.TrimPrefix(value, name+":["), "]")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is no inode number", name, value)
		}
		numbers[name] = n
	}
	return numbers, nil
}

// namespaces compares the process's namespaces with the host's.
func namespaces(v view, host map[string]uint64) []item {
	var items []item
	for _, name := range []string{"user", "pid", "net", "mnt", "uts", "ipc", "cgroup", "time"} {
		link, err := os.Readlink(v.path("/proc/self/ns/" + name))
		if err != nil {
			items = append(items, item{name, "not visible: " + reason(err), fact})
			continue
		}
		inode := strings.TrimSuffix(strings.TrimPrefix(link, name+":["), "]")
		n, err := strconv.ParseUint(inode, 10, 64)
		switch {
		case err != nil:
			items = append(items, item{name, link, fact})
		case n == host[name]:
			items = append(items, item{name, inode + " the host's", open})
		default:
			items = append(items, item{name, inode + " its own", holds})
		}
	}
	return items
}

// identity says who the process is, inside and outside.
func identity(v view) []item {
	uid := item{"user", fmt.Sprintf("uid %d gid %d groups %s", os.Getuid(), os.Getgid(), orNone(v.status()["Groups"])), fact}
	items := []item{uid}
	for _, name := range []string{"uid_map", "gid_map"} {
		var ranges []string
		verdict := holds
		for _, line := range strings.Split(v.read("/proc/self/"+name), "\n") {
			f := strings.Fields(line)
			if len(f) != 3 {
				continue
			}
			ranges = append(ranges, fmt.Sprintf("%s is %s outside (%s ids)", f[0], f[1], f[2]))
			if f[1] == "0" {
				verdict = open // root of the parent namespace is among them
			}
		}
		items = append(items, item{name, orNone(strings.Join(ranges, ", ")), verdict})
	}
	return append(items,
		item{"setgroups", orNone(v.read("/proc/self/setgroups")), fact},
		item{"hostname", orNone(v.read("/proc/sys/kernel/hostname")), fact},
		item{"kernel", orNone(v.read("/proc/sys/kernel/osrelease")), fact},
		process1(v))
}

// process1 says what program is pid 1 of the container: on CVE-2019-5736 it was a writable file of the host.
func process1(v view) item {
	exe, err := os.Readlink(v.path("/proc/1/exe"))
	if err != nil {
		return item{"/proc/1/exe", "not visible: " + reason(err), fact}
	}
	return item{"/proc/1/exe", exe, fact}
}

// capabilityNames are the names of capability(7) by number.
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// wideCapabilities open large parts of the kernel to whoever holds them, even inside a user namespace.
var wideCapabilities = map[string]bool{
	"DAC_READ_SEARCH": true, "NET_ADMIN": true, "NET_RAW": true, "SYS_MODULE": true, "SYS_RAWIO": true, "SYS_PTRACE": true, "SYS_ADMIN": true,
	"SYS_BOOT": true, "SYS_TIME": true, "MKNOD": true, "MAC_ADMIN": true, "MAC_OVERRIDE": true, "SYSLOG": true, "PERFMON": true, "BPF": true,
}

// capabilities prints the five sets. What makes a set a door: a capability of wideCapabilities in the bounding, permitted or effective
// set; anything at all in the inheritable or ambient set, which survive an execve (CVE-2022-24769).
func capabilities(v view) []item {
	status := v.status()
	var items []item
	for _, set := range []struct{ name, field string }{
		{"bounding", "CapBnd"}, {"permitted", "CapPrm"}, {"effective", "CapEff"}, {"inheritable", "CapInh"}, {"ambient", "CapAmb"},
	} {
		bits, err := strconv.ParseUint(status[set.field], 16, 64)
		if err != nil {
			items = append(items, item{set.name, "not visible", fact})
			continue
		}
		names, wide := capabilityList(bits)
		verdict := holds
		if wide || bits != 0 && (set.name == "inheritable" || set.name == "ambient") {
			verdict = open
		}
		items = append(items, item{set.name, names, verdict})
	}
	return items
}

// capabilityList names the bits of a set, and says whether any of them is wide.
func capabilityList(bits uint64) (names string, wide bool) {
	var list []string
	for i := range 64 {
		if bits&(1<<i) == 0 {
			continue
		}
		name := strconv.Itoa(i)
		if i < len(capabilityNames) {
			name = capabilityNames[i]
		}
		list = append(list, name)
		wide = wide || wideCapabilities[name]
	}
	return orNone(strings.Join(list, " ")), wide
}

// confinement is what holds whatever the process's rights are: no_new_privs, seccomp, Landlock, the security modules.
func confinement(v view) []item {
	status := v.status()
	items := []item{flagItem("no_new_privs", status["NoNewPrivs"], "1")}
	mode := map[string]string{"0": "off", "1": "strict", "2": "filter"}[status["Seccomp"]]
	seccomp := item{"seccomp", orNone(mode) + ", filters: " + orNone(status["Seccomp_filters"]), holds}
	if status["Seccomp"] == "0" {
		seccomp.Verdict = open
	}
	items = append(items, seccomp)
	items = append(items, landlock())
	for _, lsm := range []struct{ name, file string }{
		{"apparmor", "/proc/self/attr/apparmor/current"}, {"label", "/proc/self/attr/current"},
	} {
		label := v.read(lsm.file)
		i := item{lsm.name, orNone(label), fact}
		if label == "unconfined" {
			i.Verdict = open
		}
		items = append(items, i)
	}
	return append(items, item{"yama ptrace scope", orNone(v.read("/proc/sys/kernel/yama/ptrace_scope")), fact})
}

func flagItem(name, value, want string) item {
	if value == want {
		return item{name, "on", holds}
	}
	return item{name, "off", open}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// landlock says whether the process is in a domain of Landlock, by trying: the kernel shows it nowhere.
func landlock() item {
	// landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION): landlock(7).
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)
	if errno != 0 {
		return item{"landlock", "not available: " + errnoName(errno), fact}
	}
	i := item{"landlock", fmt.Sprintf("ABI %d", abi), fact}
	switch n, err := landlockDomains(); {
	case err != nil:
		i.Value += ", not to be told: " + err.Error()
	case n == 0:
		i.Value, i.Verdict = i.Value+", no domain", open
	default:
		i.Value, i.Verdict = fmt.Sprintf("%s, domains: %d", i.Value, n), holds
	}
	return i
}
