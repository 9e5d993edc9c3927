package runtime

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func itoa(n int) string { return strconv.Itoa(n) }

// resctrlDir is a directory that looks like resctrl. The kernel makes the files of a group; here they are made by writing.
func resctrlDir(t *testing.T) resctrl {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"mon_groups", "shared", "shared/mon_groups"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "shared", "schemata"), []byte("    L3:0=ff;1=ff\n    MB:0=100\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return resctrl(dir)
}

func TestRDT(t *testing.T) {
	fsys := resctrlDir(t)
	want := &specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f", MemBwSchema: "MB:0=50", Schemata: []string{"L2:0=1"}}
	rdt, err := fsys.plan("web", want)
	if err != nil || rdt.Path != filepath.Join(string(fsys), "web") || !rdt.Made || rdt.Monitor != "" {
		t.Fatalf("%+v, %v", rdt, err)
	}
	if err := makeRDT(rdt, want); err != nil {
		t.Fatal(err)
	}
	if err := joinRDT(rdt, 42); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"schemata": "L3:0=f\nMB:0=50\nL2:0=1\n", "tasks": "42"} {
		if got, err := os.ReadFile(filepath.Join(rdt.Path, file)); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v, want %q", file, got, err, text)
		}
		_ = os.Remove(filepath.Join(rdt.Path, file)) // the kernel's would go with the directory
	}
	again := *rdt
	if err := makeRDT(&again, want); err == nil || again.Made {
		t.Errorf("somebody else's group: %v, made %v", err, again.Made)
	}
	if err := removeRDT(rdt); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(rdt.Path); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	if err := removeRDT(rdt); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

func TestRDTPlan(t *testing.T) {
	fsys := resctrlDir(t)
	for _, test := range []struct {
		want specs.LinuxIntelRdt
		path string
		made bool
		kind errdef.Kind // of the error; Internal: none
	}{
		{want: specs.LinuxIntelRdt{ClosID: "/"}, path: ""},
		{want: specs.LinuxIntelRdt{ClosID: "shared"}, path: "shared"},
		{want: specs.LinuxIntelRdt{ClosID: "shared", L3CacheSchema: "L3:0=ff;1=ff"}, path: "shared"},
		{want: specs.LinuxIntelRdt{ClosID: "shared", L3CacheSchema: "L3:0=1"}, kind: errdef.Conflict},
		{want: specs.LinuxIntelRdt{ClosID: "new", L3CacheSchema: "L3:0=1"}, path: "new", made: true},
		{want: specs.LinuxIntelRdt{ClosID: "new"}, kind: errdef.Invalid},
		{want: specs.LinuxIntelRdt{ClosID: "../x"}, kind: errdef.Invalid},
		{want: specs.LinuxIntelRdt{ClosID: ".."}, kind: errdef.Invalid},
		{want: specs.LinuxIntelRdt{EnableMonitoring: true}, path: "web", made: true},
	} {
		rdt, err := fsys.plan("web", &test.want)
		if test.kind != errdef.Internal {
			if errdef.KindOf(err) != test.kind || err == nil {
				t.Errorf("%+v: %v, want %v", test.want, err, test.kind)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", test.want, err)
			continue
		}
		if got := strings.TrimPrefix(strings.TrimPrefix(rdt.Path, string(fsys)), "/"); got != test.path || rdt.Made != test.made {
			t.Errorf("%+v: %+v", test.want, rdt)
		}
		if test.want.EnableMonitoring != strings.HasSuffix(rdt.Monitor, "/web/mon_groups/web") {
			t.Errorf("%+v: monitor %q", test.want, rdt.Monitor)
		}
	}
	if _, err := findResctrl(); err != nil && !errdef.Is(err, errdef.Unsupported) {
		t.Errorf("without resctrl: %v", err)
	}
	if err := removeRDT(nil); err != nil {
		t.Error(err)
	}
}
