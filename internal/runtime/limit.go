package runtime

import (
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// openGroup finds the container's cgroup and makes nothing.
func (r *Runtime) openGroup(spec *specs.Spec, id string) (*cgroup.Group, error) {
	if r.NoCgroups {
		return nil, nil
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	path := ""
	if spec.Linux != nil {
		path = spec.Linux.CgroupsPath
	}
	g, err := layout.Open(path, id, cgroup.Options{Rootless: r.Rootless, Systemd: r.Systemd})
	if err != nil {
		return nil, err
	}
	return g, g.Annotate(spec.Annotations)
}

// limit makes the cgroup with its limits, and beside that the child.
func (n *creation) limit() error {
	if n.group == nil {
		if n.birth != nil {
			return nil
		}
		return n.begin()
	}
	var res *specs.LinuxResources
	if n.bundle.Spec.Linux != nil {
		res = n.bundle.Spec.Linux.Resources
	}
	if err := n.group.CreateBeside(res, n.begin, n.endBirth); err != nil {
		n.c.warn(n.forgetGroup()) // it has taken back what it made; what is there is somebody else's
		return err
	}
	if err := n.groupMade(); err != nil || n.group == nil {
		return err
	}
	if root, ok := ownsCgroup(n.bundle.Spec); ok {
		if err := n.group.Chown(root); err != nil && !n.c.Rootless {
			return err
		}
	}
	n.rememberOOM()
	return nil
}

// forgetGroup takes the cgroup out of the record, so that whoever cleans up does not touch it.
func (n *creation) forgetGroup() error {
	c := n.c
	_ = n.group.Close()
	c.rec.Cgroup, c.rec.CgroupMade, c.group, n.group = nil, false, nil, nil
	return c.dir.Save(c.rec)
}

// groupMade writes down that the cgroup is ours: from here on whoever cleans up may kill what is in it. A rootless caller may have none.
func (n *creation) groupMade() error {
	c := n.c
	if !n.group.Active() {
		return n.forgetGroup()
	}
	if c.rec.CgroupMade {
		return nil // the first record said so
	}
	rec := n.group.Record()
	c.rec.Cgroup, c.rec.CgroupMade = &rec, true
	return c.dir.Save(c.rec)
}
