package defaults

import (
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Errnos that the filter answers with, errno(3).
const (
	eperm           = 1
	enosys          = 38
	eprotonosupport = 93
	eafnosupport    = 97
)

// Address families, socket(2), and the one netlink protocol that is granted.
const (
	afUnix, afInet, afInet6, afNetlink = 1, 2, 10, 16
	netlinkRoute                       = 0
)

// Flags of clone(2) that make a namespace.
var namespaceFlags = []uint64{
	0x00020000, // CLONE_NEWNS
	0x02000000, // CLONE_NEWCGROUP
	0x04000000, // CLONE_NEWUTS
	0x08000000, // CLONE_NEWIPC
	0x10000000, // CLONE_NEWUSER
	0x20000000, // CLONE_NEWPID
	0x40000000, // CLONE_NEWNET
}

// Requests of ioctl_tty(2) that put characters into the input of a terminal.
const (
	tiocsti   = 0x5412
	tioclinux = 0x541C
)

// A guard is conditions on arguments. The rules of one call never overlap, so that it does not matter in what order a runtime tries
// them or which it thinks stronger: libseccomp, runc, crun and Bulkhead compile the same decisions.
type guard struct {
	allow [][]specs.LinuxSeccompArg // alternatives, each a conjunction
	deny  []refusal                 // what the rest is answered with, where ENOSYS would mislead a program
}

// A refusal answers calls whose arguments fulfil all conditions with an errno.
type refusal struct {
	args  []specs.LinuxSeccompArg
	errno uint
}

func equal(index uint, value uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Value: value, Op: specs.OpEqualTo}
}

// masked is true when the argument's bits under mask are value.
func masked(index uint, mask, value uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Value: mask, ValueTwo: value, Op: specs.OpMaskedEqual}
}

// The kernel's clone takes all flags from the low 32 bits, clone(2).
var noNewNamespace = func() *guard {
	var all uint64
	g := &guard{}
	for _, flag := range namespaceFlags {
		// Disjoint: this flag is set and none of those before it.
		g.deny = append(g.deny, refusal{[]specs.LinuxSeccompArg{masked(0, all|flag, flag)}, eperm})
		all |= flag
	}
	g.allow = [][]specs.LinuxSeccompArg{{masked(0, all, 0)}}
	return g
}()

// plainPersonality lets through PER_LINUX, UNAME26, PER_LINUX32 and the question (0xffffffff), personality(2).
var plainPersonality = &guard{allow: [][]specs.LinuxSeccompArg{
	{equal(0, 0)}, {equal(0, 0x8)}, {equal(0, 0x20000)}, {equal(0, 0x20008)}, {equal(0, 0xffffffff)},
}}

// family lets through one address family. The comparison is of all 64 bits, so that a number with high bits set, which the kernel cuts
// off, is no member of any granted family.
func family(number uint64) *guard {
	return &guard{allow: [][]specs.LinuxSeccompArg{{equal(0, number)}}}
}

// localSockets lets through AF_UNIX, and answers the families that are granted nowhere as a kernel without them does: AF_ALG, AF_VSOCK,
// AF_PACKET and what else the kernel would load a module for.
var localSockets = func() *guard {
	g := family(afUnix)
	g.deny = []refusal{{[]specs.LinuxSeccompArg{{Index: 0, Value: afNetlink, Op: specs.OpGreaterThan}}, eafnosupport}}
	for f := range uint64(afNetlink) {
		if f != afUnix && f != afInet && f != afInet6 {
			g.deny = append(g.deny, refusal{[]specs.LinuxSeccompArg{equal(0, f)}, eafnosupport})
		}
	}
	return g
}()

// exceptAlgVsock lets through all families but AF_ALG (38) and AF_VSOCK (40), which are not namespaced. No rule says no: i386 makes
// sockets by socketcall(2), whose arguments a filter cannot see, and there a no would contradict the yes.
var exceptAlgVsock = &guard{allow: [][]specs.LinuxSeccompArg{
	{{Index: 0, Value: 38, Op: specs.OpLessThan}}, {equal(0, 39)}, {{Index: 0, Value: 40, Op: specs.OpGreaterThan}},
}}

// routeNetlink lets through netlink of protocol 0, and answers other protocols as a kernel without them does.
var routeNetlink = &guard{
	allow: [][]specs.LinuxSeccompArg{{equal(0, afNetlink), equal(2, netlinkRoute)}},
	deny: []refusal{
		{[]specs.LinuxSeccompArg{equal(0, afNetlink), {Index: 2, Value: netlinkRoute, Op: specs.OpNotEqual}}, eprotonosupport},
	},
}

// noTerminalInput lets through every ioctl request but two, judged by the 32 bits that the kernel looks at (CVE-2019-10063).
var noTerminalInput = &guard{
	allow: allBut(1, tiocsti, tioclinux),
	deny: []refusal{
		{[]specs.LinuxSeccompArg{masked(1, 0xffffffff, tiocsti)}, eperm},
		{[]specs.LinuxSeccompArg{masked(1, 0xffffffff, tioclinux)}, eperm},
	},
}

// allBut returns alternatives that are true for exactly the arguments whose low 32 bits are none of the values. Profiles have no
// "masked not equal", so the complement is spelled as the branches of the tree of bits in which no value lies; they are disjoint.
func allBut(index uint, values ...uint64) [][]specs.LinuxSeccompArg {
	var out [][]specs.LinuxSeccompArg
	var walk func(mask, prefix uint64, bit int)
	walk = func(mask, prefix uint64, bit int) {
		if !slices.ContainsFunc(values, func(v uint64) bool { return v&mask == prefix }) {
			out = append(out, []specs.LinuxSeccompArg{masked(index, mask, prefix)})
			return
		}
		if bit < 0 {
			return // a value itself
		}
		walk(mask|1<<bit, prefix, bit-1)
		walk(mask|1<<bit, prefix|1<<bit, bit-1)
	}
	walk(0, 0, 31)
	return out
}

// Seccomp returns the filter of a level. Calls of other instruction sets of the machine (i386, x32) are not in it: at Hardened and
// below they end the process, at Compat they are judged by the same table.
func Seccomp(level Level) *specs.LinuxSeccomp {
	level = level.strict()
	errno := uint(enosys)
	profile := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: &errno, Architectures: architectures(level)}
	var plain []string
	for _, g := range levelCalls(level) {
		if names := strings.Fields(g.value); g.guard == nil {
			plain = append(plain, names...)
		} else {
			profile.Syscalls = append(profile.Syscalls, g.guard.rules(names)...)
		}
	}
	var no []string
	for _, w := range standing(refused, level) {
		no = append(no, strings.Fields(w.value)...)
	}
	return addPlain(profile, plain, no)
}

// levelCalls returns the groups of the level.
func levelCalls(level Level) []callGroup {
	var out []callGroup
	for _, g := range calls {
		if level >= g.from && !(level == Compat && g.value == "socket") {
			out = append(out, g)
		}
	}
	if level == Compat {
		out = append(out, compatSocket)
	}
	return out
}

func addPlain(profile *specs.LinuxSeccomp, yes, no []string) *specs.LinuxSeccomp {
	errno := uint(eperm)
	slices.Sort(yes)
	slices.Sort(no)
	profile.Syscalls = append(profile.Syscalls,
		specs.LinuxSyscall{Names: yes, Action: specs.ActAllow},
		specs.LinuxSyscall{Names: no, Action: specs.ActErrno, ErrnoRet: &errno})
	return profile
}

func (g *guard) rules(names []string) []specs.LinuxSyscall {
	var out []specs.LinuxSyscall
	for _, args := range g.allow {
		out = append(out, specs.LinuxSyscall{Names: names, Action: specs.ActAllow, Args: args})
	}
	for _, d := range g.deny {
		errno := d.errno
		out = append(out, specs.LinuxSyscall{Names: names, Action: specs.ActErrno, ErrnoRet: &errno, Args: d.args})
	}
	return out
}

func architectures(level Level) []specs.Arch {
	switch {
	case runtime.GOARCH == "arm64" && level == Compat:
		return []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	case runtime.GOARCH == "arm64":
		return []specs.Arch{specs.ArchAARCH64}
	case level == Compat:
		return []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	}
	return []specs.Arch{specs.ArchX86_64}
}
