package assemble

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestShared: a container that shares a namespace with the host sees the host's file systems of it, with its own masks; one that has no user namespace mounts them itself.
func TestShared(t *testing.T) {
	for _, own := range []bool{true, false} {
		s := spec(t, func(_ *container.Config, h *container.HostConfig) {
			if h.PidMode, h.IpcMode = "host", "host"; !own {
				h.UsernsMode = "host"
			}
		})
		for _, dest := range []string{"/proc", "/dev/mqueue"} {
			m := find(s.Spec, dest)
			if m == nil || (m.Type == "bind") != own {
				t.Errorf("own user namespace %v: %s is %+v", own, dest, m)
			}
		}
		if i := slices.IndexFunc(s.Spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/proc" }); i != 0 {
			t.Errorf("/proc is mount %d: over what is mounted below it", i)
		}
		if !slices.Contains(s.Spec.Linux.MaskedPaths, "/proc/kcore") || !slices.Contains(s.Spec.Linux.ReadonlyPaths, "/proc/sys") {
			t.Errorf("masks %v, read-only %v", s.Spec.Linux.MaskedPaths, s.Spec.Linux.ReadonlyPaths)
		}
	}
	r := ask(func(_ *container.Config, h *container.HostConfig) { h.PidMode = "container:other" })
	r.Facts.Namespace = func(string, specs.LinuxNamespaceType) (string, error) { return "/proc/1/ns/pid", nil }
	_, err := Spec(r)
	if !errdef.Is(err, errdef.Unsupported) || !strings.Contains(errdef.Hint(err), "userns=host") {
		t.Errorf("the namespace of another user namespace: %v", err)
	}
}

// TestNothingIgnored: what would have no effect is refused with the reason.
func TestNothingIgnored(t *testing.T) {
	_, err := Spec(ask(func(_ *container.Config, h *container.HostConfig) { h.SecurityOpt = []string{"label=type:container_t"} }))
	if !errdef.Is(err, errdef.Unsupported) {
		t.Errorf("a label without SELinux: %v", err)
	}
	for _, h := range []container.HostConfig{
		{Binds: []string{"/src:/v:rshared"}},
		{Mounts: []mount.Mount{{Type: mount.TypeBind, Source: "/src", Target: "/v", BindOptions: &mount.BindOptions{Propagation: mount.PropagationShared}}}},
	} {
		if _, err := Points(&container.Config{}, &h, Sources{}); !errdef.Is(err, errdef.Unsupported) || !strings.Contains(errdef.Hint(err), "slave") {
			t.Errorf("%+v: %v", h, err)
		}
	}
	points, err := Points(&container.Config{}, &container.HostConfig{Mounts: []mount.Mount{{Type: mount.TypeTmpfs, Target: "/v", TmpfsOptions: &mount.TmpfsOptions{Mode: os.FileMode(0o1777)}}}}, Sources{})
	if err != nil || !slices.Equal(points[0].Options, []string{"mode=1777"}) {
		t.Errorf("%+v, %v", points, err)
	}
}

// TestNodes: with a user namespace the engine makes a device node for the container, wherever it wants it; the host's user namespace lets the runtime make it.
func TestNodes(t *testing.T) {
	for _, own := range []bool{true, false} {
		r := ask(func(_ *container.Config, h *container.HostConfig) {
			h.Devices = []container.DeviceMapping{{PathOnHost: "/dev/sda", PathInContainer: "/dev/disk", CgroupPermissions: "r"}}
			if !own {
				h.UsernsMode = "host"
			}
		})
		r.Facts.Nodes = "/run/c/devices"
		out, err := Spec(r)
		if err != nil {
			t.Fatal(err)
		}
		m := find(out.Spec, "/dev/disk")
		if own && (m == nil || m.Source != "/run/c/devices/0" || slices.Contains(m.Options, "nodev") || len(out.Nodes) != 1 || len(out.Spec.Linux.Devices) != 0) {
			t.Errorf("own user namespace: mount %+v, nodes %+v, devices %+v", m, out.Nodes, out.Spec.Linux.Devices)
		}
		if !own && (m != nil || len(out.Nodes) != 0 || len(out.Spec.Linux.Devices) != 1 || out.Spec.Linux.Devices[0].Path != "/dev/disk") {
			t.Errorf("the host's: mount %+v, nodes %+v, devices %+v", m, out.Nodes, out.Spec.Linux.Devices)
		}
		rules := out.Spec.Linux.Resources.Devices
		if last := rules[len(rules)-1]; !last.Allow || last.Type != "b" || *last.Major != 8 || last.Access != "r" {
			t.Errorf("rules %+v", rules)
		}
	}
}
