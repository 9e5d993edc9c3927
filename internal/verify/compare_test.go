package verify

import (
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// healthy is a container with one of everything, and the facts of one that nobody touched.
func healthy() (*Declared, *Facts) {
	caps := []string{"CAP_KILL"}
	spec := &specs.Spec{
		Process: &specs.Process{
			Args: []string{"true"}, Cwd: "/", NoNewPrivileges: true, User: specs.User{UID: 33, GID: 33}, ApparmorProfile: "profile",
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Permitted: []string{}, Effective: []string{}, Inheritable: []string{}, Ambient: []string{}},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 64, Hard: 128}},
		},
		Root: &specs.Root{Path: "rootfs", Readonly: true}, Hostname: "box",
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
			{Destination: "/data", Type: "bind", Source: "/srv", Options: []string{"bind", "rprivate", "ro", "nosuid"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.UserNamespace},
				{Type: specs.PIDNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace, Path: "/proc/7/ns/ipc"},
			},
			UIDMappings: []specs.LinuxIDMapping{{HostID: 1000, Size: 100}}, GIDMappings: []specs.LinuxIDMapping{{HostID: 1000, Size: 100}},
			MaskedPaths: []string{"/proc/keys", "/proc/acpi", "/proc/absent"}, ReadonlyPaths: []string{"/proc/sys"},
			Seccomp: &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}, Sysctl: map[string]string{"net.ipv4.ip_forward": "0", "net.ipv4.ping_group_range": "0 99"},
		},
	}
	d := &Declared{
		ID: "c", Name: "c", Spec: spec, Bundle: "/b", PID: 100, Upper: "/u", Alone: true, Parent: 50,
		Cgroup: &cgroup.Record{Dirs: []cgroup.RecordDir{{Controllers: []string{"pids"}, Mount: "/sys/fs/cgroup/pids", Path: "b/c"}}},
		Others: []Other{{Name: "other", PID: 7}},
	}
	host := Namespaces{"user": 1, "pid": 2, "mnt": 3, "uts": 4, "net": 5, "ipc": 6, "cgroup": 7}
	own := Namespaces{"user": 11, "pid": 12, "mnt": 13, "uts": 14, "net": 15, "ipc": 16, "cgroup": 7}
	status := procfs.Status{
		UID: [4]uint32{1033, 1033, 1033, 1033}, GID: [4]uint32{1033, 1033, 1033, 1033}, CapBounding: 1 << 5, NoNewPrivs: true, Seccomp: 2, SeccompFilters: 1,
	}
	first := Process{
		PID: 100, Comm: "true", NS: own, Cgroups: map[string]string{"pids": "/b/c"}, Threads: []procfs.Status{status}, Rlimits: map[string][2]uint64{"RLIMIT_NOFILE": {64, 128}},
		AppArmor: "profile (enforce)", Nested: map[string]bool{},
	}
	zero := 0
	f := &Facts{
		Host: []Namespaces{host}, Joined: map[string]Namespaces{"ipc": {"ipc": 16}}, Others: map[string]Namespaces{"other": {"ipc": 16, "net": 99}},
		Processes: []Process{first}, OOMScore: &zero, AppArmor: true,
		UIDs: []idmap.Range{{Inside: 0, Outside: 1000, Count: 100}}, GIDs: []idmap.Range{{Inside: 0, Outside: 1000, Count: 100}},
		Mounts: []procfs.Mount{
			{ID: 1, Point: "/", Root: "/", Options: "ro", Type: "overlay", Super: "rw,upperdir=/u"},
			{ID: 2, Point: "/proc", Root: "/", Options: "rw,nosuid,nodev,noexec", Type: "proc", Super: "rw"},
			{ID: 3, Point: "/dev", Root: "/", Options: "rw,nosuid", Type: "tmpfs", Super: "rw,size=64k,mode=755"},
			{ID: 4, Point: "/data", Root: "/srv", Major: 8, Options: "ro,nosuid", Type: "ext4"},
			{ID: 5, Point: "/proc/keys", Root: "/null", Type: "devtmpfs"},
			{ID: 6, Point: "/proc/acpi", Root: "/", Options: "ro", Type: "tmpfs"},
			{ID: 7, Point: "/proc/sys", Root: "/sys", Options: "ro", Type: "proc"},
		},
		Paths: map[string]Path{
			"/": {Exists: true, Dir: true, Mount: 1, Root: true}, "/proc": {Exists: true, Dir: true, Mount: 2, Root: true}, "/dev": {Exists: true, Dir: true, Mount: 3, Root: true},
			"/data": {Exists: true, Dir: true, Mount: 4, Root: true}, "/proc/keys": {Exists: true, Char: true, Major: 1, Minor: 3, Mount: 5, Root: true},
			"/proc/acpi": {Exists: true, Dir: true, Mount: 6, Root: true}, "/proc/sys": {Exists: true, Dir: true, Mount: 7, Root: true},
		},
		Sources: map[string]Source{"/srv": {Exists: true, Major: 8, Root: "/srv"}},
		Limits:  []cgroup.Value{{Field: "linux.resources.pids.limit", Want: "5", Have: "5", Same: true}},
		Inner:   Inner{Sysctls: map[string]string{"net.ipv4.ip_forward": "0\n", "net.ipv4.ping_group_range": "1000\t1099\n"}, Hostname: "box", Interfaces: []string{"lo", "sit0"}},
	}
	for path, n := range map[string][2]uint32{
		"/dev/null": {1, 3}, "/dev/zero": {1, 5}, "/dev/full": {1, 7}, "/dev/random": {1, 8}, "/dev/urandom": {1, 9}, "/dev/tty": {5, 0},
	} {
		id := len(f.Mounts) + 1
		f.Mounts = append(f.Mounts, procfs.Mount{ID: id, Point: path, Type: "devtmpfs"})
		f.Paths[path] = Path{Exists: true, Char: true, Major: n[0], Minor: n[1], Mount: id, Root: true}
	}
	return d, f
}

func TestHealthy(t *testing.T) {
	r := Compare(healthy())
	if bad := r.Differences(); len(bad) > 0 || len(r.Checks) < 30 {
		t.Errorf("%d checks, %+v", len(r.Checks), bad)
	}
	if u := r.Unknowns(); len(u) != 1 || u[0].Area != "seccomp" {
		t.Errorf("%+v", u)
	}
}

// TestDifferences: each change of the facts is found, and said so.
func TestDifferences(t *testing.T) {
	for text, change := range map[string]func(*Declared, *Facts){
		"network its own the host's":                   func(_ *Declared, f *Facts) { f.Processes[0].NS["net"] = 5 },
		"network its own container other's":            func(_ *Declared, f *Facts) { f.Processes[0].NS["net"] = 99 },
		"cgroup the host's":                            func(_ *Declared, f *Facts) { f.Processes[0].NS["cgroup"] = 70 },
		"ipc that at /proc/7/ns/ipc namespace 17":      func(_ *Declared, f *Facts) { f.Processes[0].NS["ipc"] = 17 },
		"user ids 0 is 1000 (100) 0 is 0 (100)":        func(_ *Declared, f *Facts) { f.UIDs[0].Outside = 0 },
		"user 33 0 (1000 on the host)":                 func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].UID[1] = 1000 },
		"group 33 0 on the host, which is nobody":      func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].GID[0] = 0 },
		"supplementary group":                          func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].Groups = []uint32{1005} },
		"permitted capabilities none also CAP_KILL":    func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].CapPermitted = 1 << 5 },
		"bounding capabilities":                        func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].CapBounding |= 1 << 21 },
		"no_new_privs on off":                          func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].NoNewPrivs = false },
		"seccomp filter in force none":                 func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].Seccomp = 0 },
		"nofile at most 128":                           func(_ *Declared, f *Facts) { f.Processes[0].Rlimits["RLIMIT_NOFILE"] = [2]uint64{64, 129} },
		"oom_score_adj 0 -5":                           func(_ *Declared, f *Facts) { f.Processes[0].OOMScore = -5 },
		"AppArmor profile profile unconfined":          func(_ *Declared, f *Facts) { f.Processes[0].AppArmor = "unconfined" },
		"AppArmor profile profile (enforce) profile (": func(_ *Declared, f *Facts) { f.Processes[0].AppArmor = "profile (complain)" },
		"fd/5: the directory /":                        func(_ *Declared, f *Facts) { f.Processes[0].Outside = []string{"fd/5: the directory /"} },
		"traced by nobody process 3":                   func(_ *Declared, f *Facts) { f.Processes[0].Tracer = 3 },
		"cgroup of pids /b/c /":                        func(_ *Declared, f *Facts) { f.Processes[0].Cgroups["pids"] = "/" },
		"cgroup of pids /b/c /b/cc":                    func(_ *Declared, f *Facts) { f.Processes[0].Cgroups["pids"] = "/b/cc" },
		"process 200 (x): pid namespace": func(_ *Declared, f *Facts) {
			p := f.Processes[0]
			p.PID, p.Comm, p.NS = 200, "x", Namespaces{"user": 11, "pid": 2, "mnt": 13, "uts": 14, "net": 15, "ipc": 16, "cgroup": 7}
			f.Processes = append(f.Processes, p)
		},
		"process 200 (x): network namespace": func(_ *Declared, f *Facts) { // nested, and may not
			p := f.Processes[0]
			p.PID, p.Comm, p.Nested = 200, "x", map[string]bool{"net": true}
			p.NS = Namespaces{"user": 11, "pid": 12, "mnt": 13, "uts": 14, "net": 77, "ipc": 16, "cgroup": 7}
			f.Processes = append(f.Processes, p)
		},
		"process 200 (x): network namespace namespace 15 the host's": func(d *Declared, f *Facts) { // of the container's user namespace, as the host's are without one of its own
			d.Spec.Process.Capabilities.Bounding = []string{"CAP_KILL", "CAP_SYS_ADMIN"}
			p := f.Processes[0]
			p.PID, p.Comm, p.Nested = 200, "x", map[string]bool{"net": true}
			p.NS = Namespaces{"user": 11, "pid": 12, "mnt": 13, "uts": 14, "net": 5, "ipc": 16, "cgroup": 7}
			f.Processes = append(f.Processes, p)
		},
		"/ overlay, writable layer /u overlay": func(_ *Declared, f *Facts) { f.Mounts[0].Super = "rw,upperdir=/v" },
		"/ is read-only ro rw":                 func(_ *Declared, f *Facts) { f.Mounts[0].Options = "rw" },
		"/ propagation not shared shared":      func(_ *Declared, f *Facts) { f.Mounts[0].Shared = 3 },
		"/proc proc tmpfs":                     func(_ *Declared, f *Facts) { f.Mounts[1].Type = "tmpfs" },
		"/proc options nosuid,nodev,noexec rw": func(_ *Declared, f *Facts) { f.Mounts[1].Options = "rw,nosuid" },
		"/dev size 64k 128k":                   func(_ *Declared, f *Facts) { f.Mounts[2].Super = "rw,size=128k,mode=755" },
		"/dev mode 755 777":                    func(_ *Declared, f *Facts) { f.Mounts[2].Super = "rw,size=64k,mode=777" },
		"/data bind mount of /srv ext4":        func(_ *Declared, f *Facts) { f.Mounts[3].Root = "/etc" },
		"/data bind mount of /srv nothing":     func(_ *Declared, f *Facts) { f.Paths["/data"] = Path{Exists: true, Dir: true, Mount: 1} },
		"/data options ro,nosuid rw,nosuid":    func(_ *Declared, f *Facts) { f.Mounts[3].Options = "rw,nosuid" },
		"/data propagation private slave":      func(_ *Declared, f *Facts) { f.Mounts[3].Master = 1 },
		"/proc/keys masked it can be seen":     func(_ *Declared, f *Facts) { f.Paths["/proc/keys"] = Path{Exists: true, Mount: 2} },
		"/proc/keys masked devtmpfs":           func(_ *Declared, f *Facts) { p := f.Paths["/proc/keys"]; p.Minor = 5; f.Paths["/proc/keys"] = p },
		"/proc/acpi masked tmpfs rw":           func(_ *Declared, f *Facts) { f.Mounts[5].Options = "rw" },
		"/proc/absent masked it can be seen":   func(_ *Declared, f *Facts) { f.Paths["/proc/absent"] = Path{Exists: true, Mount: 2} },
		"/proc/sys read-only rw":               func(_ *Declared, f *Facts) { f.Mounts[6].Options = "rw" },
		"/x nothing more is mounted there tmpfs": func(_ *Declared, f *Facts) {
			f.Mounts = append(f.Mounts, procfs.Mount{ID: 99, Point: "/x", Type: "tmpfs"})
		},
		"/data nothing more": func(_ *Declared, f *Facts) {
			f.Mounts = append(f.Mounts, procfs.Mount{ID: 99, Point: "/data", Type: "ext4", Root: "/srv", Major: 8, Options: "ro,nosuid"})
		},
		"/dev/null character device 1:3 character device 1:1": func(_ *Declared, f *Facts) { p := f.Paths["/dev/null"]; p.Minor = 1; f.Paths["/dev/null"] = p },
		"/dev/sda no such node block device 8:0":              func(_ *Declared, f *Facts) { f.Nodes = []Node{{"/dev/sda", true, 8, 0}} },
		"pids.limit 5 6":                                      func(_ *Declared, f *Facts) { f.Limits[0].Have, f.Limits[0].Same = "6", false },
		"net.ipv4.ip_forward 0 1":                             func(_ *Declared, f *Facts) { f.Inner.Sysctls["net.ipv4.ip_forward"] = "1" },
		"net.ipv4.ping_group_range 0 99 0 99999":              func(_ *Declared, f *Facts) { f.Inner.Sysctls["net.ipv4.ping_group_range"] = "0 99999" },
		"host name box other":                                 func(_ *Declared, f *Facts) { f.Inner.Hostname = "other" },
		"what the filter decides: process 100 (true) a program of": func(d *Declared, f *Facts) {
			d.Stop = true
			f.Processes[0].Filters = [][]byte{{1, 2, 3, 4, 5, 6, 7, 8}}
		},
		"interfaces only loopback also eth0": func(_ *Declared, f *Facts) { f.Inner.Interfaces = []string{"eth0", "lo"} },
	} {
		d, f := healthy()
		change(d, f)
		found := ""
		for _, c := range Compare(d, f).Differences() {
			found += c.What + " " + c.Declared + " " + c.Found + "\n"
		}
		if !strings.Contains(found, text) {
			t.Errorf("nothing says %q but:\n%s", text, found)
		}
	}
}

// TestNoDifference: what a container may do to itself, and what cannot be told.
func TestNoDifference(t *testing.T) {
	nested := func(f *Facts) {
		p := f.Processes[0]
		p.PID, p.Nested = 200, map[string]bool{"user": true, "net": true}
		p.NS = Namespaces{"user": 111, "pid": 12, "mnt": 13, "uts": 14, "net": 77, "ipc": 16, "cgroup": 7}
		p.Threads = []procfs.Status{p.Threads[0]}
		p.Threads[0].CapBounding, p.Threads[0].CapEffective, p.Threads[0].CapPermitted = 1<<41-1, 1<<41-1, 1<<41-1
		f.Processes = append(f.Processes, p)
	}
	root := func(d *Declared) { d.Spec.Process.User = specs.User{} }
	for text, change := range map[string]func(*Declared, *Facts){
		"fewer capabilities": func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].CapBounding = 0 },
		"steps down": func(d *Declared, f *Facts) {
			root(d)
			d.Spec.Process.Capabilities.Bounding = []string{"CAP_KILL", "CAP_SETUID", "CAP_SETGID"}
			f.Processes[0].Threads[0].Groups = []uint32{1044}
		},
		"lower limits": func(_ *Declared, f *Facts) { f.Processes[0].Rlimits["RLIMIT_NOFILE"] = [2]uint64{1, 2} },
		"soft limit":   func(_ *Declared, f *Facts) { f.Processes[0].Rlimits["RLIMIT_NOFILE"] = [2]uint64{128, 128} },
		"victim":       func(_ *Declared, f *Facts) { f.Processes[0].OOMScore = 900 },
		"stricter":     func(_ *Declared, f *Facts) { f.Mounts[3].Options = "ro,nosuid,nodev,noexec" },
		"own filter":   func(_ *Declared, f *Facts) { f.Processes[0].Threads[0].SeccompFilters = 3 },
		"sub-cgroup":   func(_ *Declared, f *Facts) { f.Processes[0].Cgroups["pids"] = "/b/c/d" },
		"tracer inside": func(_ *Declared, f *Facts) {
			p := f.Processes[0]
			p.PID = 200
			f.Processes = append(f.Processes, p)
			f.Processes[0].Tracer = 200
		},
		"filters": func(d *Declared, f *Facts) {
			d.Stop = true
			own, err := seccomp.Compile(d.Spec.Linux.Seccomp)
			if err != nil {
				panic(err)
			}
			f.Processes[0].Filters = [][]byte{own.Bytes(), {6, 0, 0, 0, 0, 0, 0, 0}}
		},
		"filters unread":  func(d *Declared, f *Facts) { d.Stop, f.FiltersErr = true, "no" },
		"source gone":     func(_ *Declared, f *Facts) { f.Sources["/srv"] = Source{} },
		"source replaced": func(_ *Declared, f *Facts) { f.Mounts[3].Root = "/srv//deleted" },
		"joined gone":     func(_ *Declared, f *Facts) { f.Joined = map[string]Namespaces{} },
		"limits unread":   func(_ *Declared, f *Facts) { f.LimitsErr = "no" },
		"may nest": func(d *Declared, f *Facts) {
			d.Spec.Linux.Seccomp.Syscalls = []specs.LinuxSyscall{{Names: []string{"unshare"}, Action: specs.ActAllow}}
			nested(f)
		},
		"may mount": func(d *Declared, f *Facts) {
			d.Spec.Process.Capabilities.Bounding = []string{"CAP_KILL", "CAP_SYS_ADMIN"}
			f.Mounts = append(f.Mounts, procfs.Mount{ID: 99, Point: "/x", Type: "tmpfs"})
		},
	} {
		d, f := healthy()
		change(d, f)
		if bad := Compare(d, f).Differences(); len(bad) > 0 {
			t.Errorf("%s: %+v", text, bad)
		}
	}
}

func TestParse(t *testing.T) {
	limits := parseLimits("Limit                     Soft Limit           Hard Limit           Units     \nMax open files            64                   128                  files     \n" +
		"Max cpu time              unlimited            unlimited            seconds   \nnonsense\n")
	if limits["RLIMIT_NOFILE"] != [2]uint64{64, 128} || limits["RLIMIT_CPU"] != [2]uint64{1<<64 - 1, 1<<64 - 1} || len(limits) != 2 {
		t.Errorf("%v", limits)
	}
	if mountID("pos:\t0\nflags:\t02\nmnt_id:\t25\nino:\t3\n") != 25 || mountID("pos: 0\n") != -1 {
		t.Error("mount id")
	}
	if sysctlFile("net.ipv4.conf.eth0/1.x") != "sys/net/ipv4/conf/eth0.1/x" || sysctlFile("net/ipv4/conf/eth0.1/x") != "sys/net/ipv4/conf/eth0.1/x" {
		t.Error("sysctl")
	}
	for text, want := range map[string]uint64{"64k": 64, "1m": 1024, "65536": 64, "1G": 1 << 20, "1": 1} {
		if n, ok := kib(text); !ok || n != want {
			t.Errorf("%s: %d", text, n)
		}
	}
	if _, ok := kib("x"); ok {
		t.Error("no size")
	}
}
