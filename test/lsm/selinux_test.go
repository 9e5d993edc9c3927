package lsm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// enforcing skips a test where SELinux does not enforce a policy with container_t.
func enforcing(t *testing.T) {
	t.Helper()
	mode, _ := os.ReadFile("/sys/fs/selinux/enforce")
	forBoot(t, "selinux", string(mode) == "1")
}

// label gives a tree an SELinux label.
func label(t *testing.T, dir, context string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return unix.Lsetxattr(path, "security.selinux", []byte(context), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// labelled makes a container of a category's: its image, its process and its mounts.
func labelled(t *testing.T, category, volume string) *box {
	t.Helper()
	b := newBox(t)
	b.spec.Process.SelinuxLabel = "system_u:system_r:container_t:s0:" + category
	b.spec.Linux.MountLabel = "system_u:object_r:container_file_t:s0:" + category
	label(t, filepath.Join(b.dir, "rootfs"), b.spec.Linux.MountLabel)
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: volume, Options: []string{"bind"}})
	return b
}

// TestSELinuxCategories: two containers, root with all capabilities, are kept from each other's files by their categories alone.
func TestSELinuxCategories(t *testing.T) {
	enforcing(t)
	volume := t.TempDir()
	for _, name := range []string{"one", "two", "both"} {
		if err := os.Mkdir(filepath.Join(volume, name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(volume, name, "secret"), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	label(t, volume, "system_u:object_r:container_file_t:s0")
	label(t, filepath.Join(volume, "one"), "system_u:object_r:container_file_t:s0:c1,c2")
	label(t, filepath.Join(volume, "two"), "system_u:object_r:container_file_t:s0:c3,c4")
	for own, other := range map[string]string{"one": "two", "two": "one"} {
		b := labelled(t, map[string]string{"one": "c1,c2", "two": "c3,c4"}[own], volume)
		b.start("sleep", "1000")
		if got := b.initLabel(); got != b.spec.Process.SelinuxLabel {
			t.Errorf("init is %q, want %q", got, b.spec.Process.SelinuxLabel)
		}
		for _, c := range []struct {
			command string
			ok      bool
		}{
			{"cat /data/" + own + "/secret", true},
			{"echo x >/data/" + own + "/new", true},
			{"cat /data/both/secret", true},
			{"cat /data/" + other + "/secret", false},
			{"ls /data/" + other, false},
			{"echo x >/data/" + other + "/new", false},
			{"chmod 600 /data/" + other + "/secret", false},
			{"echo x >/dev/shm/x && cat /dev/shm/x && rm /dev/shm/x", true},
		} {
			if r := b.exec("sh", "-c", c.command); c.ok != (r.code == 0) {
				t.Errorf("%s: %s: %d: %s", own, c.command, r.code, r.out)
			}
		}
	}
	off := newBox(t)
	off.spec.Mounts = append(off.spec.Mounts, specs.Mount{Destination: "/data", Type: "bind", Source: volume, Options: []string{"bind"}})
	if r := off.sh("cat /data/one/secret /data/two/secret"); r.code != 0 {
		t.Errorf("without labels: %d: %s", r.code, r.out)
	}
}

// TestSELinuxRefused: a label that the policy does not have is one sentence, and nothing is started.
func TestSELinuxRefused(t *testing.T) {
	enforcing(t)
	b := labelled(t, "c1,c2", t.TempDir())
	b.spec.Process.SelinuxLabel = "system_u:system_r:no_such_t:s0"
	if r := b.sh("echo started"); r.code == 0 || strings.Contains(r.out, "started") || !strings.Contains(r.out, "no_such_t") || !strings.Contains(r.out, "hint") {
		t.Errorf("%d: %s", r.code, r.out)
	}
}

// initLabel is the label of the container's first process, as the host sees it: the container may not write into the test's pipe.
func (b *box) initLabel() string {
	b.t.Helper()
	var state struct{ Pid int }
	if err := json.Unmarshal([]byte(b.command("state", b.id).out), &state); err != nil {
		b.t.Fatal(err)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", state.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimRight(string(data), "\x00\n")
}
