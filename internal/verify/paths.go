package verify

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// protected compares masked and read-only paths.
func (c *comparison) protected() {
	if !c.own(specs.MountNamespace) {
		return
	}
	l := c.linux()
	for _, p := range l.ReadonlyPaths {
		at := path.Clean("/" + p)
		f := c.f.Paths[at]
		if !f.Exists {
			c.check("paths", at, "read-only", "not there", true)
			continue
		}
		m := c.byID(f.Mount)
		if f.Root && m != nil {
			c.expect(m)
			c.repeated(m)
		}
		masked := slices.ContainsFunc(l.MaskedPaths, func(q string) bool { return path.Clean("/"+q) == at })
		c.check("paths", at, "read-only", optionsOf(m), masked || m != nil && readOnly(m)).hint("it can be written inside: restart the container")
	}
	for _, p := range l.MaskedPaths {
		at := path.Clean("/" + p)
		f := c.f.Paths[at]
		if !f.Exists {
			c.check("paths", at, "masked", "not there", true)
			continue
		}
		m := c.byID(f.Mount)
		if !f.Root || m == nil {
			c.check("paths", at, "masked", "it can be seen", false).hint("the mask was unmounted, or the path came to be after the start: restart the container")
			continue
		}
		c.expect(m)
		text, ok := mask(f, m)
		c.check("paths", at, "masked", text, ok).hint("something else is mounted there: restart the container")
	}
}

// repeated: a read-only path is mounted over itself with all that is mounted below it.
func (c *comparison) repeated(m *procfs.Mount) {
	for i := range c.d.Spec.Mounts {
		dest, err := rootfs.CleanDestination(c.d.Spec.Mounts[i].Destination)
		if err == nil && dest != m.Point && rootfs.Under(dest, m.Point) {
			c.expected[dest]++
		}
	}
}

func optionsOf(m *procfs.Mount) string {
	if m == nil {
		return "no mount"
	}
	return m.Options
}

// mask reports whether a mount hides what was there: /dev/null, or an empty directory that nobody can write.
func mask(f Path, m *procfs.Mount) (string, bool) {
	switch {
	case f.Char && f.Major == 1 && f.Minor == 3:
		return "masked", true
	case f.Dir && m.Type == "tmpfs" && readOnly(m):
		return "masked", true
	}
	return m.Type + " " + m.Options, false
}

// undeclared finds mounts that nothing accounts for.
func (c *comparison) undeclared() {
	if !c.own(specs.MountNamespace) {
		return
	}
	count := map[string]int{}
	extra := 0
	for i := range c.f.Mounts {
		m := &c.f.Mounts[i]
		if count[m.Point]++; count[m.Point] <= c.expected[m.Point] {
			continue
		}
		extra++
		text := fmt.Sprintf("%s %s, %s, %s", m.Type, m.Source, m.Root, m.Options)
		if c.mayMount() {
			c.unknown("mounts", m.Point, "nothing", text+": the container may mount, and can have made it")
			continue
		}
		c.check("mounts", m.Point, "nothing more is mounted there", text, false).hint("nobody inside can mount: somebody did from outside. nsenter -t " + fmt.Sprint(c.d.PID) + " -m umount " + m.Point)
	}
	if extra == 0 {
		c.check("mounts", "nothing more than declared", fmt.Sprintf("%d mounts", len(c.f.Mounts)), fmt.Sprintf("%d mounts", len(c.f.Mounts)), true)
	}
}

// devices compares the nodes of /dev.
func (c *comparison) devices() {
	if !c.own(specs.MountNamespace) || c.devBound() {
		return
	}
	known := map[string]bool{"/dev/console": true}
	for _, d := range c.declaredDevices() {
		known[d.Path] = true
		f := c.f.Paths[d.Path]
		want := nodeText(d.Type == 'b', d.Major, d.Minor)
		if m := c.mountAt(d.Path); m != nil && c.hasUserNS() && d.Type != 'p' {
			c.expect(m) // shown from the host
		}
		switch {
		case d.Type == 'p':
		case !f.Exists:
			c.gone(d.Path, want)
		default:
			have := nodeText(f.Block, f.Major, f.Minor)
			if !f.Block && !f.Char {
				if !c.hasUserNS() { // who may write to /dev may put a file there
					c.gone(d.Path, want)
					continue
				}
				have = "no device"
			}
			c.check("devices", d.Path, want, have, have == want).hint("the node is that of another device: restart the container")
		}
	}
	for _, n := range c.f.Nodes {
		if known[n.Path] {
			continue
		}
		if c.may(unix.CAP_MKNOD) && !c.hasUserNS() {
			c.unknown("devices", n.Path, "no such node", nodeText(n.Block, n.Major, n.Minor)+": the container may make nodes")
			continue
		}
		c.check("devices", n.Path, "no such node", nodeText(n.Block, n.Major, n.Minor), false).hint("nobody inside can make a node: somebody did from outside")
	}
}

// gone is for a node that is not there. Who may write to /dev removes nodes that are not mounted; that takes nothing from the confinement.
func (c *comparison) gone(at, want string) {
	c.check("devices", at, want, "not there", true)
}

func nodeText(block bool, major, minor uint32) string {
	kind := "character"
	if block {
		kind = "block"
	}
	return fmt.Sprintf("%s device %d:%d", kind, major, minor)
}

// devBound reports whether /dev is a bind mount, and the runtime made nothing in it.
func (c *comparison) devBound() bool {
	return slices.ContainsFunc(c.d.Spec.Mounts, func(m specs.Mount) bool {
		o, _ := rootfs.ParseOptions(m.Type, m.Options)
		return path.Clean(m.Destination) == "/dev" && o.Bind
	})
}

// declaredDevices are those of the configuration and the default ones, but for places on which something is mounted.
func (c *comparison) declaredDevices() []rootfs.Device {
	seen := map[string]bool{}
	for i := range c.d.Spec.Mounts {
		if p, err := rootfs.CleanDestination(c.d.Spec.Mounts[i].Destination); err == nil {
			seen[p] = true
		}
	}
	var out []rootfs.Device
	add := func(d rootfs.Device) {
		if !seen[d.Path] {
			seen[d.Path] = true
			out = append(out, d)
		}
	}
	for _, d := range c.linux().Devices {
		kind := byte('c')
		if d.Type == "b" || d.Type == "p" {
			kind = d.Type[0]
		}
		add(rootfs.Device{Path: path.Clean("/" + strings.TrimPrefix(d.Path, "/")), Type: kind, Major: uint32(d.Major), Minor: uint32(d.Minor)})
	}
	for _, d := range rootfs.DefaultDevices() {
		add(d)
	}
	return out
}
