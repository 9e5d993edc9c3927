// Package feature asks the running kernel what it can do, by trying.
//
// Versions are no answer: distributions backport, options are turned off, and an outer container's filter forbids calls. Each feature
// has a probe that makes the call, harmlessly, once per process, when somebody asks; the version that brought it stands beside it for the
// text of errors and for tests, which fail where a kernel is new enough and the probe says no.
//
//	if err := feature.Probe(feature.Openat2); err != nil { return err } // "openat2: needs kernel 5.6, this is 4.18: function not implemented"
//	for _, r := range feature.All() { fmt.Println(r.Name, r.Since, r.Err) }
//
// Probes leave nothing behind: no mount, no child, no changed attribute of this process. What AppArmor and SELinux do is asked of
// package lsm.
package feature

import (
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
)

// An ID names a feature.
type ID uint8

// The features.
const (
	Openat2           ID = iota // openat2(2) with RESOLVE_IN_ROOT
	OpenTree                    // open_tree(2), move_mount(2)
	Fsopen                      // fsopen(2), fsconfig(2), fsmount(2)
	MountSetattr                // mount_setattr(2)
	NoSymfollow                 // MOUNT_ATTR_NOSYMFOLLOW
	IDMapTmpfs                  // idmapped mounts, of tmpfs
	Statmount                   // statmount(2) and unique mount ids
	Clone3                      // clone3(2)
	CloneIntoCgroup             // CLONE_INTO_CGROUP
	PidfdOpen                   // pidfd_open(2)
	PidfdGetfd                  // pidfd_getfd(2)
	CloseRangeCloexec           // close_range(2) with CLOSE_RANGE_CLOEXEC
	MemfdExec                   // memfd_create(2) of an executable, sealable file
	UserNamespace               // this process may make user namespaces
	TimeNamespace               // time_namespaces(7)
	CgroupNamespace             // cgroup_namespaces(7)
	Cgroup2                     // a version 2 hierarchy is mounted
	CgroupKill                  // cgroup.kill
	Landlock                    // landlock(7); LandlockABI says which
	SeccompFilter               // seccomp(2) filters, kill process action
	SeccompNotify               // user notification
	SeccompLog                  // SECCOMP_FILTER_FLAG_LOG
	SeccompSpecAllow            // SECCOMP_FILTER_FLAG_SPEC_ALLOW
	SeccompTsyncEsrch           // SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	SeccompWaitKill             // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	Mqueue                      // POSIX message queues
	Resctrl                     // resctrl file system, for linux.intelRdt
	Overlay                     // overlayfs
	Mempolicy                   // set_mempolicy(2)
	IoUring                     // io_uring(7), for this process
	MDWE                        // PR_SET_MDWE
	Faccessat2                  // faccessat2(2)
	count                       // how many there are
)

// row is a feature in the table.
type row struct {
	name  string
	since sys.Version
	probe func() error
}

// The versions are those of mainline that brought the feature.
var table = [count]row{
	Openat2:           {"openat2", sys.Version{Major: 5, Minor: 6}, openat2},
	OpenTree:          {"open_tree", sys.Version{Major: 5, Minor: 2}, openTree},
	Fsopen:            {"fsopen", sys.Version{Major: 5, Minor: 2}, fsopen},
	MountSetattr:      {"mount_setattr", sys.Version{Major: 5, Minor: 12}, mountSetattr},
	NoSymfollow:       {"nosymfollow", sys.Version{Major: 5, Minor: 14}, noSymfollow},
	IDMapTmpfs:        {"idmap_tmpfs", sys.Version{Major: 6, Minor: 3}, idmapTmpfs},
	Statmount:         {"statmount", sys.Version{Major: 6, Minor: 8}, statmount},
	Clone3:            {"clone3", sys.Version{Major: 5, Minor: 3}, clone3},
	CloneIntoCgroup:   {"clone_into_cgroup", sys.Version{Major: 5, Minor: 7}, cloneIntoCgroup},
	PidfdOpen:         {"pidfd_open", sys.Version{Major: 5, Minor: 3}, pidfdOpen},
	PidfdGetfd:        {"pidfd_getfd", sys.Version{Major: 5, Minor: 6}, pidfdGetfd},
	CloseRangeCloexec: {"close_range_cloexec", sys.Version{Major: 5, Minor: 11}, closeRange},
	MemfdExec:         {"memfd_exec", sys.Version{Major: 3, Minor: 17}, memfdExec},
	UserNamespace:     {"user_namespace", sys.Version{Major: 3, Minor: 8}, userNamespace},
	TimeNamespace:     {"time_namespace", sys.Version{Major: 5, Minor: 6}, timeNamespace},
	CgroupNamespace:   {"cgroup_namespace", sys.Version{Major: 4, Minor: 6}, cgroupNamespace},
	Cgroup2:           {"cgroup2", sys.Version{Major: 4, Minor: 5}, cgroup2},
	CgroupKill:        {"cgroup_kill", killVersion, cgroupKill},
	Landlock:          {"landlock", sys.Version{Major: 5, Minor: 13}, landlock},
	SeccompFilter:     {"seccomp_filter", sys.Version{Major: 4, Minor: 14}, seccompFilter},
	SeccompNotify:     {"seccomp_notify", sys.Version{Major: 5, Minor: 0}, seccompNotify},
	SeccompLog:        {"seccomp_log", sys.Version{Major: 4, Minor: 14}, seccompLog},
	SeccompSpecAllow:  {"seccomp_spec_allow", sys.Version{Major: 4, Minor: 17}, seccompSpecAllow},
	SeccompTsyncEsrch: {"seccomp_tsync_esrch", sys.Version{Major: 5, Minor: 7}, seccompTsyncEsrch},
	SeccompWaitKill:   {"seccomp_wait_killable", sys.Version{Major: 5, Minor: 19}, seccompWaitKill},
	Mqueue:            {"mqueue", sys.Version{Major: 2, Minor: 6}, mqueue},
	Resctrl:           {"resctrl", sys.Version{Major: 4, Minor: 10}, resctrl},
	Overlay:           {"overlay", sys.Version{Major: 3, Minor: 18}, overlay},
	Mempolicy:         {"set_mempolicy", sys.Version{Major: 2, Minor: 6}, mempolicy},
	IoUring:           {"io_uring", sys.Version{Major: 5, Minor: 1}, ioUring},
	MDWE:              {"mdwe", sys.Version{Major: 6, Minor: 3}, mdwe},
	Faccessat2:        {"faccessat2", sys.Version{Major: 5, Minor: 8}, faccessat2},
}

var cache [count]struct {
	once sync.Once
	err  error
}

// String returns the feature's name, as Lookup takes it.
func (id ID) String() string {
	if id < count {
		return table[id].name
	}
	return "unknown"
}

// Lookup returns the feature of this name.
func Lookup(name string) (ID, bool) {
	for id := range table {
		if table[id].name == name {
			return ID(id), true
		}
	}
	return 0, false
}

// Probe returns nil if the kernel has the feature and this process may use it, else an error of kind Unsupported that names the feature
// and the kernel that brought it, and wraps the reason. The kernel is asked once.
func Probe(id ID) error {
	if id >= count {
		return errdef.Errorf(errdef.Invalid, "feature %d: unknown", id)
	}
	c := &cache[id]
	c.once.Do(func() {
		err := table[id].probe()
		if err == nil {
			return
		}
		since, running := table[id].since, sys.KernelVersion()
		if running.AtLeast(since) {
			c.err = errdef.Errorf(errdef.Unsupported, "%s: not usable on this host: %w", table[id].name, err)
		} else {
			c.err = errdef.Errorf(errdef.Unsupported, "%s: needs kernel %s, this is %s: %w", table[id].name, since, running, err)
		}
	})
	return c.err
}

// Has reports whether Probe returns nil.
func Has(id ID) bool { return Probe(id) == nil }

// A Result is a feature and what its probe said.
type Result struct {
	ID    ID
	Name  string
	Since sys.Version // mainline kernel
	Err   error       // nil: usable
}

// All probes everything, for `doctor`. It takes a few milliseconds.
func All() []Result {
	list := make([]Result, count)
	for id := range table {
		list[id] = Result{ID(id), table[id].name, table[id].since, Probe(ID(id))}
	}
	return list
}

// LandlockABI returns the version of the Landlock interface, 0 for none.
func LandlockABI() int { return sys.LandlockABI() }
