package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/plan"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestGoldenSELinux: linux.mountLabel is on every new file system that the container gets but procfs, sysfs, cgroups, and those with a label of their own.
func TestGoldenSELinux(t *testing.T) {
	spec := bundle.Default(false)
	spec.Process.Terminal = false
	spec.Process.SelinuxLabel, spec.Linux.MountLabel = "u:r:p_t:s0:c1,c2", "u:r:f_t:s0:c1,c2"
	spec.Mounts = append(spec.Mounts,
		specs.Mount{Destination: "/own", Type: "tmpfs", Source: "tmpfs", Options: []string{`rootcontext="u:r:o_t:s0:c3,c4"`}},
		specs.Mount{Destination: "/deep", Type: "overlay", Source: "overlay", Options: []string{"lowerdir=" + strings.Repeat("/layer:", 50) + "/last"}},
		specs.Mount{Destination: "/data", Type: "bind", Source: "/srv/data", Options: []string{"bind"}},
	)
	f := facts()
	f.Labels = []plan.Label{
		{File: "attr/keycreate", Value: spec.Process.SelinuxLabel, Why: "the keyring", Keyring: true},
		{File: "attr/exec", Value: spec.Process.SelinuxLabel, Why: "the program"},
	}
	p, err := plan.Compile(&plan.Input{Spec: spec, Bundle: "/bundle", ID: "c1", Facts: f, Run: true})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "selinux", p)
	where := map[string]int{}
	for _, o := range p.Ops {
		for _, a := range o.Args {
			if strings.Contains(a.Str, spec.Linux.MountLabel) {
				where[o.Call]++
			}
		}
		if o.Call == "mount" && !strings.HasSuffix(o.Args[4].Str, `/last,context="u:r:f_t:s0:c1,c2"`) && strings.Contains(o.Args[4].Str, "/layer") {
			t.Errorf("options of /deep: %q", o.Args[4].Str)
		}
	}
	// fsconfig for /dev, /dev/pts, /dev/shm and what masks directories, mount for /deep, fsetxattr for mqueue.
	if fmt.Sprint(where) != "map[fsconfig:4 fsetxattr:1 mount:1]" {
		t.Errorf("the mount label is in %v", where)
	}
}
