package bundle

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
)

// mount checks one entry of mounts (config.md, Mounts).
func (c *checker) mount(i int, m *specs.Mount) {
	field := fieldAt("mounts", i)
	switch {
	case m.Destination == "":
		c.bad(field+".destination", "say where to mount it", "is missing")
		return
	case m.Destination[0] != '/':
		c.warn(field+".destination", "%q is relative, and is taken as relative to /", m.Destination)
	}
	c.cstring(field+".destination", m.Destination)
	if _, err := rootfs.CleanDestination(m.Destination); err != nil {
		c.bad(field+".destination", "shorten it", "%w", err)
	}
	c.cstring(field+".type", m.Type)
	c.cstring(field+".source", m.Source)
	c.cstrings(field+".options", m.Options)
	o, err := rootfs.ParseOptions(m.Type, m.Options)
	if err != nil {
		c.bad(field+".options", "see mount(8) and config.md, Mounts", "%w", err)
		return
	}
	if len(o.Ignored) > 0 {
		c.warn(field+".options", "%q are options of a file system, and mean nothing to a bind mount", o.Ignored)
	}
	switch {
	case o.Bind && m.Source == "" && !o.Remount:
		c.bad(field+".source", "name the file or directory to bind", "a bind mount needs a source")
	case !o.Bind && m.Type == "" && !o.Remount:
		c.bad(field+".type", `name a file system, or add "bind" to the options`, "is missing")
	}
	c.idmap(field, m, &o)
}

// idmap checks the mappings of a mount. With none of its own, idmap takes those of the container's user namespace.
func (c *checker) idmap(field string, m *specs.Mount, o *rootfs.Options) {
	own := len(m.UIDMappings) > 0 || len(m.GIDMappings) > 0
	if !own && !o.IDMap {
		return
	}
	if !o.Bind {
		c.bad(field+".options", "bind a directory instead", "only bind mounts are idmapped")
	}
	if own {
		c.mappings(field+".uidMappings", m.UIDMappings)
		c.mappings(field+".gidMappings", m.GIDMappings)
		return
	}
	if !c.has(specs.UserNamespace) {
		c.bad(field+".uidMappings", "add uidMappings and gidMappings to the mount", "are missing, and the container has no user namespace to take them from")
	}
}

// ipcSysctls belong to the IPC namespace, besides fs.mqueue.* (ipc_namespaces(7)).
var ipcSysctls = []string{
	"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
}

// SysctlName returns the name of a sysctl with dots between its parts and slashes for the dots inside of them. A key whose first separator
// is a slash is the other way round (sysctl.d(5)): net/ipv4/conf/eth0.100/rp_filter is net.ipv4.conf.eth0/100.rp_filter.
func SysctlName(key string) string {
	i := strings.IndexAny(key, "./")
	if i < 0 || key[i] == '.' {
		return key
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, key)
}

// sysctl allows only what a namespace of the container holds: /proc/sys is one tree for the host and all containers otherwise.
func (c *checker) sysctl(key, value string) {
	field := fieldKey("linux.sysctl", key)
	const spelling = "letters, digits and _ - . / : @ make a name, and these and spaces, tabs and commas a value"
	name := SysctlName(key)
	if !sysctlSpelling(name) {
		c.bad(field, spelling, "%q is no name of a sysctl", key)
		return
	}
	if strings.ContainsFunc(value, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("_-.:@, \t", r) }) {
		c.bad(field, spelling, "the value %q holds characters that no sysctl of a container has", value)
		return
	}
	switch {
	case slices.Contains(ipcSysctls, name), strings.HasPrefix(name, "fs.mqueue."):
		c.sysctlNeeds(field, specs.IPCNamespace)
	case strings.HasPrefix(name, "net."):
		c.sysctlNeeds(field, specs.NetworkNamespace)
	case strings.HasPrefix(name, "user."):
		c.sysctlNeeds(field, specs.UserNamespace)
	case name == "kernel.domainname":
		c.sysctlNeeds(field, specs.UTSNamespace)
		if c.spec.Domainname != "" {
			c.bad(field, "drop it", "domainname is set, too")
		}
	case name == "kernel.hostname":
		c.bad(field, "set hostname", "the specification has a field of its own for it")
	default:
		c.bad(field, "set it on the host, or drop it", "no namespace holds it, so it would change the host")
	}
}

func (c *checker) sysctlNeeds(field string, t specs.LinuxNamespaceType) {
	if !c.has(t) {
		c.bad(field, `drop it, or add {"type": "`+string(t)+`"} to linux.namespaces`, "needs a namespace of type %s, or it would change the host", t)
	}
}

// sysctlSpelling reports whether a name, as SysctlName returns it, is made of parts that are file names.
func sysctlSpelling(name string) bool {
	parts := strings.Split(name, ".")
	for _, part := range parts {
		file := strings.ReplaceAll(part, "/", ".")
		if file == "" || file == "." || file == ".." {
			return false
		}
		if strings.ContainsFunc(file, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("_-.:@", r) }) {
			return false
		}
	}
	return len(parts) > 1
}
