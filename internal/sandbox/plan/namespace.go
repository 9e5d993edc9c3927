package plan

import (
	"sort"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func (b *builder) sortNamespaces() error {
	if b.spec.Linux == nil {
		return nil
	}
	for i, n := range b.spec.Linux.Namespaces {
		flag := ns(n.Type)
		if flag == 0 {
			return errdef.Errorf(errdef.Invalid, "linux.namespaces[%d].type: unknown namespace %q", i, n.Type)
		}
		if flag == unix.CLONE_NEWUSER {
			b.userns = true
		}
		if n.Path == "" {
			b.newNS |= flag
		} else {
			b.joinNS = append(b.joinNS, n)
		}
	}
	// A user namespace that is joined comes first: it gives the rights over the others of the same owner.
	sort.SliceStable(b.joinNS, func(i, j int) bool { return joinRank(b.joinNS[i]) < joinRank(b.joinNS[j]) })
	if b.spec.Linux.TimeOffsets != nil && b.newNS&unix.CLONE_NEWTIME == 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.timeOffsets: without a new time namespace"), "add {\"type\": \"time\"} to linux.namespaces")
	}
	return nil
}

// joinRank orders joins: user first, mount last, because the paths of the others are already open but the root changes with it.
func joinRank(n specs.LinuxNamespace) int {
	switch n.Type {
	case specs.UserNamespace:
		return 0
	case specs.MountNamespace:
		return 2
	}
	return 1
}

func (b *builder) joined(flag uint64) bool {
	for _, n := range b.joinNS {
		if ns(n.Type) == flag {
			return true
		}
	}
	return false
}

// namespaces makes and joins them. Without a user namespace and without a pid namespace to join, clone3 makes all new ones at once.
// Otherwise the first process prepares them and makes the container's process inside (a pid namespace holds only what is born in it).
func (b *builder) namespaces() {
	simple := !b.userns && !b.joined(unix.CLONE_NEWPID)
	if simple {
		b.p.CloneFlags = CloneFlags(b.spec)
	}
	b.cgroups(!simple)
	b.joins()
	rest := b.newNS
	if simple {
		rest &= unix.CLONE_NEWTIME // the cgroup namespace is made in cgroups
	}
	if rest != 0 {
		b.add(op.Unshare(rest).Because("new namespaces: " + nsNames(rest)).
			Hinted("this kernel or a limit in /proc/sys/user forbids a namespace of this kind"))
	}
	if rest&unix.CLONE_NEWUSER != 0 {
		b.p.MapIDs = true
		b.barrier(BarrierMap, "the runtime writes the id mappings before anything of the image is touched")
		b.becomeRoot()
	}
	if rest&unix.CLONE_NEWTIME != 0 {
		b.enterTime()
	}
	if !simple && (b.newNS|b.joinFlags())&unix.CLONE_NEWPID != 0 {
		b.fork("the container's process, in its pid namespace")
	}
}

// joins enters the namespaces that exist. With a user namespace among them, each other one is tried before it, with the host's rights, and if
// these do not reach again after it: it may belong to either.
func (b *builder) joins() {
	user := b.joined(unix.CLONE_NEWUSER)
	if user {
		for _, n := range b.joinNS {
			if n.Type == specs.UserNamespace || n.Type == specs.MountNamespace {
				continue
			}
			cell := "joined." + string(n.Type)
			b.mem(op.Mem{Name: cell, Size: 8, Init: words(1)})
			b.add(op.Setns(b.namespace(n), ns(n.Type)).To(op.Slot(cell)).Else(op.AnyErrno, "").Because("join the " + string(n.Type) + " namespace " + n.Path))
		}
	}
	for _, n := range b.joinNS {
		join := op.Setns(b.namespace(n), ns(n.Type)).Because("join the " + string(n.Type) + " namespace " + n.Path)
		if user && n.Type != specs.UserNamespace && n.Type != specs.MountNamespace {
			done := b.name("joined")
			b.add(op.Check("joined."+string(n.Type), 0, ^uint64(0), 1, 0).Else(op.AnyErrno, done).Because("was the " + string(n.Type) + " namespace joined before"))
			b.add(join)
			b.here(done)
			continue
		}
		b.add(join)
		if n.Type == specs.UserNamespace {
			b.becomeRoot()
		}
	}
}

func (b *builder) namespace(n specs.LinuxNamespace) op.Arg {
	return b.want(FileWant{Name: "ns." + string(n.Type), Kind: Namespace, Path: n.Path})
}

// later are namespaces that clone3 does not make: a cgroup namespace has its root where the process is when it is made, and a time namespace
// takes its offsets before anybody is in it.
const later = unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// CloneFlags returns the namespaces that the first process of a new container is born in, so that a caller can have it made while the rest
// is compiled. It is what Compile puts into Plan.CloneFlags.
func CloneFlags(spec *specs.Spec) (flags uint64) {
	if spec.Linux == nil {
		return 0
	}
	for _, n := range spec.Linux.Namespaces {
		if n.Type == specs.UserNamespace || n.Type == specs.PIDNamespace && n.Path != "" {
			return 0
		}
		if n.Path == "" {
			flags |= ns(n.Type)
		}
	}
	return flags &^ later
}

// cgroups puts the process into the container's cgroups, if it was not born in them, and then makes the cgroup namespace, whose root is
// where the process is; with unshared, that is made with the others. A single thread that writes 0 into the tasks file of a v1 hierarchy
// takes none of the kernel's locks that make moving a process slow (kernel/cgroup/cgroup.c, cgroup_procs_write_start).
func (b *builder) cgroups(unshared bool) {
	for i := range b.in.Facts.Cgroup.Joins {
		b.add(op.Write(b.want(FileWant{Name: "cgroup." + itoa(i), Kind: CgroupTasks}), "0").Because("join the container's cgroup"))
	}
	if a := b.spec.Process.ExecCPUAffinity; a == nil || a.Initial == "" {
		const most = 1024 // bytes: 8192 CPUs
		b.add(op.Raw("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, op.Num(0), op.Num(most), op.Data(allCPUs, "all CPUs")).
			Else(op.AnyErrno, "").Because("the CPUs of the container's cgroup, not those that the caller was bound to"))
	}
	if b.in.Facts.Cgroup.Wait {
		b.barrier(BarrierCgroup, "in the container's cgroup")
	}
	if !unshared && b.newNS&unix.CLONE_NEWCGROUP != 0 {
		b.add(op.Unshare(unix.CLONE_NEWCGROUP).Because("a cgroup namespace: the container's cgroup is its root"))
	}
}

func (b *builder) joinFlags() (flags uint64) {
	for _, n := range b.joinNS {
		flags |= ns(n.Type)
	}
	return flags
}

// becomeRoot takes the ids of the user namespace's root.
func (b *builder) becomeRoot() {
	b.add(
		op.Setresgid(0).Because("root of the user namespace").Hinted("linux.gidMappings must map container id 0"),
		op.Setresuid(0).Because("root of the user namespace").Hinted("linux.uidMappings must map container id 0"),
	)
}

// enterTime writes the offsets, which is only possible before anybody is in the namespace, and goes in (time_namespaces(7)). The
// setns needs a process whose memory nobody shares.
func (b *builder) enterTime() {
	if !b.p.MapIDs {
		b.timeOffsets()
	} // else the runtime writes them at the barrier: after the change of ids the file is no longer ours
	t := b.slot("timens")
	b.add(
		op.Openat(b.proc, "self/ns/time_for_children", unix.O_RDONLY|unix.O_CLOEXEC, 0).To(t).Because("the new time namespace"),
		op.Setns(op.At(t), unix.CLONE_NEWTIME).Because("enter the new time namespace"),
		op.Close(op.At(t)),
	)
}

func (b *builder) timeOffsets() {
	text := TimeOffsets(b.spec)
	if text == "" {
		return
	}
	f := b.slot("f")
	b.add(
		op.Openat(b.proc, "self/timens_offsets", unix.O_WRONLY|unix.O_CLOEXEC, 0).To(f).Because("linux.timeOffsets"),
		op.Write(op.At(f), text).Because("linux.timeOffsets").Hinted("an offset may not move a clock below zero or above 146 years (time_namespaces(7))"),
		op.Close(op.At(f)),
	)
}

// TimeOffsets returns the text for /proc/PID/timens_offsets, "" for none.
func TimeOffsets(spec *specs.Spec) string {
	text := ""
	if spec.Linux == nil {
		return text
	}
	for _, clock := range sortedKeys(spec.Linux.TimeOffsets) {
		o := spec.Linux.TimeOffsets[clock]
		text += clock + " " + strconv.FormatInt(o.Secs, 10) + " " + strconv.FormatUint(uint64(o.Nanosecs), 10) + "\n"
	}
	return text
}

func nsNames(flags uint64) string {
	names := ""
	for _, t := range []specs.LinuxNamespaceType{
		specs.UserNamespace, specs.PIDNamespace, specs.MountNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace,
		specs.CgroupNamespace, specs.TimeNamespace,
	} {
		if flags&ns(t) != 0 {
			names += ", " + string(t)
		}
	}
	return names[2:]
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

var allCPUs = strings.Repeat("\xff", 1024)

func itoa(n int) string { return strconv.Itoa(n) }
