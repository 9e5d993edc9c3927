package verify

import (
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Declared is what a container was started with.
type Declared struct {
	ID, Name  string
	Spec      *specs.Spec
	Bundle    string // absolute; relative paths of the Spec start here
	PID       int    // of the first process
	StartTime uint64 // of it, clock ticks after boot
	Cgroup    *cgroup.Record
	AppArmor  string // profile that the runtime loaded, "": none
	Upper     string // the writable layer of the root, "": not known
	Alone     bool   // its network is none: there is nothing but loopback
	Parent    int    // a process in the host's namespaces, as the container's monitor; 0: this one
	Rootless  bool   // no device rules could be set
	Stop      bool   // processes may be stopped for some microseconds, to read their filters
	NewRules  bool   // the device rules were replaced by an update
	Others    []Other
}

// An Other is another container that runs.
type Other struct {
	Name   string
	PID    int
	Cgroup *cgroup.Record
	Joins  []specs.LinuxNamespace // namespaces that it joined, by path
}

// Namespaces are inode numbers by the names of /proc/PID/ns.
type Namespaces map[string]uint64

// Facts are what the kernel says.
type Facts struct {
	Host      []Namespaces          // of the monitor and of this process
	Joined    map[string]Namespaces // what stands at the paths of namespaces that were joined, by kind: one entry each; none: gone
	Others    map[string]Namespaces // by name
	Processes []Process             // the first is the container's first
	OOMScore  *int                  // of the monitor, which its children have if nothing else was declared
	More      int                   // processes that were too many to look at

	Mounts     []procfs.Mount // of the first process
	HostMounts []procfs.Mount
	Paths      map[string]Path   // inside, by the path as declared
	Sources    map[string]Source // of bind mounts, on the host
	Nodes      []Node            // device nodes in /dev

	FiltersErr string // why some filters could not be read

	Limits    []cgroup.Value
	LimitsErr string

	UIDs, GIDs []idmap.Range // maps of the first process
	Inner      Inner
	AppArmor   bool // it is in force
	SELinux    bool
}

// A Path is what a path inside leads to.
type Path struct {
	Exists bool
	Dir    bool
	Char   bool
	Block  bool
	Major  uint32
	Minor  uint32
	Mount  int  // number in the mount table, of the mount that it is on
	Root   bool // it is the root of that mount
}

// A Source is what a source of a bind mount is on the host now.
type Source struct {
	Exists       bool
	Major, Minor uint32 // of the file system, as the mount table has it
	Root         string // where in the file system
}

// A Node is a device node.
type Node struct {
	Path         string
	Block        bool
	Major, Minor uint32
}

// Inner is what was read from within the container's network, IPC and UTS namespaces.
type Inner struct {
	Err        string            // nothing could be read, and why
	Sysctls    map[string]string // by name; one that could not be read is missing
	Hostname   string
	Domainname string
	Interfaces []string
}

// A Process is one that is in the container in some respect.
type Process struct {
	PID       int
	Comm      string
	StartTime uint64
	NS        Namespaces
	Nested    map[string]bool   // namespaces that belong to a user namespace below the container's
	Cgroups   map[string]string // path by controller, "" for the unified hierarchy
	Threads   []procfs.Status   // the first is the process's own
	Rlimits   map[string][2]uint64
	OOMScore  int
	AppArmor  string
	SELinux   string
	Outside   []string // descriptors, working and root directories that lie outside of its mounts
	Filters   [][]byte // seccomp programs, the oldest first; nil: not read
	Tracer    int      // 0: none; the process that traces it
}
