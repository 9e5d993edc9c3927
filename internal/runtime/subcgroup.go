package runtime

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// group returns the cgroup that the process joins: the container's, or what --cgroup names below it.
func (j *joining) group() (*cgroup.Group, error) {
	rec := j.c.rec.Cgroup
	if rec == nil {
		if len(j.Cgroups) > 0 {
			return nil, errdef.Errorf(errdef.Unsupported, "exec --cgroup: container %q has no cgroup of its own", j.c.rec.ID)
		}
		return nil, nil
	}
	if len(j.Cgroups) == 0 {
		return j.c.cgroup()
	}
	below, err := parseSubcgroups(j.Cgroups)
	if err != nil {
		return nil, err
	}
	sub, err := subRecord(rec, below)
	if err != nil {
		return nil, err
	}
	return cgroup.FromRecord(*sub)
}

// parseSubcgroups reads arguments of the form [CONTROLLER[,CONTROLLER...]:]PATH into paths by controller. "" is every controller, which
// only one argument can mean.
func parseSubcgroups(args []string) (map[string]string, error) {
	below := map[string]string{}
	for _, arg := range args {
		list, path, ok := strings.Cut(arg, ":")
		if !ok {
			list, path = "", arg
			if len(args) != 1 {
				return nil, errdef.Errorf(errdef.Invalid, "cgroup %q: with several, each needs the controllers that it is for", arg)
			}
		}
		for _, name := range strings.Split(list, ",") {
			if ok && name == "" {
				return nil, errdef.Errorf(errdef.Invalid, "cgroup %q: an empty controller name", arg)
			}
			if _, twice := below[name]; twice {
				return nil, errdef.Errorf(errdef.Invalid, "cgroup %q: controller %s is named twice", arg, name)
			}
			path = strings.Trim(path, "/")
			for _, part := range strings.Split(path, "/") {
				if part == "." || part == ".." {
					return nil, errdef.Errorf(errdef.Invalid, "cgroup %q: must lie below the container's own", arg)
				}
			}
			below[name] = path
		}
	}
	return below, nil
}

// subRecord returns the record of a cgroup below that of rec.
func subRecord(rec *cgroup.Record, below map[string]string) (*cgroup.Record, error) {
	sub := *rec
	sub.Dirs = nil
	used := 0
	for _, d := range rec.Dirs {
		path, ok := below[""]
		for _, name := range d.Controllers {
			if p, named := below[name]; named {
				path, ok = p, true
				used++
			}
		}
		if ok && path != "" {
			d.Path = strings.Trim(d.Path+"/"+path, "/")
		}
		sub.Dirs = append(sub.Dirs, d)
	}
	if _, all := below[""]; !all && used != len(below) {
		return nil, errdef.Errorf(errdef.Invalid, "cgroup: a controller is named that the container is not limited by")
	}
	return &sub, nil
}

// initGroup returns the cgroup that the container's first process is in now, when that is below the container's own: an init system in the
// container has made groups below it, and the kernel then allows no process in the upper one (cgroup-v2.rst, no internal process
// constraint). nil when there is no such.
func (j *joining) initGroup() *cgroup.Group {
	rec := j.c.rec.Cgroup
	if rec == nil || rec.Mode != cgroup.V2 || len(rec.Dirs) != 1 || len(j.Cgroups) > 0 {
		return nil
	}
	proc, err := procfs.Host()
	if err != nil {
		return nil
	}
	lines, err := proc.Cgroups(j.c.rec.Init.PID)
	if err != nil {
		return nil
	}
	for i := range lines {
		path := strings.TrimPrefix(lines[i].Path, "/")
		if lines[i].Hierarchy != 0 || !strings.HasPrefix(path, rec.Dirs[0].Path+"/") {
			continue
		}
		sub := *rec
		sub.Dirs = []cgroup.RecordDir{rec.Dirs[0]}
		sub.Dirs[0].Path = path
		if g, err := cgroup.FromRecord(sub); err == nil {
			return g
		}
	}
	return nil
}

// ownsCgroup reports whether the container may make cgroups below its own, and which user of the host its root is: it has a user and a cgroup
// namespace of its own, and sees its cgroup writable (cgroups(7), "Cgroups delegation").
func ownsCgroup(spec *specs.Spec) (root int, ok bool) {
	if spec.Linux == nil {
		return 0, false
	}
	own := 0
	for _, ns := range spec.Linux.Namespaces {
		if ns.Path == "" && (ns.Type == specs.UserNamespace || ns.Type == specs.CgroupNamespace) {
			own++
		}
	}
	writable := slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool {
		return (m.Type == "cgroup" || m.Type == "cgroup2") && !slices.Contains(m.Options, "ro")
	})
	for _, m := range spec.Linux.UIDMappings {
		if own == 2 && writable && m.ContainerID == 0 && m.Size > 0 {
			return int(m.HostID), true
		}
	}
	return 0, false
}
