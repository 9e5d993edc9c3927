package assemble

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	"github.com/moby/moby/api/types/container"
)

// capabilities returns what a container has: the level's set, without what is dropped, with what is added; ALL stands for every capability of this kernel. An
// addition wins over a drop of ALL, and loses against a drop by name, as with Docker.
func capabilities(level []string, h *container.HostConfig) ([]string, error) {
	add, err := names("cap-add", h.CapAdd)
	if err != nil {
		return nil, err
	}
	drop, err := names("cap-drop", h.CapDrop)
	if err != nil {
		return nil, err
	}
	all := capability.All().Names()
	if h.Privileged {
		return all, nil
	}
	var set []string
	switch {
	case slices.Contains(add, "ALL"):
		set = all
	case slices.Contains(drop, "ALL"):
	default:
		set = slices.Clone(level)
	}
	for _, c := range add {
		if c != "ALL" && !slices.Contains(set, c) {
			set = append(set, c)
		}
	}
	set = slices.DeleteFunc(set, func(c string) bool { return slices.Contains(drop, c) })
	return set, nil
}

// names spells capabilities as capabilities(7) does: NET_RAW, net_raw and CAP_NET_RAW are one.
func names(flag string, list []string) ([]string, error) {
	var out []string
	for _, text := range list {
		for _, one := range strings.Split(text, ",") {
			name := strings.ToUpper(strings.TrimSpace(one))
			if name != "ALL" && !strings.HasPrefix(name, "CAP_") {
				name = "CAP_" + name
			}
			if _, known := capability.Number(name); name != "ALL" && !known {
				return nil, errdef.Errorf(errdef.Invalid, "%s %.64q: unknown capability", flag, one)
			}
			out = append(out, name)
		}
	}
	return out, nil
}
