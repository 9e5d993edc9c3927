package attack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/bench/dockerbundle"
)

// TestSystemCalls makes denied calls through the 64-bit, x32 and i386 entries under Docker's profile, from a process that
// the kernel itself would let do everything.
func TestSystemCalls(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "calls")
		b.capabilities(everyCapability()...)
		out, code := p.run(t, b)
		if code != 0 {
			t.Fatalf("exit status %d: %s", code, out)
		}
		return hits(out)
	})
}

// TestNestedNamespaces is CVE-2022-0492 and CVE-2022-0185: with Docker's capabilities and profile there is no user namespace and
// no mount inside.
func TestNestedNamespaces(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "nested")
		out, code := p.run(t, b)
		if code != 0 {
			t.Fatalf("exit status %d: %s", code, out)
		}
		return hits(out)
	})
}

// TestCgroupFiles is CVE-2022-0492 and CVE-2023-25809: limits, membership and release_agent cannot be written, with and without
// a cgroup namespace and a user namespace.
func TestCgroupFiles(t *testing.T) {
	cases := map[string]func(b *bundle){
		"cgroup namespace": func(*bundle) {},
		"no cgroup namespace": func(b *bundle) {
			b.spec.Linux.Namespaces = slices.DeleteFunc(b.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool {
				return n.Type == specs.CgroupNamespace
			})
		},
		"user namespace": func(b *bundle) {
			b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
			ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 65536}}
			b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = ids, ids
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			prove(t, func(t *testing.T, p *program) string {
				b := newBundle(t, "/attacker", "cgroup")
				prepare(b)
				out, code := p.run(t, b)
				if code != 0 {
					t.Fatalf("exit status %d: %s", code, out)
				}
				if !strings.Contains(out, "files seen") || strings.Contains(out, "\n0 files seen") {
					t.Errorf("no cgroup file was seen: %s", out)
				}
				return hits(out)
			})
		})
	}
}

// TestDevices makes a node for every device of the host and opens it. Only the harmless ones that every container has may open.
func TestDevices(t *testing.T) {
	harmless := []string{"c:1:3", "c:1:5", "c:1:7", "c:1:8", "c:1:9", "c:5:0", "c:5:2"}
	all := []string{"c:1:1", "c:1:2", "c:1:4", "c:1:11"} // mem, kmem, port, kmsg
	for dir, kind := range map[string]string{"/sys/dev/block": "b:", "/sys/dev/char": "c:"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := kind + e.Name()
			if link, _ := os.Readlink(filepath.Join(dir, e.Name())); strings.Contains(link, "watchdog") {
				continue // opening one arms it, if the container may
			}
			if !slices.Contains(harmless, name) && !strings.HasPrefix(name, "c:136:") {
				all = append(all, name)
			}
		}
	}
	for _, layout := range []string{"the host's cgroups", "only cgroup v2"} {
		t.Run(layout, func(t *testing.T) {
			prove(t, func(t *testing.T, p *program) string {
				list := all
				if p == careless {
					list = []string{"c:1:11"} // reading kmsg does no harm
				}
				b := newBundle(t, append([]string{"/attacker", "devices"}, list...)...)
				b.capabilities(everyCapability()...)
				b.spec.Linux.Seccomp = nil
				b.write(t, p)
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				cmd := p.command(ctx, "run", "--bundle", b.dir, newID())
				if layout != "the host's cgroups" {
					unified(cmd)
				}
				out, code := p.finish(t, cmd)
				if code != 0 {
					t.Fatalf("exit status %d: %s", code, out)
				}
				if strings.Contains(out, "\n0 nodes made") {
					t.Logf("mknod is refused altogether: %s", out)
				}
				return hits(out)
			})
		})
	}
}

// unified makes a command see a cgroup2 tree as the only one, in a mount namespace of its own. Rules for devices are then a
// program in the kernel, and not a file of the devices controller.
func unified(cmd *exec.Cmd) {
	const script = `mount --make-rprivate / && umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$0" "$@"`
	cmd.Args = append([]string{"busybox", "unshare", "-m", "sh", "-c", script}, append([]string{cmd.Path}, cmd.Args[1:]...)...)
	cmd.Path = dockerbundle.Busybox
}

// TestProcessLimit: more processes than declared cannot be made, and all of them are gone after delete.
func TestProcessLimit(t *testing.T) {
	limit := int64(30)
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "spawn", "100", fmt.Sprint(limit))
		b.spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
		id, _ := p.start(t, b)
		var said []byte
		for until := time.Now().Add(60 * time.Second); time.Now().Before(until) && !bytes.Contains(said, []byte("done")); {
			time.Sleep(20 * time.Millisecond)
			said, _ = os.ReadFile(b.output())
		}
		started := time.Now()
		p.remove(t, id)
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("delete --force took %v", took)
		}
		if p == target {
			if left := leftovers(patience); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		}
		return hits(string(said))
	})
}
