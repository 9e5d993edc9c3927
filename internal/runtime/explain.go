package runtime

import (
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
)

// Explain returns the list of system calls that would start the bundle, each with its reason. Nothing is made or run, and no right is
// needed but that to read the bundle. Where the host cannot be asked (cgroups without permission), that part is a warning.
func (r *Runtime) Explain(id, dir string) (*plan.Plan, error) {
	b, err := r.load(dir)
	if err != nil {
		return nil, err
	}
	group, err := r.openGroup(b.Spec, id)
	if err != nil {
		r.warn(err)
	}
	if group != nil {
		defer group.Close()
	}
	return launch.Explain(&launch.Options{ID: id, Bundle: b.Dir, Spec: b.Spec, Group: group})
}
