package plan_test

import (
	"slices"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// compiled is the plan of the default spec with changes, for create.
func compiled(t *testing.T, edit func(*specs.Spec), change func(*plan.Input)) *plan.Plan {
	t.Helper()
	spec := bundle.Default(false)
	spec.Process.Terminal = false
	in := &plan.Input{Spec: spec, Bundle: "/bundle", ID: "c1", Facts: facts()}
	edit(spec)
	if change != nil {
		change(in)
	}
	p, err := plan.Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func step(p *plan.Plan, call string) int {
	return slices.IndexFunc(p.Ops, func(o op.Op) bool { return o.Call == call })
}

// Once a process has no more rights than its neighbours in a pid namespace that it joined, they may trace it, and look at its descriptors
// for as long as the image makes the search for the program take: the host's procfs must be closed by then.
func TestDescriptorsGoBeforeRights(t *testing.T) {
	for name, edit := range map[string]func(*specs.Spec){
		"default": func(*specs.Spec) {},
		"cwd":     func(s *specs.Spec) { s.Process.Cwd = "/srv" },
		"joined":  func(s *specs.Spec) { s.Linux.Namespaces[0].Path = "/proc/1/ns/pid" },
	} {
		p := compiled(t, edit, nil)
		if closed, caps := step(p, "close_range"), step(p, "capset"); closed < 0 || caps < closed {
			t.Errorf("%s: close_range is step %d, capset %d", name, closed+1, caps+1)
		}
	}
}

// After pivot_root "." is the new root for mount(2): whoever takes it for the old one cuts the container's shared volumes off the host.
func TestOnlyTheOldRootIsMadeSlave(t *testing.T) {
	p := compiled(t, func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" }, nil)
	pivot := step(p, "pivot_root")
	if next := p.Ops[pivot+1]; next.Call != "fchdir" || next.Args[0].Str != "oldroot" {
		t.Errorf("after pivot_root comes %s", next)
	}
	p = compiled(t, func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" }, func(in *plan.Input) { in.NoPivot = true })
	slave := slices.IndexFunc(p.Ops, func(o op.Op) bool {
		return o.Call == "mount" && o.Args[1].Str == "/" && o.Why == "--no-pivot: what happens to the old mounts does not reach the host"
	})
	if hidden := step(p, "umount2"); slave < 0 || hidden < slave {
		t.Errorf("mounts become slaves in step %d, and are unmounted in %d", slave+1, hidden+1)
	}
}

// A mount on the path of a device takes its place, whether that is a default one or of the spec.
func TestMountOnADevice(t *testing.T) {
	p := compiled(t, func(s *specs.Spec) {
		for _, dest := range []string{"/dev/random", "/dev/fuse"} {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: dest, Type: "bind", Source: "/etc/hosts", Options: []string{"bind"}})
		}
		s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229}, {Path: "/dev/kvm", Type: "c", Major: 10, Minor: 232}}
	}, nil)
	made := map[string]bool{}
	for _, o := range p.Ops {
		if o.Call == "mknodat" && o.Args[2].Num&unix.S_IFMT == unix.S_IFCHR {
			made[o.Args[1].Str] = true
		}
	}
	if made["random"] || made["fuse"] || !made["kvm"] || !made["null"] {
		t.Errorf("devices made: %v", made)
	}
}

// process.cwd is made before the root becomes read-only, and never by a process that only joins.
func TestMissingWorkingDirectory(t *testing.T) {
	edit := func(s *specs.Spec) { s.Root.Readonly, s.Process.Cwd = true, "/srv/new" }
	isMade := func(o op.Op) bool { return o.Call == "mkdirat" && o.Args[1].Str == "new" }
	p := compiled(t, edit, nil)
	made := slices.IndexFunc(p.Ops, isMade)
	readonly := slices.IndexFunc(p.Ops, func(o op.Op) bool { return o.Why == "root.readonly" })
	if made < 0 || readonly < made {
		t.Errorf("the directory is made in step %d, the root read-only in %d", made+1, readonly+1)
	}
	spec := bundle.Default(false)
	edit(spec)
	p, err := plan.CompileExec(&plan.ExecInput{Spec: spec, Process: spec.Process, ID: "c1", Facts: facts()})
	if err != nil {
		t.Fatal(err)
	}
	if made := slices.IndexFunc(p.Ops, isMade); made >= 0 {
		t.Errorf("exec makes the directory: %s", p.Ops[made])
	}
}

// However many directories are missing, as many descriptors are closed as were opened on the way.
func TestWayToATargetIsClosed(t *testing.T) {
	p := compiled(t, func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/a/b/c/d", Type: "bind", Source: "/srv/data", Options: []string{"bind"}})
	}, nil)
	open := map[string]bool{}
	for _, o := range p.Ops {
		switch {
		case o.Call == "openat2" && o.Why == "the directory on the way to /a/b/c/d":
			open[string(o.Out)] = true
		case o.Call == "close":
			delete(open, o.Args[0].Str)
		}
	}
	if len(open) != 0 {
		t.Errorf("left open: %v", open)
	}
}

// Without rights on the host a hook gets into the container's namespaces through its user namespace, and only then.
func TestInsideRootless(t *testing.T) {
	p := plan.Inside([]string{"hook"}, nil, "/bin/hook")
	first, second := p.Ops[0], p.Ops[1]
	if first.Call != "setns" || first.Args[1].Num&unix.CLONE_NEWUSER != 0 || len(first.On) != 1 || first.On[0].Errno != unix.EPERM || first.On[0].Goto != second.Label {
		t.Errorf("first %s", first)
	}
	if second.Call != "setns" || second.Args[1].Num&unix.CLONE_NEWUSER == 0 || first.Next == second.Label || first.Next == "" {
		t.Errorf("then %s", second)
	}
}

// A rootfs behind closed directories is put over one of them. Whoever looks for the source of a mount below that by its path finds the image, whose symbolic links lead to
// anything that the host has: all sources are open by then.
func TestSourcesAreOpenedBeforeTheRootLiesOverThem(t *testing.T) {
	p := compiled(t, func(s *specs.Spec) {
		mapped(s)
		s.Mounts = append(s.Mounts,
			specs.Mount{Destination: "/data", Type: "bind", Source: "/srv/data", Options: []string{"rbind"}},
			specs.Mount{Destination: "/etc/hosts", Type: "bind", Source: "/etc/hosts", Options: []string{"bind"}},
			specs.Mount{Destination: "/secret", Type: "bind", Source: "/root/secret", Options: []string{"bind"}})
	}, func(in *plan.Input) { in.Facts = closed() })
	over := slices.IndexFunc(p.Ops, func(o op.Op) bool { return o.Call == "move_mount" && o.Why == "the root is a mount of its own" })
	opened := map[string]int{}
	for i, o := range p.Ops {
		if o.Call == "open_tree" && o.Args[1].Str != "" {
			opened[o.Args[1].Str] = i
		}
	}
	for _, source := range []string{"/srv/data", "/etc/hosts"} {
		if at, found := opened[source]; !found || over < 0 || at > over {
			t.Errorf("%s is opened by step %d, and the root put over /srv by step %d", source, at+1, over+1)
		}
	}
	moves := 0
	for _, o := range p.Ops {
		for _, dest := range []string{"/srv/data on /data", "/etc/hosts on /etc/hosts", "/root/secret on /secret"} {
			if o.Call == "move_mount" && o.Why == dest {
				moves++
			}
		}
	}
	if moves != 3 {
		t.Errorf("%d of 3 sources are mounted", moves)
	}
}
