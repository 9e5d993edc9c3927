package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/vm/wire"
)

// A row is one machine and the suites that run in it, one after the other.
type row struct {
	boot
	part   string // of what runs in such a machine; empty: all
	suites []suite
	jobs   []wire.Job // what becomes of the suites
}

// name is what a row is called in the output, and by -only.
func (r *row) name() string { return strings.TrimSuffix(r.String()+":"+r.part, ":") }

// plan is the name of its plan.
func (r *row) plan() string { return strings.NewReplacer("/", "-", ":", "-").Replace(r.name()) }

// core are the packages that talk to the kernel: their tests run on every kernel.
var core = []string{
	"./internal/linux/...", "./internal/sandbox/forkexec", "./internal/sandbox/lsm", "./internal/runtime/launch",
	"./internal/runtime/state", "./internal/atomicfile",
}

// matrix is what `lab matrix` does. One boot runs many suites: a boot costs five seconds, with systemd fifteen. A machine has one thread of QEMU's
// whatever is in it, so that long rows are in parts, which run at the same time; rows start in the order in which they stand, long ones first.
//
// The doctor's mends cost a minute, each a program or two: they run where they are for that kind of machine. With systemd test/cgroup runs what
// goes through systemd; the rest has run without.
var matrix = []row{
	{boot: boot{"stable", "none", "small"}, part: "spec", suites: append(each(core), []suite{
		{pkg: "./internal/doctor", skips: doctorSkips, timeout: long},
		{pkg: "./internal/doctor", user: "user", skips: doctorSkips},
		{pkg: "./test/spec", timeout: long},
	}...)},
	{boot: boot{"stable", "none", "small"}, part: "attack", suites: []suite{
		{pkg: "./internal/sandbox/cgroup", skips: "TestLive(User)?Unit", timeout: long},
		{pkg: "./test/cgroup", skips: systemdTests, timeout: long},
		{pkg: "./test/script", timeout: long},
		{pkg: "./test/attack", timeout: long},
	}},
	{boot: boot{"stable", "none", "small"}, part: "peers", suites: []suite{
		{pkg: conformance, run: judges, timeout: long},
		{pkg: "./test/engine", run: "TestStorageOpt|TestFlags$", timeout: long}, // quotas of xfs, and limits of cgroup v2
		{pkg: "./internal/network/firewall", run: "TestPublished$|TestPolicy|TestAddRemove|TestProbes", timeout: long},
	}},
	{boot: boot{"stable", "none", "systemd"}, suites: []suite{
		{pkg: "./internal/sandbox/cgroup", skips: "TestLiveUserUnit", timeout: long},
		{pkg: "./internal/sandbox/cgroup", run: "TestLiveUserUnit", user: "user"},
		{pkg: "./internal/doctor", run: "TestExamine|TestBus|TestLab|TestMends/(lingering|delegation)$", timeout: long},
		{pkg: "./test/cgroup", run: "/units", timeout: long},
	}},
	{boot: boot{"newer", "apparmor", "small"}, suites: append(each(core), suite{
		pkg: "./test/lsm", run: "Landlock|AppArmorNamed|AppArmorGenerated", skips: "TestLandlockLacks", timeout: long,
	})},
	{boot: boot{"oldstable", "none", "small"}, suites: append(each(core), []suite{
		{pkg: "./test/lsm", skips: "TestSELinux.*|TestAppArmor.*|TestLandlock(Ports|Scope)", timeout: long},
		{pkg: "./test/spec", run: "Headless|Namespace|IDMap|Propagation|SeccompFlag|Scheduler|Memory", skips: "TestIDMap", timeout: long},
		{pkg: "./internal/network/firewall", run: "TestPublished$|TestProbes", timeout: long},
		{pkg: "./test/attack/net", run: "TestAttacks", timeout: long},
	}...)},
	{boot: boot{"stable", "apparmor", "small"}, suites: []suite{
		{pkg: "./internal/sandbox/lsm"},
		{pkg: "./internal/sandbox/apparmor", skips: "TestOldParser"}, // which runs on Debian 12
		{pkg: "./internal/doctor", run: "TestExamine|TestLab|TestProfileLoads|TestMends/securityfs"},
		{pkg: "./test/lsm", skips: "TestSELinux.*|TestLandlockLacks", timeout: long},
	}},
	{boot: boot{"stable", "selinux", "small"}, suites: []suite{
		{pkg: "./internal/sandbox/lsm"},
		{pkg: "./internal/selinux", skips: "TestAllocateWithout|TestFilesWithout", timeout: long},
		{pkg: "./internal/doctor", run: "TestExamine|TestLab"},
		{pkg: "./internal/image/snapshot", run: "SELinux"},
		{pkg: "./internal/engine/container", run: "Label", skips: "TestLabelsWithout"},
		{pkg: "./test/lsm", run: "SELinux", timeout: long},
		{pkg: "./test/engine", run: "SELinux", timeout: long},
	}},
	{boot: boot{"oldstable", "selinux", "small"}, suites: []suite{
		{pkg: "./internal/image/snapshot", run: "SELinux"},
		{pkg: "./test/engine", run: "SELinux(Default|Streams)", timeout: long},
	}},
}

// long is for suites that take minutes: it ends what hangs, and is no measure of how fast a machine ought to be. Others have two minutes.
const long = 12 * time.Minute

// judges are those of test/conformance that run in the matrix, where cgroups are of version 2 alone: what a peer sets and reads there, the life of its
// containers, and what each does in its own way. Both peers whole, and the other validation programs, take nine minutes here: make vm PKG=./test/conformance.
// The programs for files of version 1 (linux_cgroups_*, delete_resources, delete_only_create_resources) have nothing to read in such a machine.
const judges = "TestCell|TestContainerdTask|TestPodmanLifecycle|" +
	"TestPodmanRun/(memory|pids_limit_holds|cpu_shares|seccomp_profile|volume$|devices_denied|user_namespace|privileged)|" +
	"TestRuntimeTools/(default|create$|mounts|process$|process_capabilities$|process_rlimits$|linux_devices|linux_seccomp|linux_sysctl|linux_uid_mappings)"

const (
	doctorSkips  = "TestAlone|TestMends(/.*)?|TestProfileLoads" // other machines' mends, and what the mends start
	systemdTests = "TestScope|TestUnit.*"
)

func each(pkgs []string) []suite {
	var out []suite
	for _, p := range pkgs {
		out = append(out, suite{pkg: p, skips: "TestRootlessChild"}) // another test starts it
	}
	return append(out, suite{pkg: "./internal/image/snapshot", run: "Mount|HundredLayers|MappedIDs"})
}

// expand resolves DIR/... to the packages right below that have tests. A suite without any test is an error.
func expand(suites []suite) ([]suite, error) {
	var out []suite
	for _, s := range suites {
		dir, recursive := strings.CutSuffix(s.pkg, "/...")
		dirs := []string{dir}
		if recursive {
			var err error
			if dirs, err = filepath.Glob(dir + "/*"); err != nil {
				return nil, err
			}
		}
		found := false
		for _, d := range dirs {
			tests, err := filepath.Glob(d + "/*_test.go")
			if err != nil {
				return nil, err
			}
			if len(tests) == 0 {
				continue
			}
			found = true
			one := s
			if one.pkg = "./" + filepath.Clean(d); one.timeout == 0 {
				one.timeout = 2 * time.Minute
			}
			out = append(out, one)
		}
		if !found {
			return nil, fmt.Errorf("%s: no tests", s.pkg)
		}
	}
	return out, nil
}
