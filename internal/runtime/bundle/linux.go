package bundle

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	maxMappings = 340  // lines of /proc/PID/uid_map, user_namespaces(7)
	maxMounts   = 8192 // the kernel's own limit is 100,000 for all mounts of a namespace (fs.mount-max)
	maxMajor    = 1<<12 - 1
	maxMinor    = 1<<20 - 1
	maxMode     = 0o177777 // mknod(2): type and permission bits
	maxNanos    = 1e9 - 1
	maxLink     = 15 // IFNAMSIZ less the NUL
)

var namespaceTypes = []specs.LinuxNamespaceType{
	specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.UserNamespace,
	specs.CgroupNamespace, specs.TimeNamespace,
}

func (c *checker) linux(l *specs.Linux) {
	c.userNamespace(l)
	c.timeNamespace(l)
	for i := range l.Devices {
		c.device(fieldAt("linux.devices", i), &l.Devices[i])
	}
	for key, value := range l.Sysctl {
		c.sysctl(key, value)
	}
	c.hiddenPaths("linux.maskedPaths", l.MaskedPaths)
	c.hiddenPaths("linux.readonlyPaths", l.ReadonlyPaths)
	if l.RootfsPropagation != "" {
		oneOf(c, "linux.rootfsPropagation", l.RootfsPropagation,
			[]string{"private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"})
	}
	c.line("linux.mountLabel", l.MountLabel)
	c.cgroupsPath(l.CgroupsPath)
	c.resources(l.Resources)
	c.seccomp(l.Seccomp)
	c.intelRdt(l.IntelRdt)
	c.memoryPolicy(l.MemoryPolicy)
	c.netDevices(l.NetDevices)
	if p := l.Personality; p != nil {
		oneOf(c, "linux.personality.domain", p.Domain, []specs.LinuxPersonalityDomain{specs.PerLinux, specs.PerLinux32})
		if len(p.Flags) > 0 {
			c.warn("linux.personality.flags", "the specification defines none, and they are ignored: %q", p.Flags)
		}
	}
}

func (c *checker) namespaces(l *specs.Linux) {
	for i, ns := range l.Namespaces {
		field := fieldAt("linux.namespaces", i)
		if !oneOf(c, field+".type", ns.Type, namespaceTypes) {
			return
		}
		if slices.ContainsFunc(l.Namespaces[:i], func(o specs.LinuxNamespace) bool { return o.Type == ns.Type }) {
			c.bad(field+".type", "keep one of them", "there are two %s namespaces", ns.Type)
			return
		}
		if ns.Path != "" {
			c.absolute(field+".path", ns.Path)
		}
	}
}

// userNamespace checks that a new user namespace has mappings, and nothing else has.
func (c *checker) userNamespace(l *specs.Linux) {
	path, ok := c.namespace(specs.UserNamespace)
	given := len(l.UIDMappings) > 0 || len(l.GIDMappings) > 0
	switch {
	case !ok && given:
		c.bad("linux.uidMappings", `drop it and gidMappings, or add {"type": "user"} to linux.namespaces`, "mappings need a user namespace")
	case !ok:
		return
	case path != "" && given:
		// containerd and CRI-O write both. Whether they agree is known once the namespace is open.
		c.warn("linux.uidMappings", "the user namespace at %q is joined and has mappings of its own, which these must equal", path)
	case path != "":
		return
	}
	c.mappings("linux.uidMappings", l.UIDMappings)
	c.mappings("linux.gidMappings", l.GIDMappings)
	if path != "" {
		return
	}
	const hint = "map 0: the root file system is made ready by the container's root"
	if !mapped(l.UIDMappings, 0) {
		c.bad("linux.uidMappings", hint, "user 0 is not mapped")
	}
	if !mapped(l.GIDMappings, 0) {
		c.bad("linux.gidMappings", hint, "group 0 is not mapped")
	}
}

// mappings checks what the kernel checks of /proc/PID/uid_map (user_namespaces(7)).
func (c *checker) mappings(field string, list []specs.LinuxIDMapping) {
	if len(list) == 0 {
		c.bad(field, `map at least one: {"containerID": 0, "hostID": 100000, "size": 65536}`, "is missing")
	}
	if len(list) > maxMappings {
		c.bad(field, "join ranges that touch", "want at most %d, found %d", maxMappings, len(list))
		return
	}
	for i, m := range list {
		at := fieldAt(field, i)
		if m.Size == 0 {
			c.bad(at+".size", "write how many are mapped", "want more than 0")
		}
		// 4294967295 itself is no user, so the last of a range is at most one less.
		if m.ContainerID+m.Size < m.ContainerID || m.HostID+m.Size < m.HostID {
			c.bad(at+".size", "lower it", "the range goes beyond 4294967294")
		}
		for j, o := range list[:i] {
			if overlap(m.ContainerID, m.Size, o.ContainerID, o.Size) || overlap(m.HostID, m.Size, o.HostID, o.Size) {
				c.bad(at, "map each identifier once", "overlaps %s", fieldAt(field, j))
			}
		}
	}
}

func overlap(a, aSize, b, bSize uint32) bool {
	return uint64(a) < uint64(b)+uint64(bSize) && uint64(b) < uint64(a)+uint64(aSize)
}

// timeNamespace checks the offsets of clocks (time_namespaces(7)).
func (c *checker) timeNamespace(l *specs.Linux) {
	if len(l.TimeOffsets) == 0 {
		return
	}
	path, ok := c.namespace(specs.TimeNamespace)
	if !ok {
		c.bad("linux.timeOffsets", `drop it, or add {"type": "time"} to linux.namespaces`, "needs a time namespace")
	}
	if path != "" {
		c.bad("linux.timeOffsets", "drop it, or the namespace's path", "a time namespace that is joined has its own")
	}
	for clock, o := range l.TimeOffsets {
		field := fieldKey("linux.timeOffsets", clock)
		oneOf(c, field, clock, []string{"monotonic", "boottime"})
		intRange(c, field+".nanosecs", o.Nanosecs, 0, maxNanos)
	}
}

func (c *checker) device(field string, d *specs.LinuxDevice) {
	c.absolute(field+".path", d.Path)
	oneOf(c, field+".type", d.Type, []string{"c", "b", "u", "p"})
	if d.Type != "p" {
		intRange(c, field+".major", d.Major, 0, maxMajor)
		intRange(c, field+".minor", d.Minor, 0, maxMinor)
	}
	if d.FileMode != nil {
		intRange(c, field+".fileMode", uint32(*d.FileMode), 0, maxMode)
	}
	if d.UID != nil && *d.UID == noID {
		c.bad(field+".uid", "choose another", "%d means \"no user\" to the kernel", *d.UID)
	}
	if d.GID != nil && *d.GID == noID {
		c.bad(field+".gid", "choose another", "%d means \"no group\" to the kernel", *d.GID)
	}
}

// hiddenPaths checks paths that are masked or made read-only; in the host's mount namespace that would hide them from the host.
func (c *checker) hiddenPaths(field string, paths []string) {
	if len(paths) > 0 && !c.has(specs.MountNamespace) {
		c.bad(field, `drop it, or add {"type": "mount"} to linux.namespaces`, "needs a mount namespace, or it would hide paths of the host")
	}
	for i, p := range paths {
		if !strings.HasPrefix(p, "/") || strings.IndexByte(p, 0) >= 0 {
			c.absolute(fieldAt(field, i), p)
		}
	}
}

// cgroupsPath checks a path, or for the systemd driver slice:prefix:name.
func (c *checker) cgroupsPath(path string) {
	const field = "linux.cgroupsPath"
	c.line(field, path)
	for part := range strings.SplitSeq(path, "/") {
		if part == ".." {
			c.bad(field, "write the path without ..", "%q leads out of itself", path)
		}
	}
}

// seccomp checks the frame; the filter is checked by whoever compiles it.
func (c *checker) seccomp(s *specs.LinuxSeccomp) {
	if s == nil {
		return
	}
	const field = "linux.seccomp."
	if s.DefaultAction == "" {
		c.bad(field+"defaultAction", "write what happens to calls without a rule, as in SCMP_ACT_ERRNO", "is missing")
	}
	c.cstring(field+"listenerPath", s.ListenerPath)
	if s.ListenerMetadata != "" && s.ListenerPath == "" {
		c.bad(field+"listenerMetadata", "drop it, or set listenerPath", "needs a listenerPath")
	}
	for i, call := range s.Syscalls {
		if len(call.Names) == 0 {
			c.bad(fieldAt(field+"syscalls", i)+".names", "name the system calls", "want at least one element")
		}
		if call.Action == "" {
			c.bad(fieldAt(field+"syscalls", i)+".action", "write what happens to the calls, as in SCMP_ACT_ALLOW", "is missing")
		}
	}
}

// intelRdt checks what is written to resctrl (config-linux.md, IntelRdt).
func (c *checker) intelRdt(r *specs.LinuxIntelRdt) {
	if r == nil {
		return
	}
	const field = "linux.intelRdt."
	c.line(field+"closID", r.ClosID)
	if id := r.ClosID; id == "." || id == ".." || id != "/" && strings.Contains(id, "/") {
		c.bad(field+"closID", "write the name of one directory, or / for the default class", "%q is not a name", id)
	}
	c.line(field+"l3CacheSchema", r.L3CacheSchema)
	c.line(field+"memBwSchema", r.MemBwSchema)
	for _, s := range []struct{ name, value, prefix string }{{"l3CacheSchema", r.L3CacheSchema, "L3"}, {"memBwSchema", r.MemBwSchema, "MB:"}} {
		if s.value != "" && !strings.HasPrefix(s.value, s.prefix) {
			c.bad(field+s.name, "see config-linux.md, IntelRdt", "want it to begin with %s, found %q", s.prefix, s.value)
		}
	}
	for i, s := range r.Schemata {
		if strings.ContainsAny(s, "\n\r\x00") {
			c.line(fieldAt(field+"schemata", i), s)
		}
	}
}

// memoryPolicy checks what set_mempolicy(2) would refuse.
func (c *checker) memoryPolicy(p *specs.LinuxMemoryPolicy) {
	if p == nil {
		return
	}
	const field = "linux.memoryPolicy."
	oneOf(c, field+"mode", p.Mode, []specs.MemoryPolicyModeType{
		specs.MpolDefault, specs.MpolBind, specs.MpolInterleave, specs.MpolWeightedInterleave, specs.MpolPreferred, specs.MpolPreferredMany,
		specs.MpolLocal,
	})
	for i, f := range p.Flags {
		oneOf(c, fieldAt(field+"flags", i), f, []specs.MemoryPolicyFlagType{specs.MpolFNumaBalancing, specs.MpolFRelativeNodes, specs.MpolFStaticNodes})
	}
	if slices.Contains(p.Flags, specs.MpolFRelativeNodes) && slices.Contains(p.Flags, specs.MpolFStaticNodes) {
		c.bad(field+"flags", "keep one of them", "nodes are either relative or static")
	}
	empty := !c.cpuList(field+"nodes", p.Nodes)
	switch p.Mode {
	case specs.MpolDefault, specs.MpolLocal:
		if !empty {
			c.bad(field+"nodes", "drop them", "%s takes no nodes", p.Mode)
		}
	case specs.MpolBind, specs.MpolInterleave, specs.MpolWeightedInterleave, specs.MpolPreferredMany:
		if empty {
			c.bad(field+"nodes", `name nodes, as in "0-1"`, "%s needs at least one node", p.Mode)
		}
	}
}

// netDevices checks names of network devices (dev_valid_name in net/core/dev.c).
func (c *checker) netDevices(devices map[string]specs.LinuxNetDevice) {
	if len(devices) == 0 {
		return
	}
	if !c.has(specs.NetworkNamespace) {
		c.bad("linux.netDevices", `add {"type": "network"} to linux.namespaces`, "needs a network namespace to move devices to")
	}
	targets := map[string]bool{}
	for host, d := range devices {
		field := fieldKey("linux.netDevices", host)
		c.linkName(field, host)
		name := host
		if d.Name != "" {
			c.linkName(field+".name", d.Name)
			name = d.Name
		}
		if targets[name] && !strings.Contains(name, "%d") {
			c.bad(field+".name", "choose another", "two devices would be named %q", name)
		}
		targets[name] = true
	}
}

func (c *checker) linkName(field, name string) {
	if name == "" || len(name) > maxLink || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r\x00") {
		c.bad(field, "it has 1 to 15 bytes, none of them space, / or :", "%q is no name of a network device", name)
	}
}
