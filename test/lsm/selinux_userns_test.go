package lsm

import (
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestSELinuxUserNamespace: a container with a user namespace has its labels on all its mounts, and they keep it from another's files.
func TestSELinuxUserNamespace(t *testing.T) {
	enforcing(t)
	own, other := volume(t), volume(t)
	b, neighbour := labelled(t), labelled(t)
	// The directory of the test is root's alone, and root inside is not that root.
	if err := os.Chmod(filepath.Dir(b.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	relabel(t, own, b.labels.Mount, false)
	relabel(t, other, neighbour.labels.Mount, false)
	b.bind(own, "/own")
	b.bind(other, "/other")
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	b.spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	b.spec.Linux.GIDMappings = b.spec.Linux.UIDMappings
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"})
	makeDirs(t, b, "own", "other", "dev/shm", "dev/mqueue", "dev/pts")
	relabel(t, filepath.Join(b.dir, "rootfs"), b.labels.Mount, false)
	b.start("sleep", "1000")
	if got := b.initLabel(); got != b.labels.Process {
		t.Errorf("init is %q, want %q", got, b.labels.Process)
	}
	b.try("user namespace",
		try{"cat /own/secret && echo x >>/own/secret", true},
		try{"cat /other/secret", false},
		try{"touch /tmp/x /dev/shm/x && rm /tmp/x /dev/shm/x", true},
		try{"echo x >/dev/null && inside terminal /dev/ptmx", true},
	)
}
