package verify

import (
	"slices"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A kind is one kind of namespace.
type kind struct {
	kind specs.LinuxNamespaceType
	file string
}

// kinds are the namespaces, in the specification's words and in those of /proc/PID/ns.
var kinds = []kind{
	{specs.UserNamespace, "user"},
	{specs.PIDNamespace, "pid"},
	{specs.MountNamespace, "mnt"},
	{specs.NetworkNamespace, "net"},
	{specs.IPCNamespace, "ipc"},
	{specs.UTSNamespace, "uts"},
	{specs.CgroupNamespace, "cgroup"},
	{specs.TimeNamespace, "time"},
}

// own reports whether a namespace was made for the container.
func (c *comparison) own(kind specs.LinuxNamespaceType) bool {
	n, ok := c.namespace(kind)
	return ok && n.Path == ""
}

func nsText(inode uint64) string { return "namespace " + strconv.FormatUint(inode, 10) }

// namespaces looks at those of the first process: its own, the host's, or another container's, as declared.
func (c *comparison) namespaces() {
	init := &c.f.Processes[0]
	for _, k := range kinds {
		have, ok := init.NS[k.file]
		if !ok {
			if _, declared := c.namespace(k.kind); declared {
				c.unknown("namespaces", string(k.kind), "its own", "this kernel has none of this kind")
			}
			continue
		}
		n, declared := c.namespace(k.kind)
		host := c.isHost(k.file, have)
		switch {
		case !declared:
			c.check("namespaces", string(k.kind), "the host's", c.whose(k.file, have), c.f.Host[0][k.file] == have)
		case n.Path == "":
			_, others := c.owner(k.file, have)
			c.check("namespaces", string(k.kind), "its own", c.whose(k.file, have), !host && !others)
		default:
			there, known := c.f.Joined[string(k.kind)][k.file]
			if !known {
				c.unknown("namespaces", string(k.kind), "that at "+n.Path, "who had it has ended: "+c.whose(k.file, have))
				continue
			}
			c.check("namespaces", string(k.kind), "that at "+n.Path, c.whose(k.file, have), there == have)
		}
	}
}

// owner returns the other container that a namespace is one of. One that joined it from this container is not meant.
func (c *comparison) owner(file string, inode uint64) (string, bool) {
	for i := range c.d.Others {
		o := &c.d.Others[i]
		if c.f.Others[o.Name][file] == inode && !c.joins(o, file) {
			return o.Name, true
		}
	}
	return "", false
}

// joins reports whether the other container joined a namespace of this one's first process.
func (c *comparison) joins(o *Other, file string) bool {
	return slices.ContainsFunc(o.Joins, func(n specs.LinuxNamespace) bool { return n.Path == "/proc/"+strconv.Itoa(c.d.PID)+"/ns/"+file })
}

// whose names a namespace.
func (c *comparison) whose(file string, inode uint64) string {
	if c.isHost(file, inode) {
		return "the host's, " + nsText(inode)
	}
	if name, ok := c.owner(file, inode); ok {
		return "container " + name + "'s, " + nsText(inode)
	}
	if c.f.Processes[0].NS[file] == inode {
		return nsText(inode)
	}
	return "another one, " + nsText(inode)
}

// ids compares the maps of the user namespace.
func (c *comparison) ids() {
	l := c.linux()
	want := idmap.FromSpec(l.UIDMappings, l.GIDMappings)
	n, declared := c.namespace(specs.UserNamespace)
	if declared && n.Path != "" {
		return // the maps are the other's
	}
	if !declared {
		want = idmap.Mapping{UIDs: []idmap.Range{{Count: 1<<32 - 1}}, GIDs: []idmap.Range{{Count: 1<<32 - 1}}}
	}
	for _, m := range []struct {
		what       string
		want, have []idmap.Range
	}{{"user ids", want.UIDs, c.f.UIDs}, {"group ids", want.GIDs, c.f.GIDs}} {
		if !declared && len(m.have) != 1 {
			continue // this process itself is in a user namespace: the host's map is not the whole
		}
		c.check("namespaces", m.what, ranges(m.want), ranges(m.have), ranges(m.want) == ranges(m.have))
	}
}

// ranges is a map in one order.
func ranges(list []idmap.Range) string {
	sorted := slices.SortedFunc(slices.Values(list), func(a, b idmap.Range) int { return int(int64(a.Inside) - int64(b.Inside)) })
	text := ""
	for _, r := range sorted {
		if text != "" {
			text += ", "
		}
		text += strconv.Itoa(int(r.Inside)) + " is " + strconv.Itoa(int(r.Outside)) + " (" + strconv.Itoa(int(r.Count)) + ")"
	}
	return text
}
