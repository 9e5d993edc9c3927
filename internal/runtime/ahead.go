package runtime

import (
	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ExplainAhead is Explain for a configuration that is in no bundle yet; dir is where the bundle will be. Nothing is made or run.
func (r *Runtime) ExplainAhead(id, dir string, spec *specs.Spec, ahead *launch.Forecast) (*plan.Plan, error) {
	if err := bundle.Check(spec); err != nil {
		return nil, err
	}
	group, err := r.openGroup(spec, id)
	if err != nil {
		r.warn(err)
	}
	if group != nil {
		defer group.Close()
	}
	look, process := *spec, *spec.Process
	policy, err := r.appArmor(&bundle.Bundle{Dir: dir, Spec: spec, Rootfs: ahead.Root})
	if err != nil {
		return nil, err
	}
	if policy != nil {
		process.ApparmorProfile = policy.Name()
	}
	look.Process = &process
	return launch.ExplainAhead(&launch.Options{ID: id, Bundle: dir, Spec: &look, Group: group}, ahead)
}
