package doctor

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/feature"
)

// Facts are what Examine found. The zero value is a host of which nothing is known.
type Facts struct {
	Host     Host
	Caller   Caller
	Kernel   Kernel
	Modules  Modules
	Cgroups  Cgroups
	Maps     Maps // of a caller who is not privileged
	Settings []Setting
	Places   []Place
	Silent   []string // what did not answer in time
}

// Host is what machine and system this is.
type Host struct {
	Name      string // of os-release(5), "Debian GNU/Linux 12"
	Family    Family
	Release   string // uname -r
	Machine   string // uname -m
	Container string // how it is known that we are in a container, "" if not
	VM        string // how it is known that this is a virtual machine, "" if not
}

// Caller is this process and its user.
type Caller struct {
	UID          int
	Name         string // "" if nobody knows it
	Privileged   bool   // root of the first user namespace, with CAP_SYS_ADMIN
	InUserNS     bool
	NoNewPrivs   bool
	Seccomp      bool   // a filter is in force
	NoFile       uint64 // hard limits
	NProc        uint64
	MemLock      uint64
	Hidepid      string // option of /proc, "" if none
	ProcMissing  bool   // /proc is not there, or is no procfs
	SysMissing   bool
	Systemd      Helper // bulkhead-systemd
	Report       Helper // bulkhead-report
	RuntimeDir   string // XDG_RUNTIME_DIR
	RuntimeDirOK string // "" good, else what is wrong with it
	HasRunUser   bool   // /run/user/UID is there
	Linger       bool
}

// A Helper is a program that was looked for.
type Helper struct {
	Path string // "" if it is not there
	Seen string // where it was looked for
}

// A Try is the outcome of something tried.
type Try struct {
	Done bool
	Text string // "" it worked, else why not
}

func tried(err error) Try {
	if err != nil {
		return Try{true, reason(err)}
	}
	return Try{Done: true}
}

func (t Try) works() bool { return t.Done && t.Text == "" }
func (t Try) fails() bool { return t.Done && t.Text != "" }

// Kernel is what the kernel can do.
type Kernel struct {
	Features    map[feature.ID]string // "" it works, else why not
	Landlock    int                   // ABI
	Namespaces  []Feature
	UserNS      Try // a user namespace that holds something
	Procfs      Try // a fresh procfs in a user namespace
	Sysfs       Try
	OverlayUser Try      // overlayfs in a user namespace
	ProcCovered []string // what is mounted below /proc
	SysCovered  []string
	IDMapTmpfs  Try
	Lockdown    string // "none", "integrity", "confidentiality"; "" not there
	Vulnerable  []string
	CPUKnown    bool   // the directory of vulnerabilities can be read
	Cmdline     string // of the kernel, "" if it cannot be read
	MemfdNoexec string // sysctl vm.memfd_noexec
}

// A Feature is something that works or does not.
type Feature struct {
	Name string
	Err  string // "" it works
}

// lacks returns why a feature does not work, "" if it does.
func (k *Kernel) lacks(id feature.ID) string {
	why, asked := k.Features[id]
	if !asked {
		return "not asked"
	}
	return why
}

// Modules is what security modules there are.
type Modules struct {
	List        string // /sys/kernel/security/lsm
	SecurityFS  bool
	AppArmor    bool // in force
	AppArmorIn  bool // built into the kernel
	Parser      string
	PolicyAdmin bool // this process may load policy
	OwnProfile  string
	SELinux     bool
	SELinuxIn   bool
	LandlockIn  bool
	Enforcing   string // "1", "0", "" unknown
	ContainerT  Try    // the policy has container_t
	Yama        string // ptrace_scope, "" without the module
}

// Cgroups is what the control groups are like.
type Cgroups struct {
	Mode        string // "v1", "v2", "hybrid", "none"; "" unknown
	Controllers []string
	Options     string // of the superblock of v2
	Mount       string // of v2
	Own         string // of this process, in v2
	Systemd     bool
	Bus         Try
	BusPath     string
	Devices     Try // a device program loads (v2)
	SwapFile    Try // the file that limits swap is there
	Swap        bool
	SwapKnown   bool
	Delegated   []string // controllers that the user has below his manager, or in his own cgroup
	DelegatedAt string   // that cgroup, "" if there is none that he may write to
}

// Maps is what a user may map.
type Maps struct {
	SubUID, SubGID uint32 // ids in his ranges
	FreeID         uint32 // the first id that no range of any user holds, and none of those below
	Elsewhere      string // where nsswitch.conf says that ranges are, if not in files
	NewUIDMap      MapHelper
	NewGIDMap      MapHelper
	Mapped         Try // 65536 ids were mapped
}

// A MapHelper is newuidmap(1) or newgidmap(1).
type MapHelper struct {
	Path   string // "" not found
	Setuid bool   // set-user-ID root
	Caps   bool   // has the file capability that it needs
	NoSuid string // mount point, where that forbids both
}

// A Setting is a sysctl.
type Setting struct {
	Name  string // "kernel.kptr_restrict"
	Value string // "" it is not there, or cannot be read
}

// setting returns the value of a sysctl, "" if it is not there.
func (f *Facts) setting(name string) string {
	for _, s := range f.Settings {
		if s.Name == name {
			return s.Value
		}
	}
	return ""
}

// A Place is a directory that the engine writes to.
type Place struct {
	ID         string // "state", "data"
	Path       string
	At         string // Path, or the nearest directory above that exists
	Type       string // of the file system
	Options    string // of the mount, with ro of the superblock
	Bytes      uint64 // free
	Inodes     uint64 // free; meaningless without Counted
	Counted    bool   // the file system has a number of inodes
	Silent     bool   // no answer in time
	Err        string
	Writable   bool
	Tmpfile    Try // O_TMPFILE
	Flock      Try
	Xattr      Try // user.*, and trusted.* for root
	IDMap      Try
	OtherOwner bool // the directory exists and is another user's
}

// title says who was asked.
func (f *Facts) title() string {
	name := f.Host.Name
	if name == "" {
		name = "an unnamed Linux"
	}
	who := "user " + strconv.Itoa(f.Caller.UID)
	if f.Caller.Name != "" {
		who = "user " + f.Caller.Name
	}
	if f.Caller.UID == 0 {
		who = "root"
		if f.Caller.InUserNS {
			who = "root of a user namespace"
		}
	}
	parts := []string{name, "kernel " + f.Host.Release + " on " + f.Host.Machine, who}
	return strings.Join(parts, ", ")
}
