package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A cell must isolate: a judge's leftovers are seen, and gone when it ends.
func TestCell(t *testing.T) {
	var dir, name string
	t.Run("inside", func(t *testing.T) {
		c := newCell(t)
		dir, name = c.dir, c.name
		if left := c.leftovers(t); len(left) > 0 {
			t.Errorf("a new cell has %v", left)
		}
		want := "/"
		if mounts, err := cgroupMounts(); err != nil || unified(mounts) {
			want = "/" + leaf
			if got := c.must(t, "cat", "/sys/fs/cgroup/cgroup.procs"); got != "" {
				t.Errorf("%v; processes in the root, which hands its controllers down: %s", err, got)
			}
		}
		if got := c.must(t, "sh", "-c", "cut -d: -f3 /proc/self/cgroup | sort -u"); got != want {
			t.Errorf("cgroups seen from inside: %q, want %q", got, want)
		}
		c.must(t, "sh", "-c", "mkdir m && mount -t tmpfs none m")
		c.must(t, "sh", "-c", "sleep 1000 >/dev/null 2>&1 & for d in /sys/fs/cgroup/*/cgroup.procs; do mkdir ${d%/*}/left; break; done")
		left := strings.Join(c.leftovers(t), " ")
		if want := "(left processes) (left mounts) (left cgroups)"; left != want {
			t.Errorf("left: %s, want %s", left, want)
		}
		c.must(t, "mkdir", "-p", "/sys/fs/cgroup/"+name+"-unmounted", "/run/"+name, "/dev/shm/"+name)
		if r := c.run(t, "sh", "-c", "exit 7"); r.code != 7 {
			t.Errorf("exit code %d, want 7", r.code)
		}
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("folder of the cell: %v", err)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name, "/sys/fs/cgroup/" + name + "-unmounted", "/run/" + name, "/dev/shm/" + name} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
			t.Errorf("after the cell: %v %v", left, err)
		}
	}
}
