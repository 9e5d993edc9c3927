package cgroup

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// maxPath bounds a cgroup path; a name of a directory is bound by NAME_MAX.
const (
	maxPath = 4000
	maxName = 255
)

// checkPath refuses a path that names anything but plain directories below the hierarchy's root. Abs paths begin with one slash.
func checkPath(path string) error {
	if len(path) > maxPath {
		return errdef.Errorf(errdef.Invalid, "linux.cgroupsPath: longer than %d bytes", maxPath)
	}
	rel := strings.TrimPrefix(path, "/")
	if rel == "" {
		return errdef.Errorf(errdef.Invalid, "linux.cgroupsPath %q: names the root of the hierarchy", path)
	}
	for _, part := range strings.Split(rel, "/") {
		if err := checkName(part); err != nil {
			return errdef.Errorf(errdef.Invalid, "linux.cgroupsPath %q: %w", path, err)
		}
	}
	return nil
}

// checkName refuses what cannot be, or should not be, the name of a cgroup. A newline in a name would forge lines of /proc/PID/cgroup.
func checkName(name string) error {
	switch {
	case name == "":
		return errdef.Errorf(errdef.Invalid, "empty component")
	case name == "." || name == "..":
		return errdef.Errorf(errdef.Invalid, "component %q", name)
	case len(name) > maxName:
		return errdef.Errorf(errdef.Invalid, "component longer than %d bytes", maxName)
	case strings.ContainsAny(name, "\x00\n/"):
		return errdef.Errorf(errdef.Invalid, "component %q holds a NUL, a newline or a slash", name)
	case strings.HasPrefix(name, "cgroup."):
		return errdef.Errorf(errdef.Invalid, "component %q is taken for a control file", name)
	}
	return nil
}

// relativeTo returns the path below the mount point of a hierarchy at which the container's cgroup stands. An absolute path counts from
// what is seen at the mount point. A relative one stands, as with runc, below the runtime's own cgroup in a v1 hierarchy, and beside it
// in v2, where a cgroup with processes cannot hand controllers to its children.
func (h *Hierarchy) relativeTo(path string) (string, error) {
	if strings.HasPrefix(path, "/") {
		return path[1:], nil
	}
	own, err := h.ownBelowMount()
	if err != nil {
		return "", err
	}
	if h.Unified() {
		if i := strings.LastIndexByte(own, '/'); i >= 0 {
			own = own[:i]
		} else {
			own = ""
		}
	}
	if own == "" {
		return path, nil
	}
	return own + "/" + path, nil
}

// ownBelowMount is the runtime's own cgroup as seen below the mount point, without a leading slash.
func (h *Hierarchy) ownBelowMount() (string, error) {
	own := h.Own
	if own == "" {
		return "", errdef.Errorf(errdef.Unsupported, "linux.cgroupsPath: relative, and this process has no known cgroup in hierarchy %s", h.Name())
	}
	if h.Root != "/" {
		below, ok := strings.CutPrefix(own+"/", strings.TrimSuffix(h.Root, "/")+"/")
		if !ok {
			return "", errdef.Errorf(errdef.Unsupported, "linux.cgroupsPath: relative, and the cgroup %q of this process is not below %q, which %s shows",
				own, h.Root, h.Mount)
		}
		own = below
	}
	own = strings.Trim(own, "/")
	for _, part := range strings.Split(own, "/") {
		if part == ".." {
			return "", errdef.Errorf(errdef.Unsupported, "linux.cgroupsPath: relative, and this process is outside its cgroup namespace (%q)", h.Own)
		}
	}
	return own, nil
}

// A unit is the name of a systemd unit, and the slice that it is in.
type unit struct {
	slice string // "system.slice"; "" for the default of the manager
	name  string // "runc-1234.scope" or "pod.slice"

	variants []string // NAME=VALUE of annotations
	tasks    uint64   // the limit of tasks that Release sets, 0 for none
}

// parseUnit reads cgroupsPath in systemd's form, "slice:prefix:name". An empty path is "slice unset, prefix bulkhead, name id". A name that
// ends in ".slice" is the unit itself, as with runc.
func parseUnit(path, id string) (unit, error) {
	slice, prefix, name := "", "bulkhead", id
	if path != "" {
		parts := strings.Split(path, ":")
		if len(parts) != 3 {
			return unit{}, errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.cgroupsPath %q: not of the form slice:prefix:name", path),
				"with systemd's cgroups the path names a unit, as in system.slice:bulkhead:ID")
		}
		slice, prefix, name = parts[0], parts[1], parts[2]
	}
	u := unit{slice: slice, name: name}
	if !strings.HasSuffix(name, ".slice") {
		u.name = name + ".scope"
		if prefix != "" {
			u.name = prefix + "-" + u.name
		}
	}
	if name == "" {
		return unit{}, errdef.Errorf(errdef.Invalid, "linux.cgroupsPath %q: no unit name", path)
	}
	for _, r := range u.name { // the characters of unit names, systemd.unit(5)
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(":-_.\\@", r)) {
			return unit{}, errdef.Errorf(errdef.Invalid, "linux.cgroupsPath %q: character %q in a unit name", path, r)
		}
	}
	if len(u.name) > maxName {
		return unit{}, errdef.Errorf(errdef.Invalid, "linux.cgroupsPath %q: unit name longer than %d bytes", path, maxName)
	}
	if slice != "" {
		if _, err := expandSlice(slice); err != nil {
			return unit{}, err
		}
	}
	return u, nil
}

// expandSlice turns "a-b-c.slice" into the path "a.slice/a-b.slice/a-b-c.slice" that systemd makes for it (systemd.slice(5)); "-.slice" is
// the root and gives "".
func expandSlice(slice string) (string, error) {
	stem, ok := strings.CutSuffix(slice, ".slice")
	if !ok || stem == "" || strings.ContainsAny(slice, "/\x00\n:") {
		return "", errdef.Errorf(errdef.Invalid, "linux.cgroupsPath: %q is not the name of a slice", slice)
	}
	if stem == "-" {
		return "", nil
	}
	var path, prefix string
	for _, part := range strings.Split(stem, "-") {
		if part == "" {
			return "", errdef.Errorf(errdef.Invalid, "linux.cgroupsPath: %q is not the name of a slice", slice)
		}
		if path != "" {
			path += "/"
		}
		path += prefix + part + ".slice"
		prefix += part + "-"
	}
	return path, nil
}
