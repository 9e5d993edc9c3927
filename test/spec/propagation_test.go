package spec

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestPropagation: the options of shared subtrees on a bind mount whose source is shared, as mountinfo shows them inside.
func TestPropagation(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	src := b.hostMount("src", 0)
	b.propagate(src, syscall.MS_SHARED)
	b.hostMount("src/sub", 0) // shared with its parent
	cases := map[string]string{
		"shared": "shared master", "slave": "master", "private": "", "unbindable": "unbindable",
		"rshared": "shared master", "rslave": "master", "rprivate": "", "runbindable": "unbindable",
	}
	for option := range cases {
		b.mount("/"+option, "", src, "rbind", option)
	}
	mounts := b.mounts()
	for option, want := range cases {
		if got := mounts["/"+option].propagation(); got != want {
			t.Errorf("%s: %q, want %q", option, got, want)
		}
		if !strings.HasPrefix(option, "r") {
			want = "master" // the submount is left as it was
		}
		if got := mounts["/"+option+"/sub"].propagation(); got != want {
			t.Errorf("%s: the submount is %q, want %q", option, got, want)
		}
	}
}

// TestPropagationEvents mounts on the host below a source, and looks from inside.
func TestPropagationEvents(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sleep", "60")
	src := b.hostMount("src", 0)
	b.propagate(src, syscall.MS_SHARED)
	b.mount("/slave", "", src, "rbind", "rslave")
	b.mount("/private", "", src, "rbind", "rprivate")
	b.up()
	b.hostMount("src/late", 0)
	mounts := mountsOf(t, b.ok("exec", b.id, "cat", "/proc/self/mountinfo").out)
	if mounts["/slave/late"].fs != "tmpfs" {
		t.Error("a mount on the host does not reach a slave")
	}
	if _, there := mounts["/private/late"]; there {
		t.Error("a mount on the host reaches a private copy")
	}
	b.ok("kill", b.id, "KILL")
	b.await(specs.StateStopped) // before the host's mounts go
}

// TestPropagationOut: what the container mounts reaches the host only with rootfsPropagation shared and a shared mount.
func TestPropagationOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		root, option string
		reaches      bool
	}{{"shared", "rshared", true}, {"shared", "rslave", false}, {"", "rshared", false}, {"slave", "rshared", false}} {
		b := newBox(t, "sh", "-c", "mount -t tmpfs spec /m/new && echo mounted; sleep 60")
		src := b.hostMount("src", 0)
		b.propagate(src, syscall.MS_SHARED)
		b.makeDir("src/new")
		b.mount("/m", "", src, "rbind", c.option)
		b.spec.Linux.RootfsPropagation = c.root
		b.grant("CAP_SYS_ADMIN")
		pid := b.up()
		inside := func() bool { return strings.Contains(read(t, "/proc/"+decimal(pid)+"/mountinfo"), " /m/new ") }
		for deadline := time.Now().Add(patience); !inside() && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		_, there := mountsOf(t, read(t, "/proc/self/mountinfo"))[src+"/new"]
		if there != c.reaches || !inside() {
			t.Errorf("root %q, option %s: reaches the host: %v, want %v; is there inside: %v", c.root, c.option, there, c.reaches, inside())
		}
		b.ok("kill", b.id, "KILL")
		b.await(specs.StateStopped)
		if there {
			b.must(syscall.Unmount(src+"/new", syscall.MNT_DETACH))
		}
	}
}

// TestRootfsPropagation: on a root whose mount is shared on the host.
func TestRootfsPropagation(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"": "master", "slave": "master", "private": "", "unbindable": "unbindable",
		"rslave": "master", "rprivate": "", "runbindable": "unbindable",
	} {
		if got := sharedRoot(t, value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	for _, value := range []string{"shared", "rshared"} { // whether it is a slave too, the specification does not say
		if got := sharedRoot(t, value); !strings.HasPrefix(got, "shared") {
			t.Errorf("%q: %q", value, got)
		}
	}
	b := newBox(t, "true")
	b.spec.Linux.RootfsPropagation = "sometimes"
	b.refused("linux.rootfsPropagation")
}

// sharedRoot returns the propagation of the root of a container, made of a shared mount.
func sharedRoot(t *testing.T, value string) string {
	t.Helper()
	b := newBox(t)
	b.must(os.RemoveAll(b.path("rootfs")))
	b.propagate(b.hostMount("rootfs", 0), syscall.MS_SHARED)
	b.populate(copyFile)
	b.spec.Linux.RootfsPropagation = value
	got := b.mounts()["/"].propagation()
	if _, host := mountsOf(t, read(t, "/proc/self/mountinfo"))[b.path("rootfs")+"/proc"]; host {
		t.Errorf("%q: the container's /proc is mounted on the host", value)
	}
	return got
}
