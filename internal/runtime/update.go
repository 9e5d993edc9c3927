package runtime

import (
	"context"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits of a container to what is set in res, and, if rdt is given, its cache and memory bandwidth. Device rules, if
// there are any, take the place of all earlier ones. Those of the configuration are none: containerd repeats them in each update, and whoever
// has put a filter of their own in the place of ours since (as for a GPU) had a reason.
func (r *Runtime) Update(ctx context.Context, id string, res *specs.LinuxResources, rdt *specs.LinuxIntelRdt) error {
	if err := bundle.ValidateResources(res); err != nil {
		return err
	}
	c, err := r.lock(ctx, id, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer c.close()
	status, err := c.status()
	if err != nil {
		return err
	}
	if status == specs.StateStopped {
		return c.notRunning("update")
	}
	g, err := c.needCgroup()
	if err != nil {
		return err
	}
	if rdt != nil && c.rec.RDT == nil {
		return errdef.Errorf(errdef.Unsupported, "update container %q: it was created without linux.intelRdt", id)
	}
	limits := *res
	if limits.Devices, err = c.newDevices(res.Devices); err != nil {
		return err
	}
	if err := g.Update(&limits); err != nil {
		return err
	}
	if rdt == nil {
		return nil
	}
	return writeSchemata(c.rec.RDT.Path, schemata(rdt))
}

// newDevices returns the device rules that are to be set.
func (c *container) newDevices(list []specs.LinuxDeviceCgroup) ([]specs.LinuxDeviceCgroup, error) {
	if len(list) == 0 || c.rec.NewDevices {
		return list, nil
	}
	spec, err := c.dir.Config()
	if err != nil {
		return nil, err
	}
	if spec.Linux != nil && spec.Linux.Resources != nil && slices.EqualFunc(list, spec.Linux.Resources.Devices, sameDevice) {
		return nil, nil
	}
	c.rec.NewDevices = true
	return list, c.dir.Save(c.rec)
}

func sameDevice(a, b specs.LinuxDeviceCgroup) bool {
	same := func(p, q *int64) bool { return p == q || p != nil && q != nil && *p == *q }
	return a.Allow == b.Allow && a.Type == b.Type && a.Access == b.Access && same(a.Major, b.Major) && same(a.Minor, b.Minor)
}
