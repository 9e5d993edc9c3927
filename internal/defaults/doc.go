// Package defaults is "secure by default" in one place: what confines a container when nobody says anything, with a reason on every line.
//
//	spec := defaults.Spec(defaults.Hardened, defaults.ThisHost())
//	spec.Process.Args = []string{"/bin/sh"}
//	for _, e := range defaults.Explain(defaults.Hardened) {
//		fmt.Println(e.Kind, e.Value, e.Reason) // mask /proc/kcore the host's memory as a file
//	}
//
// There are three levels. Untrusted, the zero value, is for code that nobody vouches for. Hardened is what a container gets by default.
// Compat is what Docker does, for software that needs it. Every line of a table says at which levels it holds, so that the levels
// cannot drift apart: what a stricter level grants, a wider one grants too, and what a wider one hides, a stricter one hides too.
//
// The package holds what an OCI runtime can do alone: namespaces, id maps, capabilities, the system call filter, masks, mounts, limits
// and sysctls. Networks, volumes, images, logs and the policy that may forbid a level belong to the engine.
//
// Nothing is probed and nothing is weakened here: a protection that the host cannot give makes the runtime refuse the container, but for the
// security modules, which few hosts have all of: what is missing of them is a warning.
package defaults

import (
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A Level is how much is taken away from a container.
type Level uint8

// The levels, strictest first.
const (
	Untrusted Level = iota // code that nobody vouches for
	Hardened               // the default
	Compat                 // as Docker does
)

var levelNames = []string{"untrusted", "hardened", "compat"}

// String returns the level's name as --level takes it.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return levelNames[Untrusted]
}

// ParseLevel reads a level's name. An unknown name is Invalid.
func ParseLevel(name string) (Level, error) {
	i := slices.Index(levelNames, name)
	if i < 0 {
		return Untrusted, errdef.WithHint(errdef.Errorf(errdef.Invalid, "level %q: unknown", name), "the levels are untrusted, hardened and compat")
	}
	return Level(i), nil
}

// strict returns the level itself, or Untrusted for a number that is none.
func (l Level) strict() Level {
	if l > Compat {
		return Untrusted
	}
	return l
}

// An Entry is one line of the defaults.
type Entry struct {
	Kind   string // capability, namespace, mask, read-only, mount, rlimit, sysctl, limit, flag, call, refused call
	Value  string
	Reason string
}

// A grant is what a container gets at the level and all wider ones.
type grant struct {
	value  string
	from   Level
	reason string
}

// A wall is what is kept from a container at the level and all stricter ones.
type wall struct {
	value  string
	upTo   Level
	reason string
}

func granted(table []grant, level Level) []grant {
	var out []grant
	for _, g := range table {
		if level >= g.from {
			out = append(out, g)
		}
	}
	return out
}

func standing(table []wall, level Level) []wall {
	var out []wall
	for _, w := range table {
		if level <= w.upTo {
			out = append(out, w)
		}
	}
	return out
}

func grantValues(table []grant, level Level) []string {
	out := []string{}
	for _, g := range granted(table, level) {
		out = append(out, g.value)
	}
	return out
}

func wallValues(table []wall, level Level) []string {
	out := []string{}
	for _, w := range standing(table, level) {
		out = append(out, w.value)
	}
	return out
}
