package explain

import (
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/engine/assemble"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	"github.com/moby/moby/api/types/container"
)

// explained is the explanation of a request, with some steps of a plan.
func explained(t *testing.T, image *manifest.ImageConfig, h container.HostConfig, steps ...plan.Step) *Explanation {
	t.Helper()
	facts := defaults.Host{NoFile: 1024, CPUs: 2, UIDs: defaults.Range(0), GIDs: defaults.Range(0)}
	config, err := assemble.Merge(container.Config{}, image)
	if err != nil {
		t.Fatal(err)
	}
	points, err := assemble.Points(&config, &h, assemble.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range points {
		points[i].Source = "/volumes/x"
	}
	r, err := assemble.Spec(&assemble.Request{
		ID: "0123456789abcdef", Config: config, Host: h, Points: points,
		Facts: assemble.Facts{Host: facts, Kernel: "6.12.0", Rootfs: "/root", Cgroup: "/bulkhead/c", Source: func(string) bool { return true }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return New(&Input{ID: "0123456789abcdef", Config: config, Host: h, Points: points, ImageConfig: image, Facts: facts, Result: r, Steps: steps})
}

func ofImage() *manifest.ImageConfig {
	i := &manifest.ImageConfig{}
	i.Config.Cmd, i.Config.User, i.Config.WorkingDir, i.Config.Volumes = []string{"serve"}, "7", "/srv", map[string]struct{}{"/data": {}}
	return i
}

func find(e *Explanation, kind, what string) *Setting {
	for i := range e.Settings {
		if s := &e.Settings[i]; s.Kind == kind && strings.HasPrefix(s.What, what) {
			return s
		}
	}
	return &Setting{}
}

// TestImage: what the image says is the image's.
func TestImage(t *testing.T) {
	e := explained(t, ofImage(), container.HostConfig{})
	for _, s := range [][2]string{{"user", "7:"}, {"directory", "/srv"}, {"program", "serve"}, {"mount", "/data:"}} {
		if got := find(e, s[0], s[1]); got.Origin != "image" {
			t.Errorf("%v: %+v", s, got)
		}
	}
	if len(e.Weaker) > 0 || e.Level != "hardened" {
		t.Errorf("%+v", e)
	}
}

// TestReasons: what the level gives has its reason, all of it.
func TestReasons(t *testing.T) {
	for _, h := range []container.HostConfig{{}, {SecurityOpt: []string{"level=untrusted"}}, {SecurityOpt: []string{"level=compat"}}} {
		e := explained(t, ofImage(), h)
		for _, s := range e.Settings {
			if strings.HasPrefix(s.Origin, "level ") && s.Reason == "" && !strings.HasSuffix(s.What, "the host's") && s.What != "off" {
				t.Errorf("%s: no reason for %+v", e.Level, s)
			}
		}
	}
}

// TestParts: steps go to what their reasons name, and those without a word of their own to the one before.
func TestParts(t *testing.T) {
	h := container.HostConfig{ReadonlyRootfs: true, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, CapAdd: []string{"NET_RAW"}}
	for why, want := range map[string][2]string{
		"proc on /proc":                         {"mount /proc: ", "level hardened"},
		"where /dev/shm is":                     {"mount /dev/shm: ", "level hardened"},
		"/volumes/x on /data":                   {"mount /data: ", "image"},
		"device /dev/null":                      {"device /dev/null", "runtime specification"},
		"linux.maskedPaths /proc/keys":          {"mask /proc/keys", "level hardened"},
		"linux.readonlyPaths /proc/sys":         {"read-only /proc/sys", "level hardened"},
		"linux.sysctl.net.ipv4.ip_forward":      {"sysctl net.ipv4.ip_forward=1", "--sysctl net.ipv4.ip_forward"},
		"process.capabilities":                  {"capabilities", "level hardened, --cap-add NET_RAW"},
		"linux.seccomp: the last call":          {"the system call filter", "level hardened, the capability CAP_NET_RAW"},
		"root.readonly":                         {"the root", "image, --read-only"},
		"new namespaces: user":                  {"namespaces", "level hardened"},
		"a session keyring of its own: the":     {"keys: ", "runtime"},
		"join the container's cgroup":           {"cgroup: /bulkhead/c", "engine"},
		"cgroup hierarchy pids":                 {"mount /sys/fs/cgroup: ", "level hardened"},
		"process.user.uid":                      {"user: 7:", "image"},
		"process.noNewPrivileges: a set-user-I": {"no_new_privs: on", "level hardened"},
	} {
		e := explained(t, ofImage(), h, plan.Step{Number: 1, Call: "call()", Why: why}, plan.Step{Number: 2, Call: "call()", Why: "something of it"})
		if len(e.Parts) != 1 || !strings.HasPrefix(e.Parts[0].What, want[0]) || e.Parts[0].Origin != want[1] || len(e.Parts[0].Steps) != 2 {
			t.Errorf("%s: %+v", why, e.Parts)
		}
	}
}

// TestLayer: a failed step is told by the setting that it belongs to.
func TestLayer(t *testing.T) {
	in := func() *Input {
		h := container.HostConfig{Tmpfs: map[string]string{"/t": "nr_inodes=9"}}
		e := ofImage()
		config, err := assemble.Merge(container.Config{}, e)
		if err != nil {
			t.Fatal(err)
		}
		points, err := assemble.Points(&config, &h, assemble.Sources{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range points {
			points[i].Source = "/volumes/x"
		}
		facts := defaults.Host{NoFile: 1024, CPUs: 2, UIDs: defaults.Range(0), GIDs: defaults.Range(0)}
		r, err := assemble.Spec(&assemble.Request{ID: "0123456789abcdef", Config: config, Host: h, Points: points, Facts: assemble.Facts{Host: facts, Cgroup: "/c"}})
		if err != nil {
			t.Fatal(err)
		}
		return &Input{Config: config, Host: h, Points: points, ImageConfig: e, Facts: facts, Result: r}
	}()
	for text, want := range map[string]string{
		"proc on /proc: step 40 fsconfig($fs4): operation not permitted":                              "mount /proc: proc (nosuid,noexec,nodev) of level hardened",
		"option nr_inodes=9: step 4 fsconfig(): invalid argument":                                     `mount /t: tmpfs (noexec,nosuid,nodev,nr_inodes=9) of --tmpfs "/t"`,
		"option mode=1777: step 4 fsconfig(): invalid argument":                                       "mount /dev/shm: tmpfs (nosuid,noexec,nodev,mode=1777,size=65536k) of level hardened",
		"process.rlimits: step 2 prlimit64(0, RLIMIT_CORE, {1, 1}, 0): operation not permitted":       "rlimit core 1:1 of level hardened",
		"linux.resources.pids.limit: write \"5\" to pids.max: permission denied":                      "the limit pids 2048 of level hardened",
		"linux.resources.blockIO.throttleReadBpsDevice[0]: no such device":                            "the limit blockIO.throttleReadBpsDevice of --device-read-bps",
		"exec: \"nothing\": executable file not found in $PATH":                                       "",
		"linux.resources.hugepageLimits[0].limit: hugetlb.2MB.limit_in_bytes does not exist: no such": "",
	} {
		got := ""
		if p, ok := Layer(in, text); ok {
			got = p.What + " of " + p.Origin
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
