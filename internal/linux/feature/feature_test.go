package feature

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// optional are features that a kernel may be built, booted or set up without, however new it is.
var optional = map[ID]bool{
	UserNamespace: true, TimeNamespace: true, CgroupNamespace: true, Cgroup2: true, CgroupKill: true, Landlock: true, Mqueue: true,
	Resctrl: true, Overlay: true, Mempolicy: true, IoUring: true, MemfdExec: true,
}

// A probe that says no on a kernel that has the feature is a bug of the probe.
func TestProbes(t *testing.T) {
	rootOnly := map[ID]bool{IDMapTmpfs: true}
	seen := map[string]bool{}
	for _, r := range All() {
		if r.Name == "" || seen[r.Name] || r.Since.Major == 0 {
			t.Errorf("row %d: %+v", r.ID, r)
		}
		seen[r.Name] = true
		if id, ok := Lookup(r.Name); !ok || id != r.ID {
			t.Errorf("%s: lookup gives %v", r.Name, id)
		}
		t.Logf("%-22s %-5s %v", r.Name, r.Since, r.Err)
		mayFail := optional[r.ID] || os.Geteuid() != 0 && rootOnly[r.ID]
		if r.Err != nil && !mayFail && sys.KernelVersion().AtLeast(r.Since) {
			t.Errorf("%s: kernel %s has it, the probe says %v", r.Name, sys.KernelVersion(), r.Err)
		}
		if r.Err != nil && (!errdef.Is(r.Err, errdef.Unsupported) || !strings.HasPrefix(r.Err.Error(), r.Name+": ")) {
			t.Errorf("%s: error %v", r.Name, r.Err)
		}
		if again := Probe(r.ID); again != r.Err || Has(r.ID) != (r.Err == nil) {
			t.Errorf("%s: asked again: %v", r.Name, again)
		}
	}
	if err := Probe(count); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("unknown feature: %v", err)
	}
	if _, ok := Lookup("nope"); ok {
		t.Error("found a feature that is none")
	}
}

// The helpers must be able to say no.
func TestNegative(t *testing.T) {
	if err := filesystem("nosuchfs"); err == nil {
		t.Error("a file system that does not exist")
	}
	if err := namespace("nosuchns"); err == nil {
		t.Error("a namespace that does not exist")
	}
	if err := seccompFlag(1 << 30); err == nil {
		t.Error("a seccomp flag that does not exist")
	}
	if os.Geteuid() == 0 {
		if err := setattr(&unix.MountAttr{Attr_set: 1 << 40}); err == nil {
			t.Error("a mount attribute that does not exist")
		}
		if err := IDMapOn("/proc"); err == nil {
			t.Error("procfs can be idmapped")
		}
	}
}

// Probing must leave no descriptor, child or attribute behind.
func TestLeavesNothing(t *testing.T) {
	state := func() string {
		var b strings.Builder
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			link, _ := os.Readlink("/proc/self/fd/" + fd.Name())
			b.WriteString(fd.Name() + " " + link + "\n")
		}
		files, _ := filepath.Glob("/proc/self/task/*/children")
		for _, f := range files {
			children, _ := os.ReadFile(f)
			b.Write(children)
		}
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		b.Write(mounts)
		return b.String()
	}
	for id := range table {
		table[id].probe() // opens what stays open: the handle of procfs
	}
	before := state()
	for id := range table {
		table[id].probe()
	}
	if after := state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if v, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil || v != 0 {
		t.Logf("seccomp mode %d, %v", v, err)
	}
}
