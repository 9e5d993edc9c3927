package spec

import (
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Bits of the five sets.
var (
	chown   = uint64(1) << unix.CAP_CHOWN
	kill    = uint64(1) << unix.CAP_KILL
	netBind = uint64(1) << unix.CAP_NET_BIND_SERVICE
	netRaw  = uint64(1) << unix.CAP_NET_RAW
)

func capabilityFacts(t *testing.T, got map[string]string, from string, bounding, effective, inheritable, permitted, ambient uint64) {
	t.Helper()
	for name, want := range map[string]uint64{
		"CapBnd": bounding, "CapEff": effective, "CapInh": inheritable, "CapPrm": permitted, "CapAmb": ambient,
	} {
		if w := fmt.Sprintf("%016x", want); got[from+name] != w {
			t.Errorf("%s%s: %s, want %s", from, name, got[from+name], w)
		}
	}
}

// TestCapabilities gives each set other values. For a user who is not root, execve makes the permitted set of the ambient one, so what
// the runtime set itself is to be seen while the container is created.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{
		Bounding:    []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"},
		Permitted:   []string{"CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"},
		Inheritable: []string{"CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"},
		Effective:   []string{"CAP_CHOWN"},
		Ambient:     []string{"CAP_NET_BIND_SERVICE"},
	}
	bounding, inheritable := chown|kill|netBind|netRaw, kill|netBind|netRaw
	capabilityFacts(t, b.report(), "status.", bounding, netBind, inheritable, netBind, netBind)

	b.spec.Process.Args = []string{"sleep", "60"}
	pid := b.create()
	capabilityFacts(t, statusOf(t, pid), "", bounding, chown, inheritable, chown|kill|netBind, netBind)
	b.ok("start", b.id)
	capabilityFacts(t, facts(b.ok("exec", b.id, "inside", "report").out), "status.", bounding, netBind, inheritable, netBind, netBind)
}

// TestNoCapabilities: without process.capabilities not even root has one.
func TestNoCapabilities(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	capabilityFacts(t, b.report(), "status.", 0, 0, 0, 0, 0)
	b.try("chown:/bin/busybox:1", "EPERM", "mkdir:/proc/x", "ENOENT")
	b.grant("CAP_CHOWN")
	b.try("chown:/tmp:1", "ok")
	capabilityFacts(t, b.report(), "status.", chown, chown, 0, chown, 0)
}

// TestUnknownCapability: what the kernel does not know, and what the runtime itself may not grant, is a warning and no failure.
func TestUnknownCapability(t *testing.T) {
	t.Parallel()
	b := newBox(t, "true")
	b.grant("CAP_KILL", "CAP_MAKE_COFFEE")
	r := b.run()
	if r.code != 0 || !strings.Contains(r.err, "CAP_MAKE_COFFEE") {
		t.Errorf("exit status %d, want 0 and a warning of CAP_MAKE_COFFEE: %s", r.code, r.err)
	}
	b.enter = []string{"setpriv", "--bounding-set", "-net_raw", "--"}
	b.grant("CAP_KILL", "CAP_NET_RAW")
	b.spec.Process.Args = []string{"inside", "report"}
	r = b.run()
	if r.code != 0 {
		t.Fatalf("with CAP_NET_RAW out of reach: %s", r.err)
	}
	capabilityFacts(t, facts(r.out), "status.", kill, kill, 0, kill, 0)
	if !strings.Contains(r.err, "CAP_NET_RAW") {
		t.Errorf("no warning that CAP_NET_RAW cannot be granted: %q", r.err)
	}
}
