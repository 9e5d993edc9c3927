package verify

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const hintMount = "somebody changed the container's mounts from outside: restart the container"

// mountAt returns the mount that a path inside is the root of, nil if none is there.
func (c *comparison) mountAt(at string) *procfs.Mount {
	p, ok := c.f.Paths[at]
	if !ok || !p.Exists || !p.Root {
		return nil
	}
	return c.byID(p.Mount)
}

func (c *comparison) byID(id int) *procfs.Mount {
	for i := range c.f.Mounts {
		if c.f.Mounts[i].ID == id {
			return &c.f.Mounts[i]
		}
	}
	return nil
}

// expect counts a mount that ought to stand at a place.
func (c *comparison) expect(m *procfs.Mount) { c.expected[m.Point]++ }

// mounts compares the root and each mount of the configuration.
func (c *comparison) mounts() {
	if !c.own(specs.MountNamespace) {
		return
	}
	c.root()
	list := c.d.Spec.Mounts
	for i := range list {
		m := &list[i]
		dest, err := rootfs.CleanDestination(m.Destination)
		o, err2 := rootfs.ParseOptions(m.Type, m.Options)
		if err != nil || err2 != nil || o.Remount {
			continue // refused at the create, or no mount of its own
		}
		if hidden(list[i+1:], dest) || slices.ContainsFunc(c.linux().MaskedPaths, func(p string) bool { return rootfs.Under(dest, path.Clean("/"+p)) }) {
			c.expected[dest]++ // something declared lies over it
			continue
		}
		found := c.mountAt(dest)
		if found == nil {
			c.check("mounts", dest, describe(m, &o), "nothing is mounted there", false).hint(hintMount)
			continue
		}
		c.expect(found)
		c.mount(m, &o, found)
	}
	if c.d.Spec.Process.Terminal {
		if found := c.mountAt("/dev/console"); found != nil {
			c.expect(found)
			c.check("mounts", "/dev/console", "the container's terminal", found.Type, found.Type == "devpts").hint(hintMount)
		}
	}
}

// hidden reports whether a later mount lies over a place.
func hidden(later []specs.Mount, dest string) bool {
	return slices.ContainsFunc(later, func(m specs.Mount) bool {
		over, err := rootfs.CleanDestination(m.Destination)
		o, _ := rootfs.ParseOptions(m.Type, m.Options)
		return err == nil && !o.Remount && rootfs.Under(dest, over)
	})
}

// root is the root of the file system: the engine's overlay, read-only if so declared.
func (c *comparison) root() {
	found := c.mountAt("/")
	if found == nil {
		c.check("mounts", "/", "the container's files", "no mount", false).hint(hintMount)
		return
	}
	c.expect(found)
	if c.d.Upper != "" {
		same := found.Type == "overlay" && found.SuperHas("upperdir="+c.d.Upper)
		text := found.Type + " " + found.Source
		if same {
			text = "overlay, writable layer " + c.d.Upper
		}
		c.check("mounts", "/", "overlay, writable layer "+c.d.Upper, text, same).hint(hintMount)
		c.mountLabel("/", nil, found) // a directory of the host's keeps its own
	}
	if c.d.Spec.Root.Readonly {
		c.check("mounts", "/ is read-only", "ro", found.Options, readOnly(found)).hint("nsenter -t PID -m mount -o remount,ro / , or restart the container")
	}
	if !strings.Contains(c.linux().RootfsPropagation, "shared") {
		c.private("/", found, false)
	}
}

func readOnly(m *procfs.Mount) bool { return m.Has("ro") || m.SuperHas("ro") }

// mount compares one mount.
func (c *comparison) mount(m *specs.Mount, o *rootfs.Options, found *procfs.Mount) {
	at := found.Point
	if kind := rootfs.KindOf(m.Type); !o.Bind && (kind == rootfs.Cgroup || kind == rootfs.Cgroup2) {
		c.cgroupMount(o, found)
		return
	}
	if o.Bind {
		c.source(m, found)
		if o.BindRec {
			c.recursive(m, o, found)
		}
	} else {
		c.check("mounts", at, m.Type, found.Type, found.Type == m.Type).hint(hintMount)
		c.data(at, o, found)
		c.mountLabel(at, o, found)
	}
	c.attributes(at, o.AttrSet|o.RecAttrSet, found)
	if o.IDMap {
		c.check("mounts", at+" with mapped ids", "idmapped", found.Options, found.Has("idmapped")).hint(hintMount)
	}
	if o.Propagation&unix.MS_SHARED == 0 {
		c.private(at, found, o.Propagation&unix.MS_PRIVATE != 0)
	}
}

// attributes finds options that were taken from a mount. More of them are no difference.
func (c *comparison) attributes(at string, set uint64, found *procfs.Mount) {
	var want, missing []string
	for _, a := range []struct {
		bit  uint64
		name string
	}{
		{unix.MOUNT_ATTR_RDONLY, "ro"},
		{unix.MOUNT_ATTR_NOSUID, "nosuid"},
		{unix.MOUNT_ATTR_NODEV, "nodev"},
		{unix.MOUNT_ATTR_NOEXEC, "noexec"},
		{unix.MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"},
	} {
		if set&a.bit == 0 {
			continue
		}
		want = append(want, a.name)
		if !found.Has(a.name) && !(a.name == "ro" && readOnly(found)) {
			missing = append(missing, a.name)
		}
	}
	if len(want) == 0 {
		return
	}
	c.check("mounts", at+" options", strings.Join(want, ","), found.Options, len(missing) == 0).hint(strings.Join(missing, ",") + " is gone: " + hintMount)
}

// private finds mounts that tell their peers, or hear from a master, which were to do neither.
func (c *comparison) private(at string, found *procfs.Mount, alone bool) {
	switch {
	case found.Shared != 0:
		c.check("mounts", at+" propagation", "not shared", "shared", false).hint("mounts made there reach others: restart the container")
	case found.Master != 0 && alone:
		c.check("mounts", at+" propagation", "private", "slave", false).hint("mounts of the host appear there: restart the container")
	}
}

// source compares what a bind mount shows with what stands at its source on the host.
func (c *comparison) source(m *specs.Mount, found *procfs.Mount) {
	source := m.Source
	if !filepath.IsAbs(source) {
		source = filepath.Join(c.d.Bundle, source)
	}
	s, ok := c.f.Sources[source]
	root := strings.TrimSuffix(found.Root, "//deleted")
	switch {
	case !ok || !s.Exists:
		c.unknown("mounts", found.Point, "bind mount of "+source, "the source is gone from the host; mounted is "+found.Source+" "+found.Root)
	default:
		same := s.Root == root && s.Major == found.Major && s.Minor == found.Minor
		text := "bind mount of " + source
		if !same {
			text = found.Type + " " + found.Source + ", " + found.Root
		}
		c.check("mounts", found.Point, "bind mount of "+source, text, same).hint("something else is mounted there, or the source was renamed on the host")
	}
}

// recursive accounts for what was mounted below the source when it was mounted.
func (c *comparison) recursive(m *specs.Mount, o *rootfs.Options, top *procfs.Mount) {
	source := path.Clean(m.Source)
	for i := range c.f.Mounts {
		sub := &c.f.Mounts[i]
		rel, ok := strings.CutPrefix(sub.Point, strings.TrimSuffix(top.Point, "/")+"/")
		if !ok || c.claimed[sub.ID] {
			continue
		}
		at := path.Join(source, rel)
		if slices.ContainsFunc(c.f.HostMounts, func(h procfs.Mount) bool {
			return h.Point == at && h.Root == sub.Root && h.Major == sub.Major && h.Minor == sub.Minor
		}) {
			c.claimed[sub.ID] = true
			c.expect(sub)
			c.attributes(sub.Point, o.RecAttrSet, sub)
		}
	}
}

// cgroupMount: the cgroup of the container alone, in a directory for each hierarchy or by itself.
func (c *comparison) cgroupMount(o *rootfs.Options, found *procfs.Mount) {
	wanted := "the container's own cgroups"
	c.attributes(found.Point, o.AttrSet, found)
	if found.Type == "cgroup2" {
		c.check("mounts", found.Point, wanted, found.Root, c.ownCgroup(found.Root)).hint(hintMount)
		return
	}
	c.check("mounts", found.Point, "tmpfs", found.Type, found.Type == "tmpfs").hint(hintMount)
	seen := map[string]bool{}
	for i := range c.f.Mounts {
		sub := &c.f.Mounts[i]
		if path.Dir(sub.Point) != found.Point || sub.Type != "cgroup" && sub.Type != "cgroup2" || seen[sub.Point] || c.claimed[sub.ID] {
			continue
		}
		if !c.ownCgroup(sub.Root) {
			c.check("mounts", sub.Point, wanted, sub.Root, false).hint(hintMount)
		}
		seen[sub.Point] = true
		c.expect(sub)
		c.attributes(sub.Point, o.AttrSet, sub)
	}
}

func (c *comparison) ownCgroup(root string) bool {
	if c.d.Cgroup == nil {
		return true
	}
	for _, d := range c.d.Cgroup.Dirs {
		if root == "/"+d.Path || strings.HasSuffix(root, "/"+d.Path) {
			return true
		}
	}
	return false
}

func describe(m *specs.Mount, o *rootfs.Options) string {
	if o.Bind {
		return "bind mount of " + m.Source
	}
	return m.Type
}
