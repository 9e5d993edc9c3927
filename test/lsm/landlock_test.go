package lsm

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const landlockAnnotation = "io.bulkhead.landlock"

// abi is the kernel's Landlock ABI, 0 for none.
func abi() int {
	n, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(n)
}

// needABI skips a test where Landlock cannot do it. Every boot of the lab has Landlock.
func needABI(t *testing.T, n int) {
	t.Helper()
	if abi() == 0 {
		t.Skip("no Landlock on this machine")
	}
	if abi() < n {
		t.Skipf("Landlock ABI %d is needed, here: %d", n, abi())
	}
}

// strictFS is the word fs where the kernel can do all of it (ABI 3), and as much as there is elsewhere.
func strictFS() string {
	if abi() < 3 {
		return "fs,best-effort"
	}
	return "fs"
}

// without gives a container the namespaces of the host instead of some of its own.
func (b *box) without(types ...specs.LinuxNamespaceType) {
	var kept []specs.LinuxNamespace
	for _, ns := range b.spec.Linux.Namespaces {
		keep := true
		for _, t := range types {
			keep = keep && ns.Type != t
		}
		if keep {
			kept = append(kept, ns)
		}
	}
	b.spec.Linux.Namespaces = kept
}

// hostProcess is a process of the host that a container may not touch.
func hostProcess(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return strconv.Itoa(cmd.Process.Pid)
}

// TestLandlockFiles: root with all capabilities cannot write where the specification does not let it, and can change nothing of that.
func TestLandlockFiles(t *testing.T) {
	needABI(t, 1)
	for name, script := range map[string]string{
		"sysctl":       "echo x >/proc/sys/kernel/domainname",
		"mount":        "mount -t tmpfs none /tmp",
		"remount":      "mount -o remount,rw,bind / && touch /file",
		"volume":       "mount -o remount,rw,bind /ro && touch /ro/file",
		"unmask":       "umount /masked",
		"bind":         "mount -o bind /data /ro",
		"oom score":    "echo 1 >/proc/self/oom_score_adj",
		"own mounts":   "inside signal 1 >/dev/null && mount --make-rprivate /",
		"through proc": "mount -o remount,rw,bind /ro && touch /proc/self/root/ro/file",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on, off := newBox(t), newBox(t)
			on.spec.Annotations[landlockAnnotation] = strictFS()
			for _, b := range []*box{on, off} {
				volume := t.TempDir()
				b.spec.Root.Readonly = true
				b.spec.Linux.MaskedPaths = []string{"/masked"}
				if err := os.Mkdir(filepath.Join(b.dir, "rootfs/masked"), 0o755); err != nil {
					t.Fatal(err)
				}
				b.spec.Mounts = append(b.spec.Mounts,
					specs.Mount{Destination: "/ro", Type: "bind", Source: volume, Options: []string{"bind", "ro"}},
					specs.Mount{Destination: "/data", Type: "bind", Source: volume, Options: []string{"bind"}},
				)
				makeDirs(t, b, "ro", "data", "tmp")
			}
			if r := off.sh(script); r.code != 0 {
				t.Errorf("without Landlock: %d: %s", r.code, r.out)
			}
			if r := on.sh(script); r.code == 0 || !strings.Contains(strings.ToLower(r.out), "permi") {
				t.Errorf("with Landlock: %d: %s", r.code, r.out)
			}
		})
	}
}

func makeDirs(t *testing.T, b *box, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(b.dir, "rootfs", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLandlockAllows: what the specification lets a container do works, by its first process and by one that joins it.
func TestLandlockAllows(t *testing.T) {
	needABI(t, 1)
	b := newBox(t)
	b.spec.Annotations[landlockAnnotation] = strictFS()
	if abi() >= 6 {
		b.spec.Annotations[landlockAnnotation] += ",scope"
	}
	b.spec.Root.Readonly = true
	b.spec.Mounts = append(b.spec.Mounts,
		specs.Mount{Destination: "/data", Type: "bind", Source: t.TempDir(), Options: []string{"bind"}},
		specs.Mount{Destination: "/etc/one", Type: "bind", Source: file(t, "was"), Options: []string{"bind"}},
		specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=1777"}},
	)
	if err := os.WriteFile(filepath.Join(b.dir, "rootfs/etc/one"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `set -e
		mkdir -p /data/d /tmp/d; echo x >/data/d/f; mv /data/d/f /data/g; truncate -s 0 /data/g; ln -s g /data/l; rm /data/l /data/g
		cp /bin/busybox /tmp/d/true; mv /tmp/d/true /tmp/true; /tmp/true; rm /tmp/true
		echo now >/etc/one; echo x >/dev/null; echo x >/dev/shm/x; head=$(cat /proc/self/status)
		echo to the standard output >>/dev/stdout; echo and error >>/dev/stderr; kill -0 1; rm -r /data/d /tmp/d /dev/shm/x; echo fine`
	b.start("sh", "-c", "("+script+") >>/tmp/out 2>&1; echo $? >/tmp/code; exec sleep 1000")
	for range 100 {
		if r := b.exec("sh", "-c", "test -s /tmp/code && cat /tmp/out /tmp/code"); r.code == 0 {
			if r.out != "to the standard output\nand error\nfine\n0\n" {
				t.Errorf("init: %q", r.out)
			}
			break
		}
	}
	if r := b.exec("sh", "-c", script); r.code != 0 || !strings.Contains(r.out, "fine") {
		t.Errorf("exec: %d: %s", r.code, r.out)
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLandlockExec: a process that joins the container is kept from the same, and a startContainer hook too.
func TestLandlockExec(t *testing.T) {
	needABI(t, 1)
	b := newBox(t)
	b.spec.Annotations[landlockAnnotation] = strictFS()
	b.spec.Root.Readonly = true
	b.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{
		{Path: "/bin/sh", Args: []string{"sh", "-c", "mount -t tmpfs none /mnt 2>/tmp/hook; echo $? >>/tmp/hook"}},
	}}
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs"})
	makeDirs(t, b, "mnt")
	b.start("sleep", "1000")
	if r := b.exec("sh", "-c", "mount -t tmpfs none /mnt"); r.code == 0 {
		t.Error("exec could mount")
	}
	if r := b.exec("sh", "-c", "echo x >/proc/sys/kernel/domainname"); r.code == 0 {
		t.Error("exec could write a sysctl")
	}
	if r := b.exec("cat", "/tmp/hook"); !strings.HasSuffix(r.out, "1\n") {
		t.Errorf("the hook could mount: %q", r.out)
	}
}

// TestLandlockBentPath: a container that bends the way to one of its mounts gets no rule for where it leads when a process joins.
func TestLandlockBentPath(t *testing.T) {
	needABI(t, 1)
	b := newBox(t)
	b.spec.Annotations[landlockAnnotation] = strictFS()
	b.spec.Root.Readonly = true
	volume := t.TempDir()
	if err := os.MkdirAll(filepath.Join(volume, "way/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.spec.Mounts = append(b.spec.Mounts,
		specs.Mount{Destination: "/data", Type: "bind", Source: volume, Options: []string{"bind"}},
		specs.Mount{Destination: "/data/way/sys", Type: "bind", Source: t.TempDir(), Options: []string{"bind"}},
	)
	b.start("sleep", "1000")
	if r := b.exec("sh", "-c", "mv /data/way /data/other && ln -s /proc /data/way"); r.code != 0 {
		t.Fatalf("the attacker's part: %s", r.out)
	}
	if r := b.exec("sh", "-c", "echo x >/proc/sys/kernel/domainname"); r.code == 0 {
		t.Error("the link lent the right to write sysctls")
	}
	if r := b.exec("sh", "-c", "touch /data/fine"); r.code != 0 {
		t.Errorf("the honest mount: %s", r.out)
	}
}

// TestLandlockTrace: a container that shares the host's pid namespace can look into no process outside, whatever its capabilities.
func TestLandlockTrace(t *testing.T) {
	needABI(t, 1)
	pid := hostProcess(t)
	for _, command := range []string{"cat /proc/" + pid + "/root/etc/passwd", "ls -l /proc/" + pid + "/root/", "inside trace " + pid} {
		for _, on := range []bool{false, true} {
			b := newBox(t)
			b.without(specs.PIDNamespace)
			if on {
				b.spec.Annotations[landlockAnnotation] = strictFS()
			}
			if r := b.sh(command); on != (r.code != 0) {
				t.Errorf("%s, Landlock %v: %d: %s", command, on, r.code, r.out)
			}
		}
	}
}

// TestLandlockScope: signals and abstract sockets end at the container, though it shares the namespaces that would end them.
func TestLandlockScope(t *testing.T) {
	needABI(t, 6)
	pid := hostProcess(t)
	name := fmt.Sprintf("bulkhead-lsm-%d", os.Getpid())
	l, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, args := range [][]string{{"signal", pid}, {"abstract", name}} {
		for _, on := range []bool{false, true} {
			b := newBox(t)
			b.without(specs.PIDNamespace, specs.NetworkNamespace)
			if on {
				b.spec.Annotations[landlockAnnotation] = "scope"
			}
			b.start("sleep", "1000")
			if r := b.exec("inside", args[0], args[1]); on != (r.code != 0) {
				t.Errorf("exec: %v, Landlock %v: %d: %s", args, on, r.code, r.out)
			}
			first := newBox(t)
			first.spec.Linux.Namespaces, first.spec.Annotations = b.spec.Linux.Namespaces, b.spec.Annotations
			if r := first.run("inside", args[0], args[1]); on != (r.code != 0) {
				t.Errorf("%v, Landlock %v: %d: %s", args, on, r.code, r.out)
			}
		}
	}
}

// TestLandlockPorts: only the ports that the annotation lists, for init and exec.
func TestLandlockPorts(t *testing.T) {
	needABI(t, 4)
	b := newBox(t)
	b.spec.Annotations[landlockAnnotation] = "bind=80+8000-8002+0,connect=8001"
	b.start("sleep", "1000")
	for _, c := range []struct {
		what, port string
		ok         bool
	}{
		{"bind", "80", true},
		{"bind", "8002", true},
		{"bind", "0", true},
		{"bind", "8003", false},
		{"bind", "22", false},
		{"mptcp", "8003", false},
		{"sctp", "8003", false},
		{"smc", "8003", false},
		{"connect", "8001", true},
		{"connect", "8000", false},
		{"connect", "80", false},
	} {
		if r := b.exec("inside", c.what, c.port); c.ok != (r.code == 0) {
			t.Errorf("%s %s: %d: %s", c.what, c.port, r.code, r.out)
		}
	}
	none := newBox(t)
	none.spec.Annotations[landlockAnnotation] = "bind=none"
	if r := none.run("inside", "bind", "8000"); r.code == 0 {
		t.Error("bind=none: a port was bound")
	}
	if r := none.run("inside", "connect", "8000"); r.code != 0 {
		t.Errorf("bind=none says nothing of connect: %s", r.out)
	}
}

// TestLandlockLacks: what the kernel cannot do is said, and nothing is started; with best-effort it is a warning.
func TestLandlockLacks(t *testing.T) {
	if abi() >= 6 {
		t.Skip("this kernel lacks nothing")
	}
	b := newBox(t)
	b.spec.Annotations[landlockAnnotation] = "fs,scope"
	if r := b.sh("echo started"); r.code == 0 || strings.Contains(r.out, "started") || !strings.Contains(r.out, "Landlock ABI 6") {
		t.Errorf("%d: %s", r.code, r.out)
	}
	b.spec.Annotations[landlockAnnotation] = "fs,scope,best-effort"
	if r := b.sh("echo started"); r.code != 0 || !strings.Contains(r.out, "started") || !strings.Contains(r.out, "scope: abstract sockets and signals are not scoped") {
		t.Errorf("best-effort: %d: %s", r.code, r.out)
	}
}
