package cgroup

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// TestLiveRootless runs itself once more as a user who may make no cgroup.
func TestLiveRootless(t *testing.T) {
	const again = "BULKHEAD_TEST_ROOTLESS"
	if os.Getenv(again) == "" {
		liveLayout(t)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestLiveRootless$", "-test.v")
		cmd.Env = append(os.Environ(), again+"=1")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestLiveRootless") {
			t.Errorf("as another user: %v\n%s", err, out)
		}
		return
	}
	l, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	limit := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(5))}}
	for _, c := range []struct {
		name, path string
		rootless   bool
		res        *specs.LinuxResources
		ok         bool
	}{
		{"nothing asked for", "", true, nil, true},
		{"a path", "/bulkhead-test-rootless", true, nil, false},
		{"a limit", "", true, limit, false},
		{"not said to be rootless", "", false, nil, false},
	} {
		g, err := l.Open(c.path, "bulkhead-test-rootless", Options{Rootless: c.rootless})
		if err != nil {
			t.Fatal(err)
		}
		err = g.Create(c.res)
		switch {
		case c.ok && (err != nil || g.Active() || len(g.Record().Dirs) != 0):
			t.Errorf("%s: %v, active %v, %+v", c.name, err, g.Active(), g.Record())
		case !c.ok && !errdef.Is(err, errdef.Denied):
			t.Errorf("%s: %v", c.name, err)
		case !c.ok && c.rootless && errdef.Hint(err) == "":
			t.Errorf("%s: no hint: %v", c.name, err)
		}
		if c.res != nil && (err == nil || !strings.Contains(err.Error(), "linux.resources.pids.limit")) {
			t.Errorf("%s: %v does not name the limit", c.name, err)
		}
		if fds, err := g.ProcsFDs(); c.ok && (err != nil || len(fds) != 0) {
			t.Errorf("%s: descriptors %v, %v", c.name, fds, err)
		}
		if fd, err := g.DirFD(); c.ok && (err != nil || fd != -1) {
			t.Errorf("%s: descriptor %d, %v", c.name, fd, err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
