package doctor

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/linux/feature"
)

var update = flag.Bool("update", false, "write the golden files")

// good is a host on which nothing is to be mended: Debian with AppArmor and systemd, asked by root.
func good() *Facts {
	f := &Facts{
		Host: Host{Name: "Debian GNU/Linux 13 (trixie)", Family: Debian, Release: "6.12.43-amd64", Machine: "x86_64"},
		Caller: Caller{
			Privileged: true, NoFile: 524288, NProc: 62000, MemLock: 8 << 20, RuntimeDirOK: "not set",
			Systemd: Helper{"/usr/libexec/bulkhead/bulkhead-systemd", "/usr/bin"}, Report: Helper{"/usr/libexec/bulkhead/bulkhead-report", "/usr/bin"},
		},
		Kernel: Kernel{
			Features: map[feature.ID]string{}, Landlock: 6, UserNS: Try{Done: true}, Procfs: Try{Done: true}, Sysfs: Try{Done: true},
			OverlayUser: Try{Done: true}, IDMapTmpfs: Try{Done: true}, Lockdown: "none", CPUKnown: true,
		},
		Modules: Modules{
			List: "lockdown,capability,landlock,yama,apparmor", SecurityFS: true, AppArmor: true, AppArmorIn: true,
			Parser: "/usr/sbin/apparmor_parser", PolicyAdmin: true, OwnProfile: "unconfined", Yama: "1",
		},
		Cgroups: Cgroups{
			Mode: "v2", Controllers: []string{"cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"}, Options: "rw,nsdelegate,memory_recursiveprot",
			Mount: "/sys/fs/cgroup", Own: "/system.slice/x.service", Systemd: true, Bus: Try{Done: true}, BusPath: "/run/dbus/system_bus_socket",
			Devices: Try{Done: true}, SwapFile: Try{Done: true}, Swap: true, SwapKnown: true,
		},
		Settings: []Setting{
			{"kernel.unprivileged_bpf_disabled", "2"},
			{"kernel.kptr_restrict", "1"},
			{"kernel.dmesg_restrict", "1"},
			{"fs.protected_symlinks", "1"},
			{"fs.protected_hardlinks", "1"},
			{"fs.protected_fifos", "1"},
			{"fs.protected_regular", "2"},
			{"kernel.core_pattern", "core"},
			{"kernel.io_uring_disabled", "0"},
			{"net.ipv4.ip_unprivileged_port_start", "1024"},
			{"net.ipv4.ping_group_range", "0\t2147483647"},
			{"user.max_user_namespaces", "62000"},
		},
		Places: []Place{
			{
				ID: "state", Path: "/run/bulkhead/runtime", At: "/run", Type: "tmpfs", Options: "rw,nosuid,nodev", Bytes: 1 << 30, Inodes: 500000, Counted: true,
				Writable: true, Tmpfile: Try{Done: true}, Flock: Try{Done: true}, Xattr: Try{Done: true}, IDMap: Try{Done: true},
			},
			{
				ID: "data", Path: "/var/lib/bulkhead", At: "/var/lib", Type: "ext4", Options: "rw,relatime", Bytes: 70 << 30, Inodes: 4 << 20, Counted: true,
				Writable: true, Tmpfile: Try{Done: true}, Flock: Try{Done: true}, Xattr: Try{Done: true}, IDMap: Try{Done: true},
			},
		},
	}
	for _, r := range feature.All() {
		f.Kernel.Features[r.ID] = ""
	}
	for _, s := range spaceKinds {
		f.Kernel.Namespaces = append(f.Kernel.Namespaces, Feature{Name: s.name})
	}
	return f
}

// user is the same host, asked by an ordinary user who has all that one can have.
func user() *Facts {
	f := good()
	f.Caller.UID, f.Caller.Name, f.Caller.Privileged = 1000, "ann", false
	f.Caller.RuntimeDir, f.Caller.RuntimeDirOK, f.Caller.HasRunUser, f.Caller.Linger = "/run/user/1000", "", true, true
	f.Modules.PolicyAdmin = false
	f.Kernel.IDMapTmpfs = Try{}
	f.Cgroups.BusPath, f.Cgroups.Devices = "/run/user/1000/bus", Try{}
	f.Cgroups.Delegated, f.Cgroups.DelegatedAt = strings.Fields(wanted), "/user.slice/user-1000.slice/user@1000.service"
	for i := range f.Places {
		f.Places[i].IDMap = Try{}
	}
	f.Maps = Maps{
		SubUID: 65536, SubGID: 65536, FreeID: 165536, NewUIDMap: MapHelper{Path: "/usr/bin/newuidmap", Setuid: true},
		NewGIDMap: MapHelper{Path: "/usr/bin/newgidmap", Caps: true}, Mapped: Try{Done: true},
	}
	return f
}

func set(f *Facts, name, value string) {
	for i := range f.Settings {
		if f.Settings[i].Name == name {
			f.Settings[i].Value = value
			return
		}
	}
	f.Settings = append(f.Settings, Setting{name, value})
}

// ubuntu is a fresh Ubuntu as a new user finds it.
func ubuntu() *Facts {
	f := user()
	f.Host.Name = "Ubuntu 24.04.3 LTS"
	f.Kernel.UserNS = Try{true, "EACCES, permission denied"}
	for i := range f.Kernel.Namespaces {
		if f.Kernel.Namespaces[i].Name != "user" {
			f.Kernel.Namespaces[i].Err = "EACCES, permission denied"
		}
	}
	f.Kernel.Procfs, f.Kernel.Sysfs, f.Kernel.OverlayUser = Try{}, Try{}, Try{}
	f.Caller.Linger = false
	f.Caller.Systemd.Seen = "/opt/bulkhead"
	set(f, "kernel.apparmor_restrict_unprivileged_userns", "1")
	set(f, "kernel.core_pattern", "|/usr/share/apport/apport -p%p -s%s")
	f.Cgroups.Delegated = []string{"cpu", "memory", "pids"}
	f.Maps.SubUID, f.Maps.SubGID, f.Maps.NewUIDMap, f.Maps.NewGIDMap, f.Maps.Mapped = 0, 0, MapHelper{}, MapHelper{}, Try{}
	return f
}

// old is a long-lived host: kernel 5.4, version 1, nothing hardened.
func old() *Facts {
	f := good()
	f.Host.Release, f.Host.Family, f.Host.Name = "5.4.0", Fedora, "An Old Linux\x1b[31m 8"
	for _, id := range []feature.ID{
		feature.Openat2, feature.CloseRangeCloexec, feature.MountSetattr, feature.PidfdGetfd, feature.Faccessat2, feature.CloneIntoCgroup, feature.CgroupKill,
	} {
		f.Kernel.Features[id] = "needs kernel 5.12, this is 5.4: function not implemented"
	}
	f.Kernel.Features[feature.SeccompNotify] = "operation not supported"
	f.Kernel.Landlock, f.Kernel.Lockdown, f.Modules = 0, "", Modules{List: "capability,selinux", SELinuxIn: true, Yama: "0"}
	f.Kernel.Vulnerable, f.Kernel.Cmdline = []string{"mds", "retbleed"}, "root=/dev/sda1 mitigations=off quiet"
	f.Kernel.IDMapTmpfs, f.Places[0].IDMap, f.Places[1].IDMap = Try{true, "EINVAL"}, Try{true, "EINVAL"}, Try{true, "EINVAL"}
	f.Kernel.OverlayUser = Try{true, "fsmount: operation not permitted"}
	f.Cgroups.Mode, f.Cgroups.Controllers = "hybrid", []string{"blkio", "cpu", "cpuset", "devices", "memory"}
	f.Cgroups.SwapFile = Try{true, "no file memory.memsw.limit_in_bytes"}
	for _, name := range []string{"kernel.unprivileged_bpf_disabled", "fs.protected_symlinks", "fs.protected_hardlinks", "fs.protected_fifos"} {
		set(f, name, "0")
	}
	f.Places[1].Options, f.Places[1].Type, f.Places[1].Bytes = "rw,noexec", "nfs4", 100<<20
	f.Caller.NoFile = 1024
	return f
}

// inside is a container of another engine, with its masks and its filter.
func inside() *Facts {
	f := good()
	f.Host.Container, f.Host.VM = "/.dockerenv", "QEMU"
	f.Caller.Privileged, f.Caller.Seccomp = false, true
	for i := range f.Kernel.Namespaces {
		f.Kernel.Namespaces[i].Err = "EPERM, operation not permitted"
	}
	f.Kernel.UserNS = Try{true, "EPERM, operation not permitted"}
	f.Kernel.Procfs, f.Kernel.Sysfs, f.Kernel.OverlayUser, f.Kernel.CPUKnown = Try{}, Try{}, Try{}, false
	f.Cgroups = Cgroups{Mode: "v2", Controllers: []string{"cpu", "memory", "pids"}, Options: "rw", Mount: "/sys/fs/cgroup", Own: "/"}
	f.Modules.PolicyAdmin, f.Modules.OwnProfile = false, "docker-default"
	return f
}

// nothing is a host without /proc and /sys.
func nothing() *Facts {
	return &Facts{Caller: Caller{ProcMissing: true, SysMissing: true}, Silent: []string{"file systems"}}
}

func TestGolden(t *testing.T) {
	for name, f := range map[string]*Facts{
		"good": good(), "user": user(), "ubuntu": ubuntu(), "old": old(), "inside": inside(), "nothing": nothing(),
	} {
		t.Run(name, func(t *testing.T) {
			got := string(Judge(f).Text())
			path := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			checkReport(t, Judge(f))
		})
	}
}

// checkReport is what holds of every report.
func checkReport(t *testing.T, r *Report) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range r.Findings {
		if seen[f.ID] && f.ID != "host.silent" {
			t.Errorf("%s: stands twice", f.ID)
		}
		seen[f.ID] = true
		switch f.Status {
		case OK, Unknown:
			if f.Cost != "" || f.Fix != "" {
				t.Errorf("%+v: has a cost", f)
			}
		case Weak, Missing:
			if f.Cost == "" {
				t.Errorf("%+v: has no cost", f)
			}
		default:
			t.Errorf("%+v: status", f)
		}
		if f.ID == "" || f.Group == "" || f.Title == "" || f.Found == "" || strings.ContainsAny(f.Fix, "\n\x1b") {
			t.Errorf("%+v: incomplete", f)
		}
	}
	for _, c := range r.Text() {
		if c != '\n' && (c < ' ' || c == 0x7f) {
			t.Fatalf("byte %#x in the text", c)
		}
	}
	var doc struct {
		Host          string
		Missing, Weak int
		Checks        []map[string]string
	}
	if err := json.Unmarshal(r.JSON(), &doc); err != nil {
		t.Fatalf("%v in %s", err, r.JSON())
	}
	if doc.Missing != r.Missing() || len(doc.Checks) != len(r.Findings) {
		t.Errorf("JSON: %+v", doc)
	}
	for i, c := range doc.Checks {
		f := r.Findings[i]
		if len(c) != 7 || c["id"] != f.ID || c["group"] != f.Group || c["status"] != string(f.Status) || c["title"] != f.Title || c["found"] != f.Found ||
			c["cost"] != f.Cost || c["fix"] != f.Fix {
			t.Errorf("JSON: %v for %+v", c, f)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		name   string
		facts  func() *Facts
		change func(*Facts)
		id     string
		want   Status
		fix    string // in the command
	}{
		{"good root", good, func(*Facts) {}, "kernel.calls", OK, ""},
		{"memfd forbidden", good, func(f *Facts) {
			f.Kernel.Features[feature.MemfdExec], f.Kernel.MemfdNoexec = "not usable", "2"
		}, "kernel.memfd_exec", Missing, "echo 1 >/proc/sys/vm/memfd_noexec"},
		{"a feature that nobody asked for", good, func(f *Facts) { delete(f.Kernel.Features, feature.Openat2) }, "kernel.calls", Missing, ""},
		{"a filter around us forbids calls", inside, func(f *Facts) { f.Kernel.Features[feature.Openat2] = "needs kernel" }, "kernel.calls", Missing, ""},
		{"no time namespace", good, func(f *Facts) { f.Kernel.Namespaces[7].Err = "EINVAL" }, "namespace.kinds", Weak, ""},
		{"no user namespaces, root", good, func(f *Facts) { f.Kernel.UserNS = Try{true, "ENOSPC"} }, "namespace.user", Weak, ""},
		{"switched off, root", good, func(f *Facts) {
			f.Kernel.UserNS = Try{true, "ENOSPC"}
			set(f, "user.max_user_namespaces", "0")
		}, "namespace.user", Weak, "echo 15000 >/proc/sys/user/max_user_namespaces"},
		{"Debian's switch", user, func(f *Facts) {
			f.Kernel.UserNS = Try{true, "EPERM"}
			set(f, "kernel.unprivileged_userns_clone", "0")
		}, "namespace.user", Missing, "sudo sh -c 'echo 1 >/proc/sys/kernel/unprivileged_userns_clone"},
		{"Debian's switch is nothing to root", good, func(f *Facts) { set(f, "kernel.unprivileged_userns_clone", "0") }, "namespace.user", OK, ""},
		{"Ubuntu's switch", ubuntu, func(*Facts) {}, "namespace.user", Missing, "userns,"},
		{"covered procfs", user, func(f *Facts) {
			f.Kernel.Procfs, f.Kernel.ProcCovered = Try{true, "EPERM"}, []string{"/proc/kcore"}
		}, "namespace.procfs", Missing, ""},
		{"covered procfs, root", good, func(f *Facts) {
			f.Kernel.Procfs, f.Kernel.ProcCovered = Try{true, "EPERM"}, []string{"/proc/kcore", "/proc/x;reboot"}
		}, "namespace.procfs", Weak, "umount /proc/kcore"},
		{"AppArmor off", good, func(f *Facts) { f.Modules.AppArmor = false }, "lsm.apparmor", Weak, "apparmor=1"},
		{"AppArmor not in lsm=", good, func(f *Facts) {
			f.Modules.AppArmor, f.Modules.List, f.Kernel.Cmdline = false, "lockdown,capability,landlock", "root=/dev/sda lsm=landlock"
		}, "lsm.apparmor", Weak, "lsm=lockdown,landlock,apparmor"},
		{"no parser", good, func(f *Facts) { f.Modules.Parser = "" }, "lsm.apparmor", Weak, "apt-get install -y apparmor"},
		{"SELinux instead", good, func(f *Facts) { f.Modules.AppArmor, f.Modules.SELinux = false, true }, "lsm.apparmor", OK, ""},
		{"SELinux permissive", good, func(f *Facts) { f.Modules.SELinux, f.Modules.Enforcing = true, "0" }, "lsm.selinux", Weak, "setenforce 1"},
		{"a policy without containers", good, func(f *Facts) {
			f.Modules.SELinux, f.Modules.Enforcing, f.Modules.ContainerT = true, "1", Try{true, "EINVAL"}
		}, "lsm.selinux", Weak, "selinux-policy-default"},
		{"Landlock of 6.1", good, func(f *Facts) { f.Kernel.Landlock = 2 }, "lsm.landlock", Weak, ""},
		{"Landlock not listed", good, func(f *Facts) {
			f.Kernel.Landlock, f.Modules.List, f.Modules.LandlockIn = 0, "lockdown,capability,yama,apparmor", true
		}, "lsm.landlock", Weak, "lsm=landlock,lockdown,yama,apparmor"},
		{"no cgroups", good, func(f *Facts) { f.Cgroups.Mode = "none" }, "cgroup.mode", Missing, "mount -t cgroup2"},
		{"no cgroups, user", user, func(f *Facts) { f.Cgroups.Mode = "none" }, "cgroup.mode", Weak, "sudo mount"},
		{"hybrid with systemd", good, func(f *Facts) { f.Cgroups.Mode = "hybrid" }, "cgroup.mode", Weak, "systemd.unified_cgroup_hierarchy=1"},
		{"no pids", good, func(f *Facts) { f.Cgroups.Controllers = []string{"cpu", "cpuset", "io", "memory"} }, "cgroup.controllers", Missing, ""},
		{"no memory", good, func(f *Facts) { f.Cgroups.Controllers = []string{"cpu", "cpuset", "io", "pids"} }, "cgroup.controllers", Weak, "cgroup_enable=memory"},
		{"without nsdelegate", good, func(f *Facts) { f.Cgroups.Options = "rw,memory_recursiveprot" }, "cgroup.options", Weak, "remount,nsdelegate"},
		{"no device programs", good, func(f *Facts) { f.Cgroups.Devices = Try{true, "ENOSYS"} }, "cgroup.devices", Missing, ""},
		{"no delegation", user, func(f *Facts) { f.Cgroups.DelegatedAt = "" }, "cgroup.delegation", Weak, "Delegate=cpu cpuset io memory pids"},
		{"little delegation", user, func(f *Facts) { f.Cgroups.Delegated = []string{"memory", "pids"} }, "cgroup.delegation", Weak, "systemctl daemon-reload"},
		{"delegation without systemd", user, func(f *Facts) { f.Cgroups.DelegatedAt, f.Cgroups.Systemd = "", false }, "cgroup.delegation", Weak, "chown 1000"},
		{"a bus that is dead", user, func(f *Facts) { f.Cgroups.Bus = Try{true, "ECONNREFUSED"} }, "cgroup.systemd", Weak, "dbus-user-session"},
		{"no swap accounting", good, func(f *Facts) { f.Cgroups.SwapFile = Try{true, "x"} }, "cgroup.swap", Weak, "swapaccount=1"},
		{"no swap", good, func(f *Facts) { f.Cgroups.SwapFile, f.Cgroups.Swap = Try{true, "x"}, false }, "cgroup.swap", OK, ""},
		{"no ranges", user, func(f *Facts) { f.Maps.SubUID, f.Maps.SubGID = 0, 0 }, "user.ranges", Missing, "echo ann:165536:65536 | tee -a /etc/subuid /etc/subgid"},
		{"no range of groups", user, func(f *Facts) { f.Maps.SubGID = 1 }, "user.ranges", Missing, "echo ann:165536:65536 >>/etc/subgid"},
		{"a name that is none", user, func(f *Facts) {
			f.Maps.SubUID, f.Maps.SubGID, f.Caller.Name = 0, 0, "x;reboot"
		}, "user.ranges", Missing, "echo 1000:165536:65536"},
		{"ranges of a directory server", user, func(f *Facts) { f.Maps.SubUID, f.Maps.Elsewhere = 0, "sss" }, "user.ranges", Unknown, ""},
		{"no newuidmap", user, func(f *Facts) { f.Maps.NewUIDMap = MapHelper{} }, "user.newuidmap", Missing, "apt-get install -y uidmap"},
		{"newgidmap without rights", user, func(f *Facts) { f.Maps.NewGIDMap.Caps = false }, "user.newgidmap", Missing, "chmod u+s /usr/bin/newgidmap"},
		{"nosuid", user, func(f *Facts) { f.Maps.NewUIDMap.NoSuid = "/usr" }, "user.newuidmap", Missing, "remount,suid /usr"},
		{"newuidmap refuses", user, func(f *Facts) { f.Maps.Mapped = Try{true, "write to uid_map failed"} }, "user.mapping", Missing, ""},
		{"no runtime directory", user, func(f *Facts) {
			f.Caller.RuntimeDir, f.Caller.RuntimeDirOK, f.Caller.HasRunUser, f.Places = "", "not set", false, f.Places[1:]
		}, "user.runtime_dir", Missing, "loginctl enable-linger ann && export XDG_RUNTIME_DIR=/run/user/1000"},
		{"forgotten runtime directory", user, func(f *Facts) {
			f.Caller.RuntimeDir, f.Caller.RuntimeDirOK, f.Places = "", "not set", f.Places[1:]
		}, "user.runtime_dir", Missing, "export XDG_RUNTIME_DIR=/run/user/1000"},
		{"state given", user, func(f *Facts) { f.Caller.RuntimeDir, f.Caller.RuntimeDirOK = "", "not set" }, "user.runtime_dir", Weak, "export"},
		{"a kernel without Landlock", good, func(f *Facts) { f.Kernel.Landlock, f.Modules.List = 0, "capability" }, "lsm.landlock", Weak, ""},
		{"no lingering", user, func(f *Facts) { f.Caller.Linger = false }, "user.linger", Weak, "sudo loginctl enable-linger ann"},
		{"a value that is no number", good, func(f *Facts) { set(f, "kernel.kptr_restrict", "x") }, "kernel.kptr_restrict", Weak, ""},
		{"piped core dumps", good, func(f *Facts) { set(f, "kernel.core_pattern", "|/bin/x %p") }, "kernel.core_pattern", Weak, "core.%p"},
		{"state on NFS", good, func(f *Facts) { f.Places[0].Type = "nfs4" }, "storage.state", Weak, ""},
		{"state does not answer", good, func(f *Facts) { f.Places[0] = Place{ID: "state", Path: "/x", Silent: true} }, "storage.state", Missing, ""},
		{"state read-only", good, func(f *Facts) { f.Places[0].Options = "ro" }, "storage.state", Missing, "remount,rw"},
		{"state of another user", user, func(f *Facts) { f.Places[0].OtherOwner = true }, "storage.state", Missing, ""},
		{"images read-only", good, func(f *Facts) { f.Places[1].Options = "ro" }, "storage.data", Weak, ""},
		{"images noexec", good, func(f *Facts) { f.Places[1].Options = "rw,noexec" }, "storage.data", Weak, "remount,exec"},
		{"no flock", good, func(f *Facts) { f.Places[0].Flock = Try{true, "ENOLCK"} }, "storage.state_files", Missing, ""},
		{"no inodes", good, func(f *Facts) { f.Places[1].Inodes = 3 }, "storage.data_space", Weak, ""},
		{"no inodes, for they are not counted", good, func(f *Facts) { f.Places[1].Inodes, f.Places[1].Counted = 0, false }, "storage.data_space", OK, ""},
		{"few files", user, func(f *Facts) { f.Caller.NoFile = 1024 }, "limit.nofile", Weak, "sudo prlimit --pid $$ --nofile=4096:4096"},
		{"very few files", good, func(f *Facts) { f.Caller.NoFile = 100 }, "limit.nofile", Missing, "prlimit"},
		{"bugs of the processor", good, func(f *Facts) { f.Kernel.Vulnerable = []string{"mds"} }, "cpu.mitigations", Weak, "intel-microcode"},
		{"idmap on one", good, func(f *Facts) { f.Places[1].IDMap = Try{true, "EINVAL"} }, "kernel.idmap", Weak, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.facts()
			test.change(f)
			r := Judge(f)
			checkReport(t, r)
			got := r.Find(test.id)
			if got == nil {
				t.Fatalf("no finding %s", test.id)
			}
			if got.Status != test.want || !strings.Contains(got.Fix, test.fix) {
				t.Errorf("%+v, want %s and %q", *got, test.want, test.fix)
			}
			if strings.Contains(got.Fix, "reboot") && strings.Contains(got.Fix, ";") {
				t.Errorf("a command of somebody else's: %s", got.Fix)
			}
			if (r.Missing() > 0) != strings.Contains(string(r.Text()), "\n  missing ") {
				t.Error("the count is wrong")
			}
		})
	}
}

// A good host must be told to be one.
func TestGoodIsGood(t *testing.T) {
	for name, f := range map[string]*Facts{"root": good(), "user": user()} {
		for _, finding := range Judge(f).Findings {
			if finding.Status != OK {
				t.Errorf("%s: %+v", name, finding)
			}
		}
	}
}
