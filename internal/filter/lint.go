package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // programs do not start, or the profile does not do what it says
	Warning Severity = "warning" // it holds less than it seems
	Note    Severity = "note"
)

// A Finding is something about a profile.
type Finding struct {
	Severity Severity `json:"severity"`
	Where    string   `json:"where"` // syscalls[3], a call, architectures
	What     string   `json:"what"`
	Hint     string   `json:"hint,omitempty"`
}

// needs are calls without which a program does not start: each is one or another that does the same. The first ones are any program's, the last the dynamic loader's of
// the GNU C library (elf/rtld.c, elf/dl-load.c) and of musl. A test takes each away and sees a program fail.
var needs = []struct {
	any    []string
	reason string
}{
	{[]string{"execve"}, "the filter is loaded before execve: nothing can be executed at all"},
	{[]string{"exit_group"}, "a program cannot end"},
	{[]string{"mmap"}, "the loader cannot map libraries"},
	{[]string{"openat", "open"}, "the loader cannot open libraries"},
	{[]string{"read"}, "the loader cannot read libraries"},
	{[]string{"fstat", "newfstatat", "statx"}, "the loader cannot look at libraries"},
	{[]string{"mprotect"}, "the loader cannot protect what it relocated"},
}

// wants are calls that programs nearly always make soon: without them some fail in ways that are hard to understand.
var wants = []string{
	"close", "write", "brk", "munmap", "futex", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "set_tid_address", "getrandom", "clock_gettime", "lseek", "fcntl", "pread64",
}

// Lint says what is wrong with a profile, or worth knowing: errors first.
func Lint(p *Profile) []Finding {
	l := &linter{p: p, most: triesOf(p.Rules, p.Rules)}
	l.start()
	l.rules()
	l.architectures()
	l.dangerous()
	slices.SortStableFunc(l.out, func(a, b Finding) int { return rank(a.Severity) - rank(b.Severity) })
	return l.out
}

func rank(s Severity) int { return slices.Index([]Severity{Error, Warning, Note}, s) }

type linter struct {
	p    *Profile
	most int // combinations of arguments of one call
	out  []Finding
}

func (l *linter) add(s Severity, where, what, hint string) {
	l.out = append(l.out, Finding{s, where, what, hint})
}

// allowed reports whether a call is let through with some arguments; exists is false where this machine has no such call.
func (l *linter) allowed(name string) (allowed, exists bool) {
	number, exists := seccomp.Number(seccomp.Native().Name, name)
	if !exists {
		return false, false
	}
	for _, args := range arguments(l.p.Rules, l.p.Rules, name, l.most) {
		if seccomp.Allows(l.p.decide(number, args)) {
			return true, true
		}
	}
	return false, true
}

// start looks for what a program needs.
func (l *linter) start() {
	for _, n := range needs {
		if !slices.ContainsFunc(n.any, func(name string) bool { ok, _ := l.allowed(name); return ok }) {
			l.add(Error, strings.Join(n.any, ", "), "not allowed: "+n.reason, "allow "+n.any[0])
		}
	}
	if seccomp.Native().Name == "SCMP_ARCH_X86_64" {
		if ok, _ := l.allowed("arch_prctl"); !ok {
			l.add(Error, "arch_prctl", "not allowed: a program cannot set up the memory of its thread", "allow arch_prctl")
		}
	}
	var missing []string
	for _, name := range wants {
		if ok, exists := l.allowed(name); exists && !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		l.add(Warning, strings.Join(missing, ", "), "not allowed: nearly every program makes these calls", "")
	}
	if a := l.p.Rules.DefaultAction; a == specs.ActErrno && (l.p.Rules.DefaultErrnoRet == nil || *l.p.Rules.DefaultErrnoRet == 1) {
		l.add(Note, "defaultAction", "answers EPERM: programs take that for a missing right and do not fall back from calls that are new to the profile", `"defaultErrnoRet": 38 (ENOSYS)`)
	}
}

// rules looks for what means nothing.
func (l *linter) rules() {
	native := seccomp.Native().Name
	unconditional := map[string]int{}
	for i, r := range l.p.Rules.Syscalls {
		if len(r.Args) == 0 {
			for _, name := range r.Names {
				if _, twice := unconditional[name]; !twice && r.Action != l.p.Rules.DefaultAction {
					unconditional[name] = i
				}
			}
		}
	}
	for i, r := range l.p.Rules.Syscalls {
		where := fmt.Sprintf("syscalls[%d] (%s)", i, short(r.Names))
		if r.Action == l.p.Rules.DefaultAction && sameErrno(&r, l.p.Rules) {
			l.add(Note, where, "says what the default action says anyway", "")
			continue
		}
		var unknown, elsewhere, overruled []string
		for _, name := range r.Names {
			at, plain := unconditional[name]
			_, here := seccomp.Number(native, name)
			switch {
			case !seccomp.Known(name):
				unknown = append(unknown, name)
			case !here:
				elsewhere = append(elsewhere, name)
			case plain && at != i:
				overruled = append(overruled, fmt.Sprintf("%s (by syscalls[%d])", name, at))
			}
		}
		if len(unknown) > 0 {
			l.add(Warning, where, "no architecture has "+strings.Join(unknown, ", ")+": the rule means nothing for them", "look for a misspelt name")
		}
		if len(overruled) > 0 {
			s := Warning
			if l.p.whole == nil || len(r.Args) == 0 {
				s = Note
			}
			l.add(s, where, "never counts, since a rule without conditions decides first: "+strings.Join(overruled, ", "), "remove one of them")
		}
		if len(elsewhere) == len(r.Names) {
			l.add(Note, where, "has only calls of other architectures than "+native, "")
		}
		if (r.Action == specs.ActTrace || r.Action == specs.ActNotify) && len(r.Names) > 0 {
			l.add(Note, where, string(r.Action)+" needs somebody who answers: without, the call fails with ENOSYS", "")
		}
	}
}

func sameErrno(r *specs.LinuxSyscall, p *specs.LinuxSeccomp) bool {
	number := func(e *uint) uint {
		if e == nil {
			return 1
		}
		return *e
	}
	return len(r.Args) == 0 && (r.Action != specs.ActErrno || number(r.ErrnoRet) == number(p.DefaultErrnoRet))
}

// short is the first names of a rule.
func short(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], " ") + fmt.Sprintf(" and %d more", len(names)-3)
	}
	return strings.Join(names, " ")
}

// architectures looks at the other tables of calls of this machine.
func (l *linter) architectures() {
	for _, arch := range others() {
		if got := l.p.judged(arch); got == "judged by the rules" {
			l.add(Note, "architectures", "calls of "+arch+" are judged by the rules, too: another table of calls, with conditions on arguments that cannot be seen there", "leave it away, if no program of it runs")
		} else {
			l.add(Note, "architectures", "a program of "+arch+" is ended: "+got, "")
		}
	}
}

// dangerous looks for calls that are a way out, or that nearly every escape begins with.
func (l *linter) dangerous() {
	if a := l.p.Rules.DefaultAction; a == specs.ActAllow || a == specs.ActLog {
		l.add(Warning, "defaultAction", string(a)+": what is not named is allowed, and so is every call that a later kernel brings", "name what is allowed, and let the default be SCMP_ACT_ERRNO")
	}
	hardened, err := compiled(&Profile{Name: "hardened", Rules: defaults.Seccomp(defaults.Hardened)})
	if err != nil {
		return // the engine's own compiles
	}
	usual := &linter{p: hardened, most: maxTries}
	groups := defaults.Groups()
	slices.SortStableFunc(groups, func(a, b defaults.Group) int { return len(a.Calls) - len(b.Calls) }) // a call of several is told of the one that is about it
	seen := map[string]bool{"clone": true}                                                              // by its flags, below
	for _, g := range groups {
		var open []string
		for _, name := range strings.Fields(g.Calls) {
			if seen[name] || !l.free(name) || usual.free(name) {
				continue
			}
			seen[name] = true
			open = append(open, name)
		}
		if len(open) > 0 {
			l.add(Warning, strings.Join(open, ", "), "allowed: "+g.Reason, "the levels allow it only with --allow "+g.Name)
		}
	}
	for _, c := range []struct {
		call string
		args [6]uint64
		what string
	}{
		{"clone", [6]uint64{0x10000000}, "user namespaces can be made, which most kernel escapes begin with"},
		{"clone3", [6]uint64{}, "its flags cannot be seen by a filter: user namespaces can be made"},
		{"socket", [6]uint64{38, 5}, "sockets of AF_ALG: the kernel's cryptography, with a history of holes"},
		{"socket", [6]uint64{40, 1}, "sockets of AF_VSOCK: to the host of a virtual machine, past every network"},
		{"ioctl", [6]uint64{0, 0x5412}, "TIOCSTI: types into the terminal of the caller (CVE-2019-10063)"},
		{"personality", [6]uint64{0x40000}, "ADDR_NO_RANDOMIZE: addresses become known"},
	} {
		if number, ok := seccomp.Number(seccomp.Native().Name, c.call); ok && seccomp.Allows(l.p.decide(number, c.args)) {
			l.add(Warning, c.call, c.what, "")
		}
	}
}

// free reports whether a call is let through whatever its arguments are.
func (l *linter) free(name string) bool {
	number, ok := seccomp.Number(seccomp.Native().Name, name)
	if !ok {
		return false
	}
	for _, args := range arguments(l.p.Rules, l.p.Rules, name, l.most) {
		if !seccomp.Allows(l.p.decide(number, args)) {
			return false
		}
	}
	return true
}
