package capability

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Sets are the five capability sets of a process.
type Sets struct {
	Bounding, Effective, Inheritable, Permitted, Ambient Set
}

// FromSpec reads process.capabilities. A nil c is what runc takes it for: no capability at all. unknown holds each name that grants
// nothing once, in order; the caller warns about them.
func FromSpec(c *specs.LinuxCapabilities) (s Sets, unknown []string) {
	if c == nil {
		return s, nil
	}
	seen := func(name string) bool {
		for _, u := range unknown {
			if u == name {
				return true
			}
		}
		return false
	}
	read := func(list []string) Set {
		set, bad := Parse(list)
		for _, name := range bad {
			if !seen(name) {
				unknown = append(unknown, name)
			}
		}
		return set
	}
	s.Bounding, s.Effective, s.Inheritable = read(c.Bounding), read(c.Effective), read(c.Inheritable)
	s.Permitted, s.Ambient = read(c.Permitted), read(c.Ambient)
	return s, unknown
}

// Check returns an error of kind Invalid if the kernel would refuse the sets: effective must lie within permitted (capset(2)), and
// inheritable within bounding, for a capability outside the bounding set cannot be added to inheritable (capabilities(7)).
func (s Sets) Check() error {
	if extra := s.Effective &^ s.Permitted; extra != 0 {
		return errdef.Errorf(errdef.Invalid, "process.capabilities: effective holds %s, permitted does not", extra.list())
	}
	if extra := s.Inheritable &^ s.Bounding; extra != 0 {
		return errdef.Errorf(errdef.Invalid, "process.capabilities: inheritable holds %s, bounding does not", extra.list())
	}
	return nil
}

// SplitAmbient returns the ambient capabilities that the kernel can raise, those that are permitted and inheritable too
// (capabilities(7)), and the rest, which runc drops with a warning.
func (s Sets) SplitAmbient() (raise, dropped Set) {
	raise = s.Ambient & s.Permitted & s.Inheritable
	return raise, s.Ambient &^ raise
}

// Limit takes everything out of all sets that have does not hold: what the caller itself lacks cannot be granted. It returns what was
// taken out of any of them.
func (s *Sets) Limit(have Set) (taken Set) {
	for _, set := range []*Set{&s.Bounding, &s.Effective, &s.Inheritable, &s.Permitted, &s.Ambient} {
		taken |= *set &^ have
		*set &= have
	}
	return taken
}

// AfterExec returns the sets after execve(2) of a program without file capabilities (capabilities(7), "Transformation of capabilities
// during execve()"). root says that the effective user id is 0 in its user namespace, with no securebits set.
func (s Sets) AfterExec(root bool) Sets {
	raise, _ := s.SplitAmbient()
	after := Sets{Bounding: s.Bounding, Inheritable: s.Inheritable, Ambient: raise, Permitted: raise, Effective: raise}
	if root {
		after.Permitted = s.Inheritable | s.Bounding
		after.Effective = after.Permitted
	}
	return after
}

// String returns the sets for `explain`, those that are equal together: "bounding, effective, permitted: CAP_KILL; inheritable,
// ambient: none".
func (s Sets) String() string {
	rows := [...]struct {
		name string
		set  Set
	}{
		{"bounding", s.Bounding}, {"effective", s.Effective}, {"permitted", s.Permitted}, {"inheritable", s.Inheritable}, {"ambient", s.Ambient},
	}
	var done [len(rows)]bool
	var parts []string
	for i := range rows {
		if done[i] {
			continue
		}
		same := rows[i].name
		for j := i + 1; j < len(rows); j++ {
			if !done[j] && rows[j].set == rows[i].set {
				same += ", " + rows[j].name
				done[j] = true
			}
		}
		parts = append(parts, same+": "+rows[i].set.String())
	}
	return strings.Join(parts, "; ")
}

// list returns the names separated by spaces, without the short forms of String.
func (s Set) list() string { return strings.Join(s.Names(), " ") }
