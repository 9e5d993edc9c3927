package launch

import (
	"os"
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
	mapped, admin := mappedRoot(o.Spec), administers(o.Spec.Process)
	if ahead.Root != "" && o.Spec.Root != nil {
		facts.RootAt = rootAt(rootPath(o.Spec, o.Bundle), mapped, false)
	}
	for source, dir := range ahead.Sources {
		source = filepath.Clean(source)
		if s := facts.Sources[source]; s.Missing {
			closed := mapped != noUser && !reachable(source, mapped) && !restricted(existing(source), admin)
			set(&facts.Sources, source, plan.Source{Dir: dir, HostOnly: closed})
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

// existing is the last part of a path that is there.
func existing(path string) string {
	for path != "/" {
		if _, err := os.Lstat(path); err == nil {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}
