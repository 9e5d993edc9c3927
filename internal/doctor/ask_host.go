package doctor

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func number(n int) string { return strconv.Itoa(n) }

// nameOf finds the name of a user in passwd(5), "" if there is none.
func nameOf(passwd string, uid int) string {
	want := number(uid)
	for line := range strings.Lines(passwd) {
		f := strings.Split(line, ":")
		if len(f) > 3 && f[2] == want {
			return f[0]
		}
	}
	return ""
}

func (e *examiner) host(c *Caller) Host {
	var h Host
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Release, h.Machine = unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
	}
	release := readLink("/etc/os-release")
	if release == "" {
		release = readLink("/usr/lib/os-release")
	}
	h.Name = osRelease(release, "PRETTY_NAME")
	h.Family = familyOf(osRelease(release, "ID") + " " + osRelease(release, "ID_LIKE"))
	h.Container = inContainer()
	h.VM = inVM()
	return h
}

// osRelease returns a value of os-release(5).
func osRelease(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// initial are the inode numbers of the first namespaces, which the kernel has fixed: include/linux/proc_ns.h. Mount and network are not
// among them.
var initial = [...]struct{ name, inode string }{
	{"pid", "pid:[4026531836]"},
	{"cgroup", "cgroup:[4026531835]"},
	{"uts", "uts:[4026531838]"},
	{"user", "user:[4026531837]"},
}

// inContainer says how it is known that this is a container, "" if it is none: files that engines leave, or a namespace that is not the
// kernel's first.
func inContainer() string {
	for _, path := range []string{"/run/.containerenv", "/.dockerenv"} {
		if exists(path) {
			return path
		}
	}
	if name := read("/run/systemd/container"); name != "" {
		return "systemd says " + name
	}
	if name := os.Getenv("container"); name != "" {
		return "the environment says " + name
	}
	for _, ns := range initial {
		if link, err := os.Readlink("/proc/self/ns/" + ns.name); err == nil && link != ns.inode {
			return "its " + ns.name + " namespace is not the host's"
		}
	}
	return ""
}

// inVM says how it is known that the machine is virtual, "" if there is no sign of it.
func inVM() string {
	if kind := read("/sys/hypervisor/type"); kind != "" {
		return kind
	}
	for _, file := range []string{"sys_vendor", "product_name"} {
		v := read("/sys/class/dmi/id/" + file)
		for _, sign := range [...]string{
			"QEMU", "KVM", "VMware", "VirtualBox", "innotek", "Xen", "Bochs", "Parallels", "BHYVE", "Amazon EC2", "Google Compute", "OpenStack", "Virtual Machine",
			"HVM domU", "Apple Virtualization", "Firecracker",
		} {
			if strings.Contains(v, sign) {
				return v
			}
		}
	}
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if flags, ok := strings.CutPrefix(line, "flags"); ok {
			if strings.Contains(flags+" ", " hypervisor ") || strings.HasSuffix(strings.TrimSpace(flags), " hypervisor") {
				return "the processor says so"
			}
			return ""
		}
	}
	return ""
}

// vulnerable names the bugs of the processor that nothing mitigates (Documentation/ABI/testing/sysfs-devices-system-cpu).
func vulnerable(dir string) (names []string, known bool) {
	list, err := os.ReadDir(dir)
	if err != nil || len(list) == 0 {
		return nil, false
	}
	for _, entry := range list {
		if strings.HasPrefix(read(filepath.Join(dir, entry.Name())), "Vulnerable") {
			names = append(names, entry.Name())
		}
	}
	return names, true
}
