package assemble

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// ask is a request for a container on a host with two processors and a disk.
func ask(change func(*container.Config, *container.HostConfig)) *Request {
	r := &Request{ID: "0123456789abcdef", Config: container.Config{Cmd: []string{"true"}}}
	if change != nil {
		change(&r.Config, &r.Host)
	}
	r.Facts = Facts{
		Host:   defaults.Host{NoFile: 1024, CPUs: 2, UIDs: defaults.Range(0), GIDs: defaults.Range(0)},
		Kernel: "6.12.0-amd64", Rootfs: "/root", Cgroup: "/bulkhead/c",
		Passwd: []byte("root:x:0:0::/root:/bin/sh\nwww:x:33:33::/var/www:/bin/sh\n"), Group: []byte("root:x:0:\nwww:x:33:\naudio:x:29:www\n"),
		Device: func(path string) ([]specs.LinuxDevice, error) {
			switch path {
			case "/dev/sda":
				return []specs.LinuxDevice{{Path: path, Type: "b", Major: 8}}, nil
			case "/dev":
				return []specs.LinuxDevice{{Path: "/dev/sda", Type: "b", Major: 8}}, nil
			case "/dev/fuse":
				return []specs.LinuxDevice{{Path: path, Type: "c", Major: 10, Minor: 229}}, nil
			}
			return nil, errdef.Errorf(errdef.NotFound, "no such device")
		},
		Source: func(path string) bool { return path != "/absent" },
	}
	return r
}

func spec(t *testing.T, change func(*container.Config, *container.HostConfig)) *Result {
	t.Helper()
	r := ask(change)
	points, err := Points(&r.Config, &r.Host, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range points {
		if points[i].Type == mount.TypeVolume {
			points[i].Source = "/volumes/" + points[i].Name
		}
	}
	r.Points = points
	out, err := Spec(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func find(s *specs.Spec, dest string) *specs.Mount {
	for i := range s.Mounts {
		if s.Mounts[i].Destination == dest {
			return &s.Mounts[i]
		}
	}
	return nil
}

// TestDefault: a request that says nothing gets the hardened default, and nothing is weaker.
func TestDefault(t *testing.T) {
	r := spec(t, nil)
	want := defaults.Spec(defaults.Hardened, ask(nil).Facts.Host)
	if len(r.Weaker) > 0 {
		t.Errorf("weaker: %v", r.Weaker)
	}
	s := r.Spec
	if !slices.Equal(s.Process.Capabilities.Bounding, want.Process.Capabilities.Bounding) || !s.Process.NoNewPrivileges || s.Linux.Seccomp == nil ||
		!slices.Equal(s.Linux.MaskedPaths, want.Linux.MaskedPaths) || len(s.Linux.Namespaces) != len(want.Linux.Namespaces) || len(s.Mounts) != len(want.Mounts) ||
		s.Hostname != "0123456789ab" || s.Root.Path != "/root" || s.Linux.CgroupsPath != "/bulkhead/c" {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(s.Process.Env, []string{want.Process.Env[0], "HOSTNAME=0123456789ab", "HOME=/root"}) {
		t.Errorf("%q", s.Process.Env)
	}
}

// TestFlags: each flag does what it says, and what weakens says so.
func TestFlags(t *testing.T) {
	yes, no, many := true, false, int64(7)
	tests := map[string]struct {
		change func(*container.Config, *container.HostConfig)
		right  func(*specs.Spec) bool
		weaker string
	}{
		"cap-drop all": {
			func(_ *container.Config, h *container.HostConfig) {
				h.CapDrop, h.CapAdd = []string{"ALL"}, []string{"net_bind_service"}
			},
			func(s *specs.Spec) bool {
				return slices.Equal(s.Process.Capabilities.Bounding, []string{"CAP_NET_BIND_SERVICE"})
			}, "",
		},
		"cap-add": {
			func(_ *container.Config, h *container.HostConfig) { h.CapAdd = []string{"SYS_PTRACE"} },
			func(s *specs.Spec) bool {
				return slices.Contains(s.Process.Capabilities.Bounding, "CAP_SYS_PTRACE") && permits(s, "ptrace")
			}, "cap-add SYS_PTRACE",
		},
		"no ptrace":  {func(*container.Config, *container.HostConfig) {}, func(s *specs.Spec) bool { return !permits(s, "ptrace") }, ""},
		"allow":      {opt("allow=io_uring"), func(s *specs.Spec) bool { return permits(s, "io_uring_setup") }, "allow io_uring"},
		"unconfined": {opt("seccomp=unconfined"), func(s *specs.Spec) bool { return s.Linux.Seccomp == nil }, "seccomp=unconfined"},
		"profile": {
			opt(`seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["bpf"],"action":"SCMP_ACT_ERRNO"},{"names":["acct"],"action":"SCMP_ACT_ERRNO","includes":{"caps":["CAP_SYS_PACCT"]}}]}`),
			func(s *specs.Spec) bool {
				return s.Linux.Seccomp.DefaultAction == "SCMP_ACT_ALLOW" && len(s.Linux.Seccomp.Syscalls) == 1
			}, "seccomp=PROFILE",
		},
		"new privileges": {opt("no-new-privileges=false"), func(s *specs.Spec) bool { return !s.Process.NoNewPrivileges }, "no-new-privileges"},
		"apparmor": {opt("apparmor=mine"), func(s *specs.Spec) bool {
			return s.Process.ApparmorProfile == "mine" && s.Annotations["io.bulkhead.apparmor"] == ""
		}, ""},
		"unmask":    {opt("unmask=/proc/kcore"), func(s *specs.Spec) bool { return !slices.Contains(s.Linux.MaskedPaths, "/proc/kcore") }, "unmask"},
		"mask":      {opt("mask=/a:/b"), func(s *specs.Spec) bool { return slices.Contains(s.Linux.MaskedPaths, "/b") }, ""},
		"untrusted": {opt("level=untrusted"), func(s *specs.Spec) bool { return s.Root.Readonly && len(s.Process.Capabilities.Bounding) == 0 }, ""},
		"compat":    {opt("level=compat"), func(s *specs.Spec) bool { return len(s.Process.Capabilities.Bounding) == 14 }, "level=compat"},
		"privileged": {
			func(_ *container.Config, h *container.HostConfig) { h.Privileged = true },
			func(s *specs.Spec) bool {
				return s.Linux.Seccomp == nil && s.Linux.MaskedPaths == nil && !hasNamespace(s, specs.UserNamespace)
			}, "privileged",
		},
		"userns host": {
			func(_ *container.Config, h *container.HostConfig) { h.UsernsMode = "host" },
			func(s *specs.Spec) bool {
				return !hasNamespace(s, specs.UserNamespace) && slices.Equal(s.Process.Capabilities.Bounding, []string{"CAP_NET_BIND_SERVICE"})
			}, "userns=host",
		},
		"pid host":     {func(_ *container.Config, h *container.HostConfig) { h.PidMode = "host" }, func(s *specs.Spec) bool { return !hasNamespace(s, specs.PIDNamespace) }, "pid=host"},
		"network host": {func(_ *container.Config, h *container.HostConfig) { h.NetworkMode = "host" }, func(s *specs.Spec) bool { return !hasNamespace(s, specs.NetworkNamespace) && len(s.Linux.Sysctl) == 0 }, "network=host"},
		"read-only":    {func(_ *container.Config, h *container.HostConfig) { h.ReadonlyRootfs = true }, func(s *specs.Spec) bool { return s.Root.Readonly }, ""},
		"user": {
			func(c *container.Config, h *container.HostConfig) { c.User, h.GroupAdd = "www", []string{"44"} },
			func(s *specs.Spec) bool {
				u := s.Process.User
				return u.UID == 33 && u.GID == 33 && slices.Equal(u.AdditionalGids, []uint32{29, 44}) && len(s.Process.Capabilities.Effective) == 0 && slices.Contains(s.Process.Env, "HOME=/var/www")
			}, "",
		},
		"numbers": {func(c *container.Config, _ *container.HostConfig) { c.User = "1000:1001" }, func(s *specs.Spec) bool { return s.Process.User.UID == 1000 && s.Process.User.GID == 1001 }, ""},
		"memory": {
			func(_ *container.Config, h *container.HostConfig) { h.Memory, h.MemorySwap = 1<<30, 2<<30 },
			func(s *specs.Spec) bool {
				return *s.Linux.Resources.Memory.Limit == 1<<30 && *s.Linux.Resources.Memory.Swap == 2<<30
			}, "",
		},
		"cpus": {
			func(_ *container.Config, h *container.HostConfig) { h.NanoCPUs = 15e8 },
			func(s *specs.Spec) bool {
				return *s.Linux.Resources.CPU.Quota == 150000 && *s.Linux.Resources.CPU.Period == 100000
			}, "",
		},
		"pids":     {func(_ *container.Config, h *container.HostConfig) { h.PidsLimit = &many }, func(s *specs.Spec) bool { return *s.Linux.Resources.Pids.Limit == 7 }, ""},
		"oom kill": {func(_ *container.Config, h *container.HostConfig) { h.OomKillDisable = &yes }, func(s *specs.Spec) bool { return *s.Linux.Resources.Memory.DisableOOMKiller }, "oom-kill-disable"},
		"init off": {func(_ *container.Config, h *container.HostConfig) { h.Init = &no }, func(s *specs.Spec) bool { return s.Process.Args[0] == "true" }, ""},
		"read bps": {func(_ *container.Config, h *container.HostConfig) {
			h.BlkioDeviceReadBps = []*blkiodev.ThrottleDevice{{Path: "/dev/sda", Rate: 1 << 20}}
		}, func(s *specs.Spec) bool {
			d := s.Linux.Resources.BlockIO.ThrottleReadBpsDevice
			return len(d) == 1 && d[0].Major == 8 && d[0].Rate == 1<<20
		}, ""},
		"device": {func(_ *container.Config, h *container.HostConfig) {
			h.Devices = []container.DeviceMapping{{PathOnHost: "/dev/fuse", PathInContainer: "/dev/f", CgroupPermissions: "rw"}}
		}, func(s *specs.Spec) bool {
			rules := s.Linux.Resources.Devices
			return s.Linux.Devices[0].Path == "/dev/f" && *rules[len(rules)-1].Minor == 229 && rules[len(rules)-1].Access == "rw"
		}, "device /dev/fuse"},
		"bind": {
			func(_ *container.Config, h *container.HostConfig) { h.Binds = []string{"/srv:/data:ro,Z"} },
			func(s *specs.Spec) bool {
				m := find(s, "/data")
				return m.Source == "/srv" && slices.Contains(m.Options, "rro") && slices.Contains(m.Options, "idmap") && slices.Contains(m.Options, "nosuid") && len(m.UIDMappings) == 1
			}, "",
		},
		"host's root": {func(_ *container.Config, h *container.HostConfig) { h.Binds = []string{"/:/host"} }, func(s *specs.Spec) bool { return find(s, "/host") != nil }, "volume /"},
		"tmpfs": {
			func(_ *container.Config, h *container.HostConfig) {
				h.Tmpfs = map[string]string{"/run": "exec,size=1m"}
			},
			func(s *specs.Spec) bool {
				o := find(s, "/run").Options
				return slices.Contains(o, "exec") && !slices.Contains(o, "noexec") && slices.Contains(o, "nosuid")
			}, "",
		},
		"shm": {func(_ *container.Config, h *container.HostConfig) { h.ShmSize = 1 << 20 }, func(s *specs.Spec) bool { return slices.Contains(find(s, "/dev/shm").Options, "size=1048576") }, ""},
		"sysctl": {func(_ *container.Config, h *container.HostConfig) {
			h.Sysctls = map[string]string{"net.ipv4.ip_forward": "1"}
		}, func(s *specs.Spec) bool { return s.Linux.Sysctl["net.ipv4.ip_forward"] == "1" }, ""},
		"ulimit": {
			func(_ *container.Config, h *container.HostConfig) {
				h.Ulimits = []*container.Ulimit{{Name: "nofile", Soft: 10, Hard: 20}}
			},
			func(s *specs.Spec) bool {
				return slices.Contains(s.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 20})
			}, "",
		},
		"volume": {func(c *container.Config, _ *container.HostConfig) { c.Volumes = map[string]struct{}{"/v": {}} }, func(s *specs.Spec) bool { return find(s, "/v").Source == "/volumes/" }, ""},
	}
	for name, test := range tests {
		r := spec(t, test.change)
		if !test.right(r.Spec) {
			t.Errorf("%s: it does not act", name)
		}
		said := ""
		for _, w := range r.Weaker {
			said += w.Flag + "\n"
		}
		if test.weaker == "" && said != "" || !strings.Contains(said, test.weaker) {
			t.Errorf("%s: weaker: %q, want %q", name, said, test.weaker)
		}
	}
}

func opt(options ...string) func(*container.Config, *container.HostConfig) {
	return func(_ *container.Config, h *container.HostConfig) { h.SecurityOpt = options }
}

// permits reports whether the filter allows a call whatever its arguments.
func permits(s *specs.Spec, call string) bool {
	return slices.ContainsFunc(s.Linux.Seccomp.Syscalls, func(r specs.LinuxSyscall) bool {
		return r.Action == specs.ActAllow && len(r.Args) == 0 && slices.Contains(r.Names, call)
	})
}

// TestRefused: what cannot be is refused by the flag's name, and nothing is passed over.
func TestRefused(t *testing.T) {
	for name, change := range map[string]func(*container.Config, *container.HostConfig){
		"security-opt": opt("nonsense"),
		"level":        opt("level=strange"),
		"allow":        opt("allow=everything"),
		"unmask":       opt("unmask=proc"),
		"the profile":  opt(`seccomp={"defaultAction":1}`),
		"cap-add":      func(_ *container.Config, h *container.HostConfig) { h.CapAdd = []string{"SYS_ROOT"} },
		"user":         func(c *container.Config, _ *container.HostConfig) { c.User = "nobody-here" },
		"workdir":      func(c *container.Config, _ *container.HostConfig) { c.WorkingDir = "relative" },
		"memory":       func(_ *container.Config, h *container.HostConfig) { h.Memory = 1 << 20 },
		"memory-swap":  func(_ *container.Config, h *container.HostConfig) { h.Memory, h.MemorySwap = 1<<30, 1<<20 },
		"cpus":         func(_ *container.Config, h *container.HostConfig) { h.NanoCPUs = 3e9 },
		"blkio-weight": func(_ *container.Config, h *container.HostConfig) { h.BlkioWeight = 5 },
		"add-host": func(_ *container.Config, h *container.HostConfig) {
			h.ExtraHosts = []string{"foo\n192.0.2.1 bar:192.0.2.2"}
		},
		"dns-search": func(_ *container.Config, h *container.HostConfig) { h.DNSSearch = []string{"a\nnameserver 192.0.2.1"} },
		"dns-option": func(_ *container.Config, h *container.HostConfig) {
			h.DNSOptions = []string{"ndots:1\nnameserver 192.0.2.1"}
		},
		"blkio-weight-device: null": func(_ *container.Config, h *container.HostConfig) {
			h.BlkioWeightDevice = []*blkiodev.WeightDevice{nil}
		},
		"device-read-bps: null": func(_ *container.Config, h *container.HostConfig) {
			h.BlkioDeviceReadBps = []*blkiodev.ThrottleDevice{nil}
		},
		"device /dev/absent": func(_ *container.Config, h *container.HostConfig) {
			h.Devices = []container.DeviceMapping{{PathOnHost: "/dev/absent"}}
		},
		"device-cgroup-rule": func(_ *container.Config, h *container.HostConfig) { h.DeviceCgroupRules = []string{"c 1 rwm"} },
		"sysctl": func(_ *container.Config, h *container.HostConfig) {
			h.Sysctls = map[string]string{"vm.swappiness": "1"}
		},
		"pid=":             func(_ *container.Config, h *container.HostConfig) { h.PidMode = "other" },
		`userns="keep-me"`: func(_ *container.Config, h *container.HostConfig) { h.UsernsMode = "keep-me" },
		"ulimit": func(_ *container.Config, h *container.HostConfig) {
			h.Ulimits = []*container.Ulimit{{Name: "nofile", Soft: 20, Hard: 10}}
		},
		"oom-score-adj": func(_ *container.Config, h *container.HostConfig) { h.OomScoreAdj = 2000 },
		"annotation": func(_ *container.Config, h *container.HostConfig) {
			h.Annotations = map[string]string{"io.bulkhead.landlock": "fs"}
		},
		"storage-opt": func(_ *container.Config, h *container.HostConfig) { h.StorageOpt = map[string]string{"volume": "1g"} },
		"init":        func(_ *container.Config, h *container.HostConfig) { yes := true; h.Init = &yes },
	} {
		if _, err := Spec(ask(change)); err == nil || !strings.Contains(err.Error(), name) || errdef.Is(err, errdef.Internal) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPointsRefused(t *testing.T) {
	for want, binds := range map[string][]string{
		"absolute":         {"/a:b"},
		"duplicate":        {"/a:/b", "/c:/b"},
		"'/'":              {"/a:/"},
		"invalid mode":     {"/a:/b:rx"},
		"invalid char":     {"a/b:/c"},
		"wants [SOURCE":    {"/a:/b:ro:x"},
		"name of a volume": {"./a:/b"},
		"for bind mounts":  {"vol:/b:rslave"},
	} {
		if _, err := Points(&container.Config{}, &container.HostConfig{Binds: binds}, Sources{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", binds, err, want)
		}
	}
	r := ask(func(_ *container.Config, h *container.HostConfig) {
		h.Mounts = []mount.Mount{{Type: mount.TypeBind, Source: "/absent", Target: "/b"}}
	})
	points, err := Points(&r.Config, &r.Host, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	r.Points = points
	if _, err := Spec(r); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("%v", err)
	}
}
