package launch

import (
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A Forecast is what is taken for granted of a container that is not made yet.
type Forecast struct {
	Root    string          // a directory in which the image is looked at now; "": root.path
	Sources map[string]bool // sources of bind mounts, absolute, that will be there at the start; true: a directory
}

// ExplainAhead is Explain for a container of which some parts are made only when it starts.
func ExplainAhead(o *Options, ahead *Forecast) (*plan.Plan, error) {
	look := *o.Spec
	if ahead.Root != "" {
		look.Root = &specs.Root{Path: ahead.Root}
	}
	filter, err := filterOf(o.Spec, o.SeccompCache)
	if err != nil {
		return nil, err
	}
	facts, err := factsOf(&look, o.Bundle)
	if err != nil {
		return nil, err
	}
	for source, dir := range ahead.Sources {
		if s := facts.Sources[filepath.Clean(source)]; s.Missing {
			set(&facts.Sources, filepath.Clean(source), plan.Source{Dir: dir})
		}
	}
	facts.Cgroup = cgroupFacts(o.Group, o.Spec)
	rules, _, err := Landlock(o.Spec)
	if err != nil {
		return nil, err
	}
	guard, err := portGuard(rules, o.SeccompCache)
	if err != nil {
		return nil, err
	}
	return plan.Compile(&plan.Input{
		Spec: o.Spec, Bundle: o.Bundle, ID: o.ID, Facts: facts, Run: o.Run, NoPivot: o.NoPivot, NoKeyring: o.NoKeyring, PreserveFDs: o.PreserveFDs,
		Hooks: needsBarrier(o.Spec), Filter: filter, Landlock: rules, PortGuard: guard,
	})
}
