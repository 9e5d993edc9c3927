package filter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A Difference is a call that two profiles decide differently.
type Difference struct {
	Call string `json:"call"`
	When string `json:"when,omitempty"` // arguments for which it is so; "": whatever they are
	A    string `json:"a"`
	B    string `json:"b"`
}

const (
	maxValues  = 600       // of one argument, that are tried
	maxTries   = 20_000    // combinations for one call
	allTries   = 1_000_000 // for all of them, but for leastTries each
	leastTries = 64
)

// Diff returns the differences in the order of the calls' names: first those of this machine's architecture, then how other ones are judged.
func Diff(a, b *Profile) []Difference {
	var out []Difference
	native := seccomp.Native()
	most := triesOf(a.Rules, b.Rules)
	for _, name := range seccomp.Names() {
		if number, ok := seccomp.Number(native.Name, name); ok {
			out = append(out, diffCall(a, b, call{name, number, most})...)
		}
	}
	const beyond = 100_000
	if x, y := a.decide(beyond, [6]uint64{}), b.decide(beyond, [6]uint64{}); x != y {
		out = append(out, Difference{Call: "calls that are newer than all tables", A: answer(x), B: answer(y)})
	}
	return append(out, diffArchs(a, b)...)
}

// answer is what a filter returned in words, an errno by its name.
func answer(ret uint32) string {
	text := seccomp.ActionName(ret)
	if number, ok := strings.CutPrefix(text, "errno "); ok {
		if n, err := strconv.Atoi(number); err == nil && unix.ErrnoName(unix.Errno(n)) != "" {
			return unix.ErrnoName(unix.Errno(n))
		}
	}
	return text
}

// A call is one whose decisions are compared.
type call struct {
	name   string
	number uint32
	most   int // combinations of arguments
}

// triesOf is how many combinations one call may have, where many look at arguments.
func triesOf(a, b *specs.LinuxSeccomp) int {
	seen := map[string]bool{}
	for _, p := range []*specs.LinuxSeccomp{a, b} {
		for i := range p.Syscalls {
			for _, name := range p.Syscalls[i].Names {
				seen[name] = seen[name] || len(p.Syscalls[i].Args) > 0
			}
		}
	}
	n := 1
	for _, conditions := range seen {
		if conditions {
			n++
		}
	}
	return min(maxTries, max(leastTries, allTries/n))
}

// diffCall tries one call with all arguments that matter.
func diffCall(a, b *Profile, c call) []Difference {
	name, number := c.name, c.number
	tries := arguments(a.Rules, b.Rules, name, c.most)
	type pair struct{ a, b uint32 }
	seen := map[pair]bool{}
	var out []Difference
	same := false
	for _, args := range tries {
		p := pair{a.decide(number, args), b.decide(number, args)}
		if p.a == p.b {
			same = true
			continue
		}
		if !seen[p] {
			seen[p] = true
			out = append(out, Difference{Call: name, When: argumentText(a.Rules, b.Rules, name, args), A: answer(p.a), B: answer(p.b)})
		}
	}
	if len(out) == 1 && !same {
		out[0].When = ""
	}
	return out
}

// used returns the arguments that rules for a call look at, with the values at which they change their mind.
func used(rules *specs.LinuxSeccomp, name string, values *[6][]uint64) {
	for i := range rules.Syscalls {
		r := &rules.Syscalls[i]
		if !slices.Contains(r.Names, name) {
			continue
		}
		for _, c := range r.Args {
			if c.Index > 5 {
				continue
			}
			add := func(list ...uint64) {
				for _, v := range list {
					if len(values[c.Index]) < maxValues && !slices.Contains(values[c.Index], v) {
						values[c.Index] = append(values[c.Index], v)
					}
				}
			}
			if c.Op == specs.OpMaskedEqual {
				add(c.ValueTwo&c.Value, ^c.Value, c.Value, c.ValueTwo&c.Value|^c.Value)
				continue
			}
			add(c.Value, c.Value-1, c.Value+1)
		}
	}
}

// arguments are all combinations of values that matter for a call, and of one that no rule knows.
func arguments(a, b *specs.LinuxSeccomp, name string, most int) [][6]uint64 {
	var values [6][]uint64
	used(a, name, &values)
	used(b, name, &values)
	out := [][6]uint64{{}}
	for i := range values {
		if len(values[i]) == 0 {
			continue
		}
		if !slices.Contains(values[i], 0) {
			values[i] = append(values[i], 0)
		}
		values[i] = append(values[i], 0x5a5a5a5a5a5a5a5a)
		if len(out)*len(values[i]) > most {
			values[i] = values[i][:max(1, most/len(out))]
		}
		var next [][6]uint64
		for _, args := range out {
			for _, v := range values[i] {
				args[i] = v
				next = append(next, args)
			}
		}
		out = next
	}
	return out
}

// argumentText is a combination, of the arguments that some rule looks at.
func argumentText(a, b *specs.LinuxSeccomp, name string, args [6]uint64) string {
	var values [6][]uint64
	used(a, name, &values)
	used(b, name, &values)
	var out []string
	for i, v := range args {
		if len(values[i]) > 0 {
			out = append(out, fmt.Sprintf("arg%d=%#x", i, v))
		}
	}
	return strings.Join(out, " ")
}

// others are architectures whose programs this machine runs beside its own.
func others() []string {
	switch seccomp.Native().Name {
	case "SCMP_ARCH_X86_64":
		return []string{"SCMP_ARCH_X86", "SCMP_ARCH_X32"}
	case "SCMP_ARCH_AARCH64":
		return []string{"SCMP_ARCH_ARM"}
	}
	return nil
}

// judged says what becomes of calls of another architecture: by a call that every program makes.
func (p *Profile) judged(arch string) string {
	a, _ := seccomp.ArchOf(arch)
	number, _ := seccomp.Number(arch, "getpid")
	ret := p.decideOn(a.Token, number, [6]uint64{})
	other, _ := seccomp.Number(arch, "read")
	if seccomp.Allows(ret) || seccomp.Allows(p.decideOn(a.Token, other, [6]uint64{})) {
		return "judged by the rules"
	}
	return answer(ret)
}

func diffArchs(a, b *Profile) []Difference {
	var out []Difference
	for _, arch := range others() {
		if x, y := a.judged(arch), b.judged(arch); x != y {
			out = append(out, Difference{Call: "calls of " + arch, A: x, B: y})
		}
	}
	return out
}
