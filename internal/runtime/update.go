package runtime

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Update changes the limits of a container to what is set in res, and, if rdt is given, its cache and memory bandwidth. Device rules are
// not touched, as with runc: whoever changed them from outside had a reason.
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
	limits.Devices = nil
	if err := g.Update(&limits); err != nil {
		return err
	}
	if rdt == nil {
		return nil
	}
	return writeSchemata(c.rec.RDT.Path, schemata(rdt))
}
