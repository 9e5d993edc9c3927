package verify

import "slices"

// A Verdict is what a check came to.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Differs Verdict = "differs"
	Unknown Verdict = "unknown"
)

// A Check is one thing that was declared beside what the kernel says of it.
type Check struct {
	Area     string  `json:"area"` // process, capabilities, namespaces, mounts, paths, devices, cgroup, limits, network, modules, descriptors
	What     string  `json:"what"`
	Declared string  `json:"declared"`
	Found    string  `json:"found"`
	Verdict  Verdict `json:"verdict"`
	Hint     string  `json:"hint,omitempty"`
	PID      int     `json:"pid,omitempty"` // on the host, of checks of one process
}

// A Report is all that was looked at.
type Report struct {
	ID        string  `json:"id"`
	Name      string  `json:"name"`
	PID       int     `json:"pid"`       // of the container's first process, on the host
	Processes int     `json:"processes"` // that were looked at
	Checks    []Check `json:"checks"`
}

// Differences are the checks that differ.
func (r *Report) Differences() []Check { return r.with(Differs) }

// Unknowns are the checks that nobody can answer.
func (r *Report) Unknowns() []Check { return r.with(Unknown) }

func (r *Report) with(v Verdict) []Check {
	return slices.DeleteFunc(slices.Clone(r.Checks), func(c Check) bool { return c.Verdict != v })
}

// A comparison is a report on its way.
type comparison struct {
	d *Declared
	f *Facts
	r *Report
	// expected says how many mounts ought to stand at a place; claimed are those that are part of a recursive bind mount.
	expected map[string]int
	claimed  map[int]bool
}

func (c *comparison) add(check Check) { c.r.Checks = append(c.r.Checks, check) }

// check adds a check of two texts and a verdict.
func (c *comparison) check(area, what, declared, found string, same bool) *Check {
	v := OK
	if !same {
		v = Differs
	}
	c.add(Check{Area: area, What: what, Declared: declared, Found: found, Verdict: v})
	return &c.r.Checks[len(c.r.Checks)-1]
}

func (c *comparison) unknown(area, what, declared, why string) {
	c.add(Check{Area: area, What: what, Declared: declared, Found: why, Verdict: Unknown})
}

// hint says what to do about a check that differs.
func (k *Check) hint(text string) {
	if k.Verdict == Differs {
		k.Hint = text
	}
}
