package launch

import (
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// cgroupFacts says what the plan needs to know of the container's cgroup. spec is nil where nothing is mounted.
func cgroupFacts(g *cgroup.Group, spec *specs.Spec) plan.CgroupFacts {
	if g == nil {
		return callersFacts(spec)
	}
	rec := g.Record()
	f := plan.CgroupFacts{Unified: rec.Mode == cgroup.V2, Wait: g.JoinsByParent()}
	for _, d := range rec.Dirs {
		own := d.Mount + "/" + d.Path
		if len(d.Controllers) == 0 {
			f.Own = own
			if rec.Mode == cgroup.Hybrid {
				f.V1 = append(f.V1, plan.CgroupMount{Dir: filepath.Base(d.Mount), Own: own, Unified: true})
			}
			continue
		}
		if !f.Wait {
			f.Joins++
		}
		f.V1 = append(f.V1, hierarchy(d.Mount, own, d.Controllers))
	}
	return f
}

// callersFacts is for a container that stays in the cgroups of its caller, rootless or without cgroups: a mount of type cgroup shows those.
func callersFacts(spec *specs.Spec) plan.CgroupFacts {
	if spec == nil || !mountsCgroups(spec) {
		return plan.CgroupFacts{}
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return plan.CgroupFacts{} // the plan refuses the mount
	}
	f := plan.CgroupFacts{Unified: layout.Mode == cgroup.V2}
	for i := range layout.Hierarchies {
		h := &layout.Hierarchies[i]
		below, ok := strings.CutPrefix(h.Own, strings.TrimSuffix(h.Root, "/"))
		if !ok {
			continue
		}
		own := filepath.Join(h.Mount, below)
		switch {
		case f.Unified:
			f.Own = own
		case h.Unified():
			f.V1 = append(f.V1, plan.CgroupMount{Dir: filepath.Base(h.Mount), Own: own, Unified: true})
		default:
			f.V1 = append(f.V1, hierarchy(h.Mount, own, h.Controllers))
		}
	}
	return f
}

func mountsCgroups(spec *specs.Spec) bool {
	for i := range spec.Mounts {
		if k := rootfs.KindOf(spec.Mounts[i].Type); k == rootfs.Cgroup || k == rootfs.Cgroup2 {
			return true
		}
	}
	return false
}

func hierarchy(mount, own string, controllers []string) plan.CgroupMount {
	m := plan.CgroupMount{Dir: filepath.Base(mount), Params: controllers, Own: own}
	if len(controllers) > 1 {
		m.Links = controllers
	}
	return m
}
