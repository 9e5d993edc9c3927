package plan_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files anew")

func facts() *plan.Facts {
	return &plan.Facts{
		LastCap: 40, NofileHard: 1 << 20,
		Cgroup: plan.CgroupFacts{Unified: true, Own: "/sys/fs/cgroup/c1"},
		Sources: map[string]plan.Source{
			"/srv/data": {Dir: true}, "/etc/hosts": {}, "/root/secret": {HostOnly: true},
		},
	}
}

// closed is a host where the container's root cannot reach the rootfs.
func closed() *plan.Facts {
	f := facts()
	f.RootAt = "/srv"
	return f
}

func v1() *plan.Facts {
	f := facts()
	f.Cgroup = plan.CgroupFacts{Joins: 2, V1: []plan.CgroupMount{
		{Dir: "cpu,cpuacct", Params: []string{"cpu", "cpuacct"}, Own: "/sys/fs/cgroup/cpu,cpuacct/c1", Links: []string{"cpu", "cpuacct"}},
		{Dir: "systemd", Params: []string{"name=systemd"}, Own: "/sys/fs/cgroup/systemd/c1"},
	}}
	return f
}

func mapped(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace}, specs.LinuxNamespace{Type: specs.TimeNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s.Linux.GIDMappings = s.Linux.UIDMappings
	s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 3600}}
}

func mounts(s *specs.Spec) {
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/data", Type: "bind", Source: "/srv/data", Options: []string{"rbind", "ro", "rnosuid", "rprivate"}},
		specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: "/etc/hosts", Options: []string{"bind", "ro"}},
		specs.Mount{Destination: "/run", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "tmpcopyup", "ro"}},
		specs.Mount{Destination: "/secret", Type: "bind", Source: "/root/secret", Options: []string{"bind"}},
	)
	s.Process.Terminal = true
	s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{5, 6}}
	s.Process.Args = []string{"/bin/server", "-v"}
	s.Hostname = "web"
	s.Root.Readonly = true
	s.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
}

func hooks(s *specs.Spec) {
	timeout := 5
	s.Hooks = &specs.Hooks{
		CreateContainer: []specs.Hook{{Path: "/usr/bin/cc"}},
		StartContainer:  []specs.Hook{{Path: "/bin/hook", Args: []string{"hook", "x"}, Timeout: &timeout}},
	}
}

var filter = plan.Filter{Program: bytes.Repeat([]byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f}, 3), Flags: unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW}

func TestGolden(t *testing.T) {
	cases := []struct {
		name  string
		facts *plan.Facts
		run   bool
		edit  func(*specs.Spec)
		sec   plan.Filter
	}{
		{"default", facts(), true, func(*specs.Spec) {}, filter},
		{"create-v1", v1(), false, func(*specs.Spec) {}, plan.Filter{}},
		{"user-time", facts(), true, mapped, plan.Filter{}},
		{"closed", closed(), true, mapped, filter},
		{"mounts-terminal", facts(), true, func(s *specs.Spec) { mounts(s); mapped(s) }, plan.Filter{}},
		{"hooks-notify", facts(), false, hooks, plan.Filter{Program: filter.Program, Notify: true}},
		{"joined", facts(), true, func(s *specs.Spec) {
			s.Linux.Namespaces[0].Path, s.Linux.Namespaces[1].Path = "/proc/1/ns/pid", "/proc/1/ns/net"
		}, plan.Filter{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spec := bundle.Default(false)
			spec.Process.Terminal = false
			c.edit(spec)
			p, err := plan.Compile(&plan.Input{Spec: spec, Bundle: "/bundle", ID: "c1", Facts: c.facts, Run: c.run, Filter: c.sec})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, c.name, p)
		})
	}
}

var landlock = &lsm.Ruleset{Rights: lsm.LandlockRights(6), Bind: []uint16{80}, Connect: []uint16{443}}

func TestGoldenLandlock(t *testing.T) {
	spec := bundle.Default(false)
	mounts(spec)
	spec.Process.Terminal, spec.Process.NoNewPrivileges = false, false
	in := plan.Input{Spec: spec, Bundle: "/bundle", ID: "c1", Facts: facts(), Run: true, Filter: filter, Landlock: landlock, PortGuard: filter}
	p, err := plan.Compile(&in)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "landlock", p)
	p, err = plan.CompileExec(&plan.ExecInput{Spec: spec, Process: spec.Process, ID: "c1", Facts: facts(), Landlock: landlock})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "landlock-exec", p)
}

func TestGoldenExec(t *testing.T) {
	spec := bundle.Default(false)
	mapped(spec)
	p, err := plan.CompileExec(&plan.ExecInput{Spec: spec, Process: spec.Process, ID: "c1", Facts: v1(), Filter: filter})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "exec", p)
}

func compare(t *testing.T, name string, p *plan.Plan) {
	t.Helper()
	var got bytes.Buffer
	if err := p.Text(&got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("plan %s differs (-want +got); run with -update if that is meant\n%s", name, diff)
	}
}

// Whatever the spec, no path inside the root is used without a descriptor of the root beside it, until the root is entered; and the filter
// and execve are the last calls.
func TestEveryPathInsideTheRootHasADescriptor(t *testing.T) {
	spec := bundle.Default(false)
	mounts(spec)
	p, err := plan.Compile(&plan.Input{Spec: spec, Bundle: "/bundle", ID: "c1", Facts: facts(), Run: true, Filter: filter})
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for i, o := range p.Ops {
		switch o.Call {
		case "pivot_root":
			inside = true
		case "openat2":
			if o.Args[0].Kind == op.Imm {
				t.Errorf("step %d resolves a path from the working directory: %s", i+1, o)
			}
		case "mkdirat", "mknodat", "symlinkat", "fchownat":
			for _, a := range o.Args {
				if a.Kind == op.Imm && a.Text == "AT_FDCWD" && !inside {
					t.Errorf("step %d makes a file by a path: %s", i+1, o)
				}
			}
		}
	}
	n := len(p.Ops)
	if p.Ops[n-1].Call != "execve" || p.Ops[n-2].Call != "seccomp" {
		t.Errorf("the list ends with %s, %s", p.Ops[n-2].Call, p.Ops[n-1].Call)
	}
}

func TestRefused(t *testing.T) {
	for name, edit := range map[string]func(*specs.Spec){
		"mount over the root": func(s *specs.Spec) { s.Mounts[0].Destination = "/x/.." },
		"bind over /proc": func(s *specs.Spec) {
			s.Mounts[0] = specs.Mount{Destination: "/proc", Source: "/srv/data", Options: []string{"bind"}}
		},
		"bind inside /proc": func(s *specs.Spec) {
			s.Mounts[0] = specs.Mount{Destination: "/proc/self/attr", Source: "/srv/data", Options: []string{"bind"}}
		},
		"no mount namespace": func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:2] },
		"offsets without a time namespace": func(s *specs.Spec) {
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}}
		},
		"sysctl that climbs": func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net/../../x": "1"} },
	} {
		spec := bundle.Default(false)
		edit(spec)
		if _, err := plan.Compile(&plan.Input{Spec: spec, Bundle: "/bundle", ID: "c1", Facts: facts(), Run: true}); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
}

func TestDeterministic(t *testing.T) {
	first := ""
	for range 3 {
		spec := bundle.Default(false)
		mounts(spec)
		mapped(spec)
		p, err := plan.Compile(&plan.Input{Spec: spec, Bundle: "/bundle", ID: "c1", Facts: facts(), Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := p.JSON(&b); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = b.String()
		} else if first != b.String() {
			t.Fatal("the same input gave two plans")
		}
	}
}

func TestForms(t *testing.T) {
	p := &plan.Plan{Ops: []op.Op{op.Setsid().Because("a session\x1b of its own"), op.Close(op.Num(3))}}
	var text, doc bytes.Buffer
	if err := p.Text(&text); err != nil || !strings.Contains(text.String(), "1 setsid()  # a session? of its own\n") || !strings.Contains(text.String(), "2 close(3)  # a session? of its own\n") {
		t.Errorf("%v: %q", err, text.String())
	}
	var got struct {
		Steps []struct {
			Step      int
			Call, Why string
		}
	}
	if err := p.JSON(&doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(doc.Bytes(), &got); err != nil || len(got.Steps) != 2 || got.Steps[1].Step != 2 || got.Steps[0].Call != "setsid" || got.Steps[1].Why == "" {
		t.Errorf("%v: %s", err, doc.String())
	}
}
