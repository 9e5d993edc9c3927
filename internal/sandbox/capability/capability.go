// Package capability knows Linux capabilities (capabilities(7)) by name and number, and the five sets of a process.
//
// A Set is a bitmask, Sets are the five of runtime-spec. The package computes; it sets nothing on any process. That is the plan's work.
//
//	sets, unknown := capability.FromSpec(spec.Process.Capabilities)
//	after := sets.AfterExec(true) // what a program run as root will have
//
// Security: the zero Sets hold nothing. A name that the kernel does not know grants nothing and is reported, as runtime-spec config.md
// demands a warning for it. Inheritable and ambient capabilities are never derived from other sets (CVE-2022-24769, CVE-2022-29162).
package capability

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
)

// Names in the order of include/uapi/linux/capability.h. The last three came with kernels 5.8, 5.8 and 5.9.
var names = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
	"CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN",
	"CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
	"CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

// A Set is a set of capabilities: bit n is capability number n.
type Set uint64

// Known is the set of capabilities that this build has names for.
const Known Set = 1<<len(names) - 1

// All returns the set of capabilities that the running kernel knows, also those without a name here.
func All() Set { return 1<<(sys.LastCapability()+1) - 1 }

// Of makes a set of capability numbers.
func Of(numbers ...int) Set {
	var s Set
	for _, n := range numbers {
		s |= 1 << n
	}
	return s
}

// Name returns the name of a capability, "CAP_41" for one that has none here.
func Name(number int) string {
	if number >= 0 && number < len(names) {
		return names[number]
	}
	return "CAP_" + strconv.Itoa(number)
}

// Number returns the number of a capability name: upper case with CAP_, as in capabilities(7) and runtime-spec.
func Number(name string) (int, bool) {
	for i := range names {
		if names[i] == name {
			return i, true
		}
	}
	return 0, false
}

// Parse makes a set of names. Those without a meaning, and those that the running kernel does not have, are returned as unknown,
// in order, and grant nothing.
func Parse(list []string) (s Set, unknown []string) { return parse(list, sys.LastCapability()) }

func parse(list []string, last int) (s Set, unknown []string) {
	for _, name := range list {
		if n, ok := Number(name); ok && n <= last {
			s |= 1 << n
		} else {
			unknown = append(unknown, name)
		}
	}
	return s, unknown
}

// Has reports whether the set holds a capability number.
func (s Set) Has(number int) bool { return s>>number&1 != 0 }

// Names returns the names of the set, by number.
func (s Set) Names() []string {
	var list []string
	for n := range 64 {
		if s.Has(n) {
			list = append(list, Name(n))
		}
	}
	return list
}

// String returns the set for people: "none", "all", "all but CAP_SYS_BOOT", or the names separated by spaces.
func (s Set) String() string {
	all := Known
	switch missing := all &^ s; {
	case s == 0:
		return "none"
	case missing == 0 && s == all:
		return "all"
	case s&^all == 0 && len(missing.Names()) <= 5:
		return "all but " + strings.Join(missing.Names(), " ")
	}
	return strings.Join(s.Names(), " ")
}

// Hex returns the set as in /proc/PID/status: 16 hexadecimal digits.
func (s Set) Hex() string {
	h := strconv.FormatUint(uint64(s), 16)
	return strings.Repeat("0", 16-len(h)) + h
}
