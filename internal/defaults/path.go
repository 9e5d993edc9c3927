package defaults

// masks are files and directories of procfs and sysfs that show the host to a container or give it a handle on it: Docker's and
// Podman's lists together, and more at the stricter levels. Kernel file system paths that do not exist are passed over by the runtime.
var masks = []wall{
	{"/proc/acpi", Compat, "the host's hardware, and on old kernels its sleep states"},
	{"/proc/asound", Compat, "the host's sound devices"},
	{"/proc/interrupts", Compat, "counts keystrokes and network packets of the host, a side channel"},
	{"/proc/kcore", Compat, "the host's memory as a file"},
	{"/proc/keys", Compat, "names of keys that belong to others"},
	{"/proc/latency_stats", Compat, "kernel functions that other processes wait in"},
	{"/proc/sched_debug", Compat, "all tasks of the host with their cgroups"},
	{"/proc/scsi", Compat, "takes commands that remove the host's disks (CVE-2017-16539)"},
	{"/proc/timer_list", Compat, "kernel addresses, and what else runs on the host"},
	{"/proc/timer_stats", Compat, "what else runs on the host"},
	{"/sys/devices/virtual/powercap", Compat, "energy counters that tell keys apart (CVE-2020-8694, PLATYPUS)"},
	{thermal, Compat, "counts how often a processor was throttled: tells what the neighbours do"},
	{"/sys/firmware", Compat, "ACPI tables, EFI variables, boot data of the host"},
	{"/sys/fs/selinux", Compat, "the policy's own interface"},
	{"/sys/dev/block", Compat, "the host's disks by number"},
	{"/proc/config.gz", Hardened, "tells an exploit what the kernel was built with"},
	{"/proc/kallsyms", Hardened, "kernel addresses, which an exploit needs"},
	{"/proc/kmsg", Hardened, "the kernel log: addresses, devices, other containers' faults"},
	{"/proc/modules", Hardened, "tells an exploit what is loaded and where"},
	{"/proc/pagetypeinfo", Hardened, "the page allocator's state, for shaping the heap"},
	{"/proc/slabinfo", Hardened, "the slab allocator's state, for shaping the heap"},
	{"/proc/vmallocinfo", Hardened, "kernel addresses"},
	{"/sys/class/dmi", Hardened, "serial numbers of the host"},
	{"/sys/devices/virtual/dmi", Hardened, "serial numbers of the host"},
	{"/sys/kernel/debug", Hardened, "debugfs: much of the kernel, never meant for production"},
	{"/sys/kernel/security", Hardened, "interfaces of the security modules"},
	{"/sys/kernel/tracing", Hardened, "what the whole host executes"},
}

// thermal stands for one directory per processor.
const thermal = "/sys/devices/system/cpu/cpu*/thermal_throttle"

// frozen are directories and files that stay readable but cannot be written: they change the host for everybody.
var frozen = []wall{
	{"/proc/bus", Compat, "configuration space of PCI devices"},
	{"/proc/fs", Compat, "settings of the host's file systems"},
	{"/proc/irq", Compat, "which processor serves which interrupt"},
	{"/proc/sys", Compat, "sysctls: core_pattern and modprobe are programs that the host's root runs"},
	{"/proc/sysrq-trigger", Compat, "restarts the machine"},
}

// A mount is one mount of the default tree.
type mount struct {
	grant
	kind, source, options string // options as mount(8) takes them, separated by commas
}

// mounts are the kernel's file systems and the temporary ones, in order.
var mounts = []mount{
	{grant{"/proc", Untrusted, "programs need it; of the container's own pid namespace, with masks"}, "proc", "proc", "nosuid,noexec,nodev"},
	{grant{"/dev", Untrusted, "an empty directory for the few harmless devices; no device of the image's"}, "tmpfs", "tmpfs", "nosuid,noexec,strictatime,mode=755,size=65536k"},
	{grant{"/dev/pts", Untrusted, "terminals of the container's own"}, "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{grant{"/dev/shm", Untrusted, "shared memory of the container's own, bounded"}, "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"},
	{grant{"/dev/mqueue", Hardened, "message queues of the container's own"}, "mqueue", "mqueue", "nosuid,noexec,nodev"},
	{grant{"/sys", Untrusted, "programs ask it for processors and interfaces; read-only"}, "sysfs", "sysfs", "nosuid,noexec,nodev,ro"},
	{grant{"/sys/fs/cgroup", Untrusted, "programs ask it for their limits; read-only, so that none is lifted (CVE-2022-0492)"}, "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"},
}

// scratch are what the untrusted level has in place of a root that can be written.
var scratch = []mount{
	{grant{"/tmp", Untrusted, "the root is read-only; bounded, nothing in it can be executed"}, "tmpfs", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"},
	{grant{"/run", Untrusted, "the root is read-only; bounded, nothing in it can be executed"}, "tmpfs", "tmpfs", "nosuid,noexec,nodev,mode=755,size=16384k"},
}

// sysctls are set in the container's own network namespace.
var sysctls = []struct {
	grant
	setting string
}{
	{grant{"net.ipv4.ping_group_range", Hardened, "ping without raw sockets; the groups that the container has"}, "0 65535"},
	{grant{"net.ipv4.ip_unprivileged_port_start", Untrusted, "a port below 1024 needs no root: the namespace is the container's own"}, "0"},
}

// modules are the security modules that a container is put under where the kernel has them, as annotations of the runtime's: the runtime specification
// has no fields for them. AppArmor is there or not, by the host's choice; what the kernel lacks of them is a warning; without best-effort it would be an error.
var modules = []module{
	{
		wall{"AppArmor", Hardened, "a profile of the container's own: nobody inside can mount, no signal and no trace reaches another container, and masks and read-only paths hold a second time (CVE-2025-31133)"},
		Untrusted, "io.bulkhead.apparmor", "generated,best-effort",
	},
	{
		wall{"AppArmor", Compat, "the profile that images are used to"},
		Compat, "io.bulkhead.apparmor", "default,best-effort",
	},
	{
		wall{"Landlock", Hardened, "nobody inside can mount, unmount or remount, whatever capabilities it gets hold of; no signal and no abstract socket leaves the container (CVE-2020-15257)"},
		Untrusted, "io.bulkhead.landlock", "fs,scope,best-effort",
	},
}

// A module is asked for by an annotation at the levels from one to the other.
type module struct {
	wall
	from                Level
	annotation, setting string
}

func (m *module) at(level Level) bool { return m.from <= level && level <= m.upTo }
