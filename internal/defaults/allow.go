package defaults

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A Group is a set of system calls that a level refuses and that can be allowed by name.
type Group struct {
	Name   string
	Calls  string   // separated by spaces; "": socket, by family
	Caps   []string // capabilities without which the calls are of no use, and that bring the group with them
	Reason string   // what is given up
}

// groups are what --allow takes. A capability that is added brings its calls: it could not be used without.
var groups = []Group{
	{"io_uring", "io_uring_setup io_uring_enter io_uring_register", nil, "file and socket work that no filter sees"},
	{"ptrace", "ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd process_madvise process_mrelease", []string{"CAP_SYS_PTRACE"}, "debuggers: processes look into each other"},
	{"userns", "unshare setns clone mount umount2 pivot_root chroot", nil, "user namespaces inside, which most kernel escapes begin with: sandboxes of browsers and bubblewrap"},
	{"mount", "mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr unshare setns clone sethostname setdomainname quotactl quotactl_fd fanotify_init fanotify_mark lookup_dcookie", []string{"CAP_SYS_ADMIN"}, "changes of the mount tree, and namespaces"},
	{"bpf", "bpf", []string{"CAP_BPF", "CAP_SYS_ADMIN"}, "programs inside the kernel"},
	{"perf", "perf_event_open", []string{"CAP_PERFMON", "CAP_SYS_ADMIN"}, "counters inside the kernel"},
	{"userfaultfd", "userfaultfd", nil, "stops the kernel in the middle of a copy"},
	{"keyring", "add_key request_key keyctl", nil, "keyrings, which are not namespaced"},
	{"chroot", "chroot", []string{"CAP_SYS_CHROOT"}, "another root directory"},
	{"modules", "init_module finit_module delete_module", []string{"CAP_SYS_MODULE"}, "kernel modules"},
	{"reboot", "kexec_load kexec_file_load reboot", []string{"CAP_SYS_BOOT"}, "another kernel, or none"},
	{"handles", "open_by_handle_at name_to_handle_at", []string{"CAP_DAC_READ_SEARCH"}, "any file of the file system by number"},
	{"acct", "acct", []string{"CAP_SYS_PACCT"}, "accounting of the host's processes"},
	{"time", "settimeofday clock_settime clock_adjtime adjtimex", []string{"CAP_SYS_TIME"}, "the host's clock"},
	{"syslog", "syslog", []string{"CAP_SYSLOG"}, "the kernel log"},
	{"ports", "iopl ioperm", []string{"CAP_SYS_RAWIO"}, "the machine's ports"},
	{"vhangup", "vhangup", []string{"CAP_SYS_TTY_CONFIG"}, "hangs up terminals"},
	{"numa", "get_mempolicy set_mempolicy mbind migrate_pages move_pages set_mempolicy_home_node", []string{"CAP_SYS_NICE"}, "memory placement"},
	{"mqueue", "msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr", nil, "message queues"},
	{"sysvipc", "shmget shmat shmdt shmctl semget semop semctl semtimedop", nil, "System V shared memory and semaphores: PostgreSQL"},
	{"mknod", "mknod mknodat", []string{"CAP_MKNOD"}, "device nodes, fifos, sockets"},
}

// families are what --allow af=NAME takes: numbers of socket(2).
var families = map[string]uint64{
	"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "alg": 38, "vsock": 40, "can": 29, "bluetooth": 31, "xdp": 44, "smc": 43, "tipc": 30, "key": 15, "rds": 21, "ieee802154": 36,
}

// Groups returns what can be allowed by name.
func Groups() []Group { return slices.Clone(groups) }

// GroupsOf returns the names of the groups that a capability brings.
func GroupsOf(capability string) []string {
	var out []string
	for _, g := range groups {
		if slices.Contains(g.Caps, capability) {
			out = append(out, g.Name)
		}
	}
	if capability == "CAP_NET_RAW" {
		out = append(out, "af=packet")
	}
	if capability == "CAP_NET_ADMIN" {
		out = append(out, "af=netlink")
	}
	return out
}

// Allow changes a profile of Seccomp so that the calls of a group are allowed, whatever their arguments. An unknown name is Invalid. The reason is what is given
// up.
func Allow(profile *specs.LinuxSeccomp, name string) (reason string, err error) {
	if family, ok := strings.CutPrefix(name, "af="); ok {
		return "sockets of family " + family, allowFamily(profile, family)
	}
	at := slices.IndexFunc(groups, func(g Group) bool { return g.Name == name })
	if at < 0 {
		var known []string
		for _, g := range groups {
			known = append(known, g.Name)
		}
		err := errdef.Errorf(errdef.Invalid, "allow %.64q: there is no such group", name)
		return "", errdef.WithHint(err, strings.Join(known, ", ")+", af=FAMILY")
	}
	calls := strings.Fields(groups[at].Calls)
	var kept []specs.LinuxSyscall
	for _, r := range profile.Syscalls { // rules of a filter never overlap (docs/adr/0003)
		r.Names = slices.DeleteFunc(slices.Clone(r.Names), func(n string) bool { return slices.Contains(calls, n) })
		if len(r.Names) > 0 {
			kept = append(kept, r)
		}
	}
	profile.Syscalls = append(kept, specs.LinuxSyscall{Names: calls, Action: specs.ActAllow})
	return groups[at].Reason, nil
}

// allowFamily adds a family of sockets. What a rule says of the family already is replaced.
func allowFamily(profile *specs.LinuxSeccomp, family string) error {
	number, ok := families[family]
	if !ok {
		n, err := strconv.ParseUint(family, 10, 8)
		if err != nil {
			return errdef.Errorf(errdef.Invalid, "allow af=%.32q: there is no such family of sockets", family)
		}
		number = n
	}
	var kept []specs.LinuxSyscall
	for _, r := range profile.Syscalls {
		switch first := r.Args; {
		case !slices.Contains(r.Names, "socket") || len(first) == 0 || first[0].Index != 0:
			kept = append(kept, r)
		case first[0].Op == specs.OpEqualTo && first[0].Value == number: // replaced
		case first[0].Op == specs.OpGreaterThan && first[0].Value < number && r.Action != specs.ActAllow:
			kept = append(kept, split(r, number)...)
		default:
			kept = append(kept, r)
		}
	}
	rule := specs.LinuxSyscall{
		Names: []string{"socket"}, Action: specs.ActAllow,
		Args: []specs.LinuxSeccompArg{{Index: 0, Value: number, Op: specs.OpEqualTo}},
	}
	profile.Syscalls = append(kept, rule)
	return nil
}

// split takes one number out of a rule for all numbers above another.
func split(r specs.LinuxSyscall, number uint64) []specs.LinuxSyscall {
	var out []specs.LinuxSyscall
	with := func(value uint64, op specs.LinuxSeccompOperator) {
		one := r
		one.Args = []specs.LinuxSeccompArg{{Index: 0, Value: value, Op: op}}
		out = append(out, one)
	}
	for n := r.Args[0].Value + 1; n < number; n++ {
		with(n, specs.OpEqualTo)
	}
	with(number, specs.OpGreaterThan)
	return out
}
