package launch_test

import (
	"context"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
	"github.com/bulkhead-engine/bulkhead/internal/runtime/launch"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The test binary is also the program of the containers: its first argument says what to do there.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "container-exit":
			os.Exit(7)
		case "container-wait":
			time.Sleep(time.Minute)
		case "container-stat": // writes what stat says of the second argument to /out
			var st unix.Stat_t
			if err := unix.Stat(os.Args[2], &st); err != nil {
				os.Exit(1)
			}
			if os.WriteFile("/out", []byte{byte(st.Mode), byte(st.Mode >> 8), byte(st.Uid)}, 0o600) != nil {
				os.Exit(2)
			}
			os.Exit(7)
		}
	}
	os.Exit(m.Run())
}

// A box is a bundle with this test binary as /bin/init.
type box struct {
	dir  string // of the bundle, the state directory and the root file system
	spec *specs.Spec
	born func(pid int) error // nil: nothing
}

// newBox makes a bundle that runs /bin/init with args, as root of namespaces of its own and in the caller's cgroups.
func newBox(t *testing.T, args ...string) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	needsNoLoader(t)
	b := &box{dir: t.TempDir(), spec: bundle.Default(false)}
	for dir := b.dir; strings.HasPrefix(dir, os.TempDir()) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // a user namespace's root passes here
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "proc", "sys", "dev", "data"} {
		if err := os.MkdirAll(b.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	out, err := os.OpenFile(b.path("bin/init"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, program); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	p := b.spec.Process
	p.Terminal, p.Args, p.Env = false, append([]string{"init"}, args...), []string{"PATH=/bin"}
	b.spec.Root.Path, b.spec.Root.Readonly = b.path("/"), false
	mounts := b.spec.Mounts[:0]
	for _, m := range b.spec.Mounts {
		if m.Type != "cgroup" {
			mounts = append(mounts, m)
		}
	}
	b.spec.Mounts = mounts
	return b
}

// needsNoLoader skips where this binary is linked dynamically, as the race detector wants it: it does not run in an empty root then.
func needsNoLoader(t *testing.T) {
	t.Helper()
	self, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	for _, p := range self.Progs {
		if p.Type == elf.PT_INTERP {
			t.Skip("the test binary needs a dynamic loader")
		}
	}
}

// path is where a file of the root file system is on the host.
func (b *box) path(name string) string { return filepath.Join(b.dir, "rootfs", name) }

// userNS gives the container the ids from 100000 on, and the files of its root.
func (b *box) userNS(t *testing.T) {
	t.Helper()
	l := b.spec.Linux
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	l.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 1000}}
	l.GIDMappings = l.UIDMappings
	err := filepath.WalkDir(b.path("/"), func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, 100000, 100000))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *box) create(t *testing.T, run bool) (*launch.Child, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	child, err := launch.Create(ctx, &launch.Options{
		ID: "launch-test", Bundle: b.dir, Dir: b.dir, Spec: b.spec, Run: run, OnCreated: b.born,
		State: func(string, int) []byte { return []byte("{}") },
	})
	if err == nil {
		t.Cleanup(child.Kill)
	}
	return child, err
}

// run runs the program to its end, which must be that of container-exit or container-stat.
func (b *box) run(t *testing.T) {
	t.Helper()
	child, err := b.create(t, true)
	if err != nil {
		t.Fatal(err)
	}
	if ws, err := child.Wait(); err != nil || ws.ExitStatus() != 7 {
		t.Fatalf("status %#x, %v", ws, err)
	}
}

func TestRun(t *testing.T) {
	newBox(t, "container-exit").run(t)
}

func TestRunInUserNamespace(t *testing.T) {
	b := newBox(t, "container-exit")
	b.userNS(t)
	b.run(t)
}

// A directory counts as executable for access(2): it must neither be found for a program in PATH nor pass for one.
func TestDirectoryIsNoProgram(t *testing.T) {
	b := newBox(t, "container-exit")
	if err := os.MkdirAll(b.path("data/init"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.spec.Process.Env = []string{"PATH=/data:/bin"}
	b.run(t)
	b.spec.Process.Args = []string{"/data"}
	if _, err := b.create(t, false); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("create with a directory as the program: %v", err)
	}
}

// What fails after the wait is named as in the plan.
func TestStartNamesTheStep(t *testing.T) {
	b := newBox(t)
	if err := os.WriteFile(b.path("bin/garbage"), []byte("\x00\x01"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.spec.Process.Args = []string{"garbage"}
	if _, err := b.create(t, false); err != nil {
		t.Fatal(err)
	}
	err := launch.Start(t.Context(), b.dir)
	if err == nil || !strings.Contains(err.Error(), "execve: exec format error") {
		t.Errorf("start: %v", err)
	}
}

// What tmpcopyup copies belongs to whom it belonged, in a user namespace too, whose tmpfs takes no file from the host's root.
func TestCopyUp(t *testing.T) {
	for name, mapped := range map[string]bool{"host's ids": false, "user namespace": true} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, "container-stat", "/data/sub/file")
			file := b.path("data/sub/file")
			if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("x"), 0o640); err != nil {
				t.Fatal(err)
			}
			owner := 7
			if mapped {
				b.userNS(t)
				owner = 100007
			}
			if err := os.Chown(file, owner, owner); err != nil {
				t.Fatal(err)
			}
			b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/data", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup"}})
			b.run(t)
			out, err := os.ReadFile(b.path("out"))
			if err != nil {
				t.Fatal(err)
			}
			if mode := int(out[0]) | int(out[1])<<8; mode != unix.S_IFREG|0o640 || out[2] != 7 {
				t.Errorf("mode %o, owner %d", mode, out[2])
			}
			if id := unix.Geteuid(); id != 0 {
				t.Errorf("this process runs as %d now", id)
			}
		})
	}
}

// A low limit of open files is the program's and does not keep it from being started.
func TestFewOpenFiles(t *testing.T) {
	b := newBox(t, "container-exit")
	b.spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 16, Hard: 16}}
	child, err := b.create(t, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := launch.Start(t.Context(), b.dir); err != nil {
		t.Fatal(err)
	}
	if ws, err := child.Wait(); err != nil || ws.ExitStatus() != 7 {
		t.Fatalf("status %#x, %v", ws, err)
	}
}

// Where the container has no mount namespace, a process that joins has its root directory all the same.
func TestExecWithoutMountNamespace(t *testing.T) {
	b := newBox(t, "container-wait")
	l := b.spec.Linux
	l.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace}}
	l.MaskedPaths, l.ReadonlyPaths, b.spec.Mounts, b.spec.Hostname = nil, nil, nil, ""
	child, err := b.create(t, true)
	if err != nil {
		t.Fatal(err)
	}
	process := *b.spec.Process
	process.Args = []string{"/bin/init", "container-stat", "/bin/init"}
	joined, err := launch.Exec(t.Context(), &launch.ExecOptions{
		ID: "launch-test", PID: child.PID, PIDFD: child.PIDFD, Spec: b.spec, Process: &process,
		State: func(string, int) []byte { return []byte("{}") },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer joined.Close()
	if ws, err := joined.Wait(); err != nil || ws.ExitStatus() != 7 {
		t.Errorf("status %#x, %v", ws, err)
	}
	if _, err := os.Stat(b.path("out")); err != nil {
		t.Error(err)
	}
	b.spec.Process.Terminal = true
	if _, err := b.create(t, true); err == nil || !strings.Contains(err.Error(), "process.terminal") {
		t.Errorf("with a terminal: %v", err)
	}
}

// A container that joins the mount namespace of the runtime would pivot the host's root away. Lest this test does, it runs in a copy.
func TestOwnMountNamespaceIsRefused(t *testing.T) {
	const marker = "BULKHEAD_TEST_INSIDE"
	if os.Getenv(marker) == "" && os.Geteuid() == 0 {
		again := exec.Command("/proc/self/exe", "-test.run=^TestOwnMountNamespaceIsRefused$")
		again.Env = append(os.Environ(), marker+"=1")
		again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	b := newBox(t, "container-exit")
	b.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace, Path: "/proc/self/ns/mnt"}}
	if _, err := b.create(t, true); err == nil || !strings.Contains(err.Error(), "is the mount namespace of the runtime") {
		t.Fatalf("with the host's mount namespace: %v", err)
	}
}

// A process that is killed on its way, as for want of memory, is no created container.
func TestKilledBeforeCreated(t *testing.T) {
	b := newBox(t, "container-exit")
	b.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true"}}} // OnCreated is to run them, when the child waits
	b.born = func(pid int) error { return unix.Kill(pid, unix.SIGKILL) }
	if _, err := b.create(t, false); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("create: %v", err)
	}
}
