// Package idmap maps user and group ids between a user namespace and its parent: user_namespaces(7).
//
// A Mapping is checked first and then either written to a process that has just entered a new user namespace, or turned into the
// descriptor of a user namespace that nobody lives in, for MOUNT_ATTR_IDMAP.
//
//	m := idmap.Mapping{UIDs: []idmap.Range{{Inside: 0, Outside: 100000, Count: 65536}}, GIDs: ...}
//	if err := m.Validate(); err != nil { ... }
//	fd, err := idmap.UserNS(m)
//
// Security: setgroups is denied where the kernel demands it before an unprivileged process may map a group (CVE-2014-8989), and ranges
// that overlap, wrap around or hold the reserved id 2^32-1 are refused here, with the field's name, rather than by an EINVAL of the kernel.
package idmap

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// MaxRanges is how many lines a map may have (user_namespaces(7), since kernel 4.15; five before).
const MaxRanges = 340

// A Range maps Count ids from Inside on, in the namespace, to those from Outside on, in its parent.
type Range struct{ Inside, Outside, Count uint32 }

// A Mapping is the two maps of a user namespace. The zero value maps nothing.
type Mapping struct{ UIDs, GIDs []Range }

// FromSpec reads mappings of runtime-spec (linux.uidMappings, mounts[].uidMappings).
func FromSpec(uids, gids []specs.LinuxIDMapping) Mapping {
	convert := func(in []specs.LinuxIDMapping) []Range {
		var out []Range
		for _, m := range in {
			out = append(out, Range{m.ContainerID, m.HostID, m.Size})
		}
		return out
	}
	return Mapping{convert(uids), convert(gids)}
}

// Empty reports whether nothing at all is mapped.
func (m Mapping) Empty() bool { return len(m.UIDs) == 0 && len(m.GIDs) == 0 }

// Validate returns an error of kind Invalid unless both maps are such that the kernel takes them.
func (m Mapping) Validate() error {
	if err := validate(m.UIDs); err != nil {
		return errdef.Errorf(errdef.Invalid, "uid mappings: %w", err)
	}
	if err := validate(m.GIDs); err != nil {
		return errdef.Errorf(errdef.Invalid, "gid mappings: %w", err)
	}
	return nil
}

func validate(ranges []Range) error {
	if len(ranges) == 0 {
		return errdef.Errorf(errdef.Invalid, "none given")
	}
	if len(ranges) > MaxRanges {
		return errdef.Errorf(errdef.Invalid, "%d ranges, the kernel takes %d", len(ranges), MaxRanges)
	}
	for i, r := range ranges {
		if r.Count == 0 {
			return errdef.Errorf(errdef.Invalid, "range %d (%s): size is 0", i, r)
		}
		// The last id of either side must be below 2^32-1, which is (uid_t)-1, "no id".
		const none = 1<<32 - 1
		if uint64(r.Inside)+uint64(r.Count) > none || uint64(r.Outside)+uint64(r.Count) > none {
			return errdef.Errorf(errdef.Invalid, "range %d (%s): goes past the last id", i, r)
		}
		for j, q := range ranges[:i] {
			if overlap(r.Inside, q.Inside, r.Count, q.Count) || overlap(r.Outside, q.Outside, r.Count, q.Count) {
				return errdef.Errorf(errdef.Invalid, "range %d (%s) overlaps range %d (%s)", i, r, j, q)
			}
		}
	}
	return nil
}

func overlap(a, b, na, nb uint32) bool {
	return uint64(a) < uint64(b)+uint64(nb) && uint64(b) < uint64(a)+uint64(na)
}

// String returns the range as a line of uid_map, without the newline.
func (r Range) String() string {
	return strconv.FormatUint(uint64(r.Inside), 10) + " " + strconv.FormatUint(uint64(r.Outside), 10) + " " + strconv.FormatUint(uint64(r.Count), 10)
}

// Text returns the ranges as the contents of /proc/PID/uid_map or gid_map.
func Text(ranges []Range) string {
	var b strings.Builder
	for _, r := range ranges {
		b.WriteString(r.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Parse reads the contents of /proc/PID/uid_map or gid_map. Errors are of kind Invalid.
func Parse(text string) ([]Range, error) {
	var ranges []Range
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		var n [3]uint32
		for i := range n {
			v, err := strconv.ParseUint(field(f, i), 10, 32)
			if err != nil || len(f) != len(n) {
				return nil, errdef.Errorf(errdef.Invalid, "id map: line %.64q", line)
			}
			n[i] = uint32(v)
		}
		ranges = append(ranges, Range{n[0], n[1], n[2]})
	}
	return ranges, nil
}

func field(f []string, i int) string {
	if i < len(f) {
		return f[i]
	}
	return ""
}

// ToOutside returns the id in the parent namespace that an id of the namespace stands for.
func ToOutside(ranges []Range, inside uint32) (uint32, bool) {
	for _, r := range ranges {
		if inside >= r.Inside && inside-r.Inside < r.Count {
			return r.Outside + (inside - r.Inside), true
		}
	}
	return 0, false
}

// ToInside returns the id in the namespace that an id of the parent has.
func ToInside(ranges []Range, outside uint32) (uint32, bool) {
	for _, r := range ranges {
		if outside >= r.Outside && outside-r.Outside < r.Count {
			return r.Inside + (outside - r.Outside), true
		}
	}
	return 0, false
}

// SelfOnly reports whether the ranges are the one an unprivileged process may write without help: a single id, its own
// (user_namespaces(7), "Defining user and group ID mappings").
func SelfOnly(ranges []Range, self uint32) bool {
	return len(ranges) == 1 && ranges[0].Count == 1 && ranges[0].Outside == self
}
