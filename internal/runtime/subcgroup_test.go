package runtime

import (
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
)

func TestSubcgroups(t *testing.T) {
	v1 := &cgroup.Record{Mode: cgroup.V1, Dirs: []cgroup.RecordDir{
		{Controllers: []string{"cpu", "cpuacct"}, Mount: "/cg/cpu", Path: "web"}, {Controllers: []string{"memory"}, Mount: "/cg/memory", Path: "web"},
	}}
	v2 := &cgroup.Record{Mode: cgroup.V2, Dirs: []cgroup.RecordDir{{Mount: "/cg", Path: "web"}}}
	for _, test := range []struct {
		rec  *cgroup.Record
		args []string
		want []string // nil: an error
	}{
		{v2, []string{"sub"}, []string{"web/sub"}},
		{v2, []string{"/a/b/"}, []string{"web/a/b"}},
		{v2, []string{"/"}, []string{"web"}},
		{v1, []string{"sub"}, []string{"web/sub", "web/sub"}},
		{v1, []string{"cpuacct:x"}, []string{"web/x", "web"}},
		{v1, []string{"cpu:x", "memory:y/z"}, []string{"web/x", "web/y/z"}},
		{v1, []string{"cpu,memory:x"}, []string{"web/x", "web/x"}},
		{v1, []string{"cpu:x", "y"}, nil},
		{v1, []string{"cpu:x", "cpu:y"}, nil},
		{v1, []string{":x"}, nil},
		{v1, []string{"pids:x"}, nil},
		{v2, []string{"cpu:x"}, nil},
		{v2, []string{"../other"}, nil},
		{v2, []string{"a/../../b"}, nil},
		{v2, []string{"."}, nil},
	} {
		below, err := parseSubcgroups(test.args)
		var got []string
		if err == nil {
			var sub *cgroup.Record
			if sub, err = subRecord(test.rec, below); err == nil {
				for _, d := range sub.Dirs {
					got = append(got, d.Path)
				}
			}
		}
		if (err != nil) != (test.want == nil) || len(got) != len(test.want) {
			t.Errorf("%s %q gives %q, %v, want %q", test.rec.Mode, test.args, got, err, test.want)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("%s %q gives %q, want %q", test.rec.Mode, test.args, got, test.want)
			}
		}
	}
	if v1.Dirs[0].Path != "web" || v2.Dirs[0].Path != "web" {
		t.Error("the container's own record was changed")
	}
}
