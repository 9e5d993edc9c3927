package api

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestAPIVolumes(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		if got := e.ok("volume", "ls"); got != "DRIVER    VOLUME NAME\n" {
			t.Errorf("ls of none: %q", got)
		}
		if got := e.ok("volume", "create", "--label", "tier=db", "data"); got != "data\n" {
			t.Errorf("create: %q", got)
		}
		e.ok("volume", "create", "data") // is there: fine, as with Docker
		nameless := strings.TrimSpace(e.ok("volume", "create"))
		if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(nameless) {
			t.Errorf("a volume without a name: %q", nameless)
		}
		if got := e.ok("volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Scope}} {{index .Labels \"tier\"}} {{.Mountpoint}}", "data"); got != "data local local db "+filepath.Join(e.root, "volumes/data/_data")+"\n" {
			t.Errorf("inspect: %q", got)
		}
		for filter, want := range map[string]string{
			"name=at": "data", "label=tier": "data", "label=tier=web": "", "driver=local": nameless + " data", "driver=nfs": "", "dangling=true": nameless + " data", "dangling=false": "",
		} {
			got := strings.Fields(e.ok("volume", "ls", "-q", "-f", filter))
			if strings.Join(got, " ") != want && strings.Join(got, " ") != strings.Join(reversed(strings.Fields(want)), " ") {
				t.Errorf("ls -f %s: %q, want %q", filter, got, want)
			}
		}
		for _, c := range []struct {
			opts []string
			text string
		}{
			{[]string{"-d", "nosuch"}, "there is no such one"},
			{[]string{"-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=192.0.2.1"}, "a network file system cannot show"},
			{[]string{"-o", "type=ext4", "-o", "device=/dev/sdz"}, "mounts no disks"},
			{[]string{"-o", "type=none", "-o", "o=bind", "-o", "device=relative"}, "wants an absolute path"},
			{[]string{"-o", "colour=red"}, "has no such one"},
			{[]string{"-o", "size=1g"}, "no limit of its own"},
			{[]string{"-o", "type=tmpfs", "-o", "o=size=1m,suid"}, "not for a tmpfs"},
		} {
			e.fails(append(append([]string{"volume", "create"}, c.opts...), "wrong"), c.text)
		}
		e.fails([]string{"volume", "create", "../evil"}, "invalid characters")
		e.fails([]string{"volume", "create", "-o", "type=tmpfs", "data"}, "other options")
		e.fails([]string{"volume", "inspect", "nosuch"}, "nosuch")
		e.fails([]string{"volume", "rm", "nosuch"}, "uch volume")
		e.ok("volume", "rm", "-f", "nosuch")
		if got := e.ok("volume", "rm", "data"); got != "data\n" {
			t.Errorf("rm: %q", got)
		}
		if _, err := os.Stat(filepath.Join(e.root, "volumes/data")); !os.IsNotExist(err) {
			t.Errorf("after rm: %v", err)
		}
		if got := e.ok("volume", "prune", "-f"); !strings.Contains(got, nameless) {
			t.Errorf("prune: %q", got)
		}
		if entries, err := os.ReadDir(filepath.Join(e.root, "volumes")); err != nil || len(entries) != 0 {
			t.Errorf("left: %v %v", entries, err)
		}
	})
}

func reversed(list []string) []string {
	var out []string
	for i := range list {
		out = append(out, list[len(list)-1-i])
	}
	return out
}

// TestAPIVolumeUse: what containers make of volumes.
func TestAPIVolumeUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root runs containers yet")
	}
	each(t, func(t *testing.T, e *engine) {
		e.imported("box:1", "from the image", "-c", `CMD ["/bin/busybox","sh"]`)
		run := func(args ...string) string {
			t.Helper()
			return e.ok(append([]string{"run", "--network", "none"}, args...)...)
		}
		// Filled from the image at the first use, owned by the container's root, kept by the second.
		if got := run("--rm", "-v", "data:/data", "box:1", "/bin/busybox", "sh", "-c", "cat /data/content; echo; stat -c %u /data/content; echo mine > /data/mine"); !strings.HasPrefix(got, "from the image") || !strings.Contains(got, "\n0\n") {
			t.Errorf("first use: %q", got)
		}
		if got := run("--rm", "-v", "data:/data", "box:1", "/bin/busybox", "cat", "/data/mine"); got != "mine\n" {
			t.Errorf("second use: %q", got)
		}
		if got := run("--rm", "-v", "empty:/data:nocopy", "box:1", "/bin/busybox", "ls", "/data"); got != "" {
			t.Errorf("nocopy: %q", got)
		}
		id := strings.TrimSpace(e.ok("create", "--name", "holder", "-v", "data:/data", "-v", "/var/scratch", "box:1"))
		e.fails([]string{"volume", "rm", "data"}, "volume is in use", "holder")
		if got := e.ok("volume", "ls", "-q", "-f", "dangling=true"); got != "empty\n" {
			t.Errorf("dangling: %q", got)
		}
		if got := e.ok("ps", "-aq", "--no-trunc", "-f", "volume=data"); got != id+"\n" {
			t.Errorf("ps: %q", got)
		}
		if got := strings.Fields(e.ok("volume", "ls", "-q")); len(got) != 3 {
			t.Errorf("a volume of the container's own: %q", got)
		}
		e.ok("rm", "-v", "holder")
		if got := e.ok("volume", "ls", "-q"); got != "data\nempty\n" {
			t.Errorf("after rm -v: %q", got)
		}
		host := t.TempDir()
		if err := os.WriteFile(filepath.Join(host, "file"), []byte("of the host"), 0o644); err != nil {
			t.Fatal(err)
		}
		e.ok("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device="+host, "host")
		if got := run("--rm", "-v", "host:/data", "box:1", "/bin/busybox", "cat", "/data/file"); got != "of the host" {
			t.Errorf("bind: %q", got)
		}
		e.ok("volume", "create", "-o", "type=tmpfs", "-o", "o=size=1m", "memory")
		if got := run("--rm", "-v", "memory:/data", "box:1", "/bin/busybox", "sh", "-c", "grep ' /data ' /proc/mounts | cut -d' ' -f3; cat /data/content"); got != "tmpfs\nfrom the image" {
			t.Errorf("tmpfs: %q", got)
		}
		e.ok("volume", "rm", "data", "empty", "host", "memory")
		if _, err := os.Stat(filepath.Join(host, "file")); err != nil {
			t.Errorf("the host's file is gone: %v", err)
		}
	})
}
