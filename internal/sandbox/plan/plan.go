package plan

import (
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Input is all that a plan is made of.
type Input struct {
	Spec        *specs.Spec
	Bundle      string // absolute; relative paths of the spec start here
	ID          string
	Facts       *Facts
	Run         bool // execve at once, without waiting for `start`
	NoPivot     bool
	NoKeyring   bool
	PreserveFDs int
	Hooks       bool         // the parent must run prestart or createRuntime hooks, or move network devices, before the root is built
	Filter      Filter       // the compiled seccomp filter; none when Program is empty
	Landlock    *lsm.Ruleset // nil: none
	PortGuard   Filter       // refuses what goes around Landlock's rules for ports
}

// A Filter is a compiled seccomp filter.
type Filter struct {
	Program []byte // 8-byte struct sock_filter each
	Flags   uint32 // SECCOMP_FILTER_FLAG_*
	Notify  bool   // the filter has a notify action: its listener goes to the parent
}

// Facts is what the compiler knows of the host. The zero value is a host with no cgroups and nothing special.
type Facts struct {
	Cgroup      CgroupFacts
	TargetModes map[string]uint32 // permission bits of directories of the image that a tmpfs without a mode covers
	TargetLinks map[string]string // destinations that are links to nothing yet, and where inside the root they lead
	Sources     map[string]Source // of bind mounts and devices, by absolute path on the host
	NofileHard  uint64            // hard limit of open files of the runtime
	NofileSoft  uint64            // the soft one, if it was raised to make the container, else 0
	NprocHard   uint64            // and of processes
	LastCap     int               // highest capability of the kernel
	Permitted   capability.Set    // capabilities of the runtime itself: without a user namespace no others can be granted
	RootAt      string            // with a user namespace: where to put the rootfs, if the mapped root cannot reach it by path and the parent must open it
	RootParent  string            // mount point that holds the rootfs, needed when rootfsPropagation is shared
	Labels      []Label           // LSM labels of the process
}

// A Label is what is written to an attribute file of /proc/thread-self (proc_pid_attr(5)).
type Label struct {
	File, Value string // "attr/apparmor/exec", "exec NAME"
	Why         string
	Keyring     bool // before the session keyring is made, else before execve
}

// CgroupFacts says what a mount of type cgroup shows and what must be joined.
type CgroupFacts struct {
	Unified bool          // cgroup v2 alone
	Joins   int           // v1: how many descriptors cgroup.0, cgroup.1 ... of a hierarchy's tasks file there are
	Wait    bool          // the runtime moves the child into its cgroup: a rootless one that systemd made
	V1      []CgroupMount // hierarchies to show, for v1 and hybrid
	Own     string        // v2: absolute host path of the container's own cgroup
}

// A CgroupMount is one v1 hierarchy (or, hybrid, the unified one).
type CgroupMount struct {
	Dir     string   // name of its directory under /sys/fs/cgroup
	Params  []string // fsconfig flags of fstype cgroup: controller names; "name=systemd"
	Own     string   // absolute host path of the container's own cgroup
	Links   []string // symbolic links to Dir: cpu for cpu,cpuacct
	Unified bool     // the cgroup2 mount of a hybrid host
}

// A Source is what a bind mount's source is.
type Source struct {
	Missing  bool
	Dir      bool
	ProcRoot bool // the root of a procfs
	HostOnly bool // with a user namespace: the mapped root cannot reach it by path, the parent must open it
}

// A FileWant is a descriptor that the parent has to open for the list.
type FileWant struct {
	Name string
	Kind FileKind
	Path string
	// Mount trees
	Recursive bool
	NoFollow  bool
	UIDs      []specs.LinuxIDMapping // TreeIDMap
	GIDs      []specs.LinuxIDMapping
	MapRec    bool
}

// FileKind is how a FileWant is opened.
type FileKind uint8

// Kinds of descriptors.
const (
	HostProc    FileKind = iota // the host's /proc, O_PATH, verified
	Namespace                   // a namespace file, O_RDONLY
	Tree                        // open_tree(2) clone of Path
	TreeIDMap                   // the same, shown through a mapping
	CgroupTasks                 // the tasks file of a v1 cgroup, O_WRONLY
	StartFIFO                   // the FIFO that `start` writes into, O_RDWR
	ReplyFIFO                   // the FIFO that tells `start` the outcome, O_RDWR
	FlagPage                    // FlagSize bytes of memory shared with the runtime, for reading
	HookState                   // a memory file with the container's state, for a hook's standard input
	InitPidfd                   // the pidfd of the container to join
	InitRoot                    // the root directory of the container to join, O_PATH
	Stdio                       // a standard stream of the process, from the caller
)

// FlagSize is the size of a FlagPage in bytes. Its first 8 bytes become 1.
const FlagSize = 4096

// Barriers at which the child waits for the parent.
const (
	BarrierMap    = 1 // namespaces exist: write uid_map, gid_map, timens_offsets
	BarrierHooks  = 2 // namespaces and cgroup ready: prestart and createRuntime hooks, network devices
	BarrierPivot  = 3 // mounts ready, old root still there: createContainer hooks
	BarrierReady  = 4 // created
	BarrierCopyUp = 5 // the parent copies what a tmpfs with tmpcopyup hides
	BarrierCgroup = 6 // the parent has moved the child into its cgroups
	BarrierSched  = 7 // the parent has set the scheduler of a process that joins
	BarrierTTY    = 8 // the parent has set up the terminal that it was sent
)

// Descriptors that the child sends.
const (
	FDConsole  = 1 // pty master
	FDListener = 2 // seccomp listener
	FDCopyFrom = 3 // tmpcopyup: the directory of the image
	FDCopyTo   = 4 // tmpcopyup: the new tmpfs
)

// A Plan is a compiled sandbox.
type Plan struct {
	Ops        []op.Op
	Mems       []op.Mem
	CloneFlags uint64 // CLONE_NEW* of clone3
	Files      []FileWant
	MapIDs     bool // BarrierMap comes
	Hooks      bool // BarrierHooks comes: the pid of the container's process is known there at the latest
}

// A builder collects a plan.
type builder struct {
	in   *Input
	spec *specs.Spec
	p    *Plan
	n    int // for unique names

	userns   bool   // new or joined
	newNS    uint64 // CLONE_NEW* asked for as new
	joinNS   []specs.LinuxNamespace
	proc     op.Arg // procfs for our own writes
	nullDev  bool
	readonly []op.Slot // tmpfs mounts that become read-only at the end
	forked   bool
	joining  bool // exec
	stdio    bool // exec: the standard streams come by descriptor
	forkLate bool // exec: the fork into the pid namespace is the last step but a few
	files    map[string]bool
	sources  map[int]op.Arg // sources of bind mounts that are opened already, by the mount's number
}

func (b *builder) add(ops ...op.Op) { b.p.Ops = append(b.p.Ops, ops...) }

func (b *builder) mem(m op.Mem) string {
	b.p.Mems = append(b.p.Mems, m)
	return m.Name
}

// scratch declares a memory of the kernel's to write into, once per name.
func (b *builder) scratch(name string, size int) string {
	for i := range b.p.Mems {
		if b.p.Mems[i].Name == name {
			return name
		}
	}
	return b.mem(op.Mem{Name: name, Size: size})
}

// name makes a name that is used nowhere else in the plan.
func (b *builder) name(prefix string) string {
	b.n++
	return prefix + strconv.Itoa(b.n)
}

func (b *builder) slot(prefix string) op.Slot { return op.Slot(b.name(prefix)) }

// want asks the parent for a descriptor.
func (b *builder) want(f FileWant) op.Arg {
	if !b.files[f.Name] {
		b.files[f.Name] = true
		b.p.Files = append(b.p.Files, f)
	}
	return op.Fd(f.Name)
}

// here labels the next op by adding one that does nothing; it is used where branches meet.
func (b *builder) here(label string) {
	b.add(op.Check("zero", 0, ^uint64(0), 0, 0).Named(label))
}
