package lsm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/selinux"
	"github.com/bulkhead-engine/bulkhead/test/built"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var (
	work    string // all files of this run
	image   string // programs of the bundles
	runtime string
	prefix  = fmt.Sprintf("lsm-%d-", os.Getpid()) // of container ids
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "inside" {
		os.Exit(inside(os.Args[1:]))
	}
	if os.Geteuid() != 0 {
		fmt.Println("skipped: needs root")
		if os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
			os.Exit(1)
		}
		return
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if work, err = os.MkdirTemp("", "bulkhead-lsm-"); err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(work)
	if err := prepare(); err != nil {
		fmt.Println("prepare:", err)
		return 1
	}
	code := m.Run()
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), work) {
		fmt.Println("left behind: a mount in", work, err)
		code = 1
	}
	return code
}

// applets are the links to busybox in a bundle's /bin.
var applets = strings.Fields(`cat chmod cp dd echo id kill ln ls mkdir mount mv nc ps rm sh sleep stat test touch true truncate umount wc`)

// prepare makes the image: busybox, and this program as /bin/inside.
func prepare() error {
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	image = filepath.Join(work, "image")
	for _, dir := range strings.Fields("bin data dev etc proc root run sys tmp var") {
		if err := os.MkdirAll(filepath.Join(image, dir), 0o755); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w (Debian: busybox-static)", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for from, name := range map[string]string{busybox: "busybox", self: "inside"} {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(image, "bin", name), data, 0o755); err != nil {
			return err
		}
	}
	for _, name := range applets {
		if err := os.Symlink("busybox", filepath.Join(image, "bin", name)); err != nil {
			return err
		}
	}
	runtime = filepath.Join(work, "bulkhead-runtime")
	return built.Program(runtime, "./cmd/bulkhead-runtime")
}

// forBoot skips a test of a module that is not in force, and fails it on a machine that was booted for it.
func forBoot(t *testing.T, module string, on bool) {
	t.Helper()
	if on {
		return
	}
	if os.Getenv("BULKHEAD_TEST_LSM") == module {
		t.Fatalf("this machine was booted for %s, and it is not in force", module)
	}
	t.Skipf("%s is not in force on this machine", module)
}

// A box is a bundle with the root file system of this run, and the container that is made of it.
type box struct {
	t      *testing.T
	id     string
	dir    string
	spec   specs.Spec
	labels selinux.Labels // of the tests for SELinux
}

// newBox makes a bundle without any protection but namespaces: root of the host, all capabilities, nothing masked, no no_new_privs, no filter.
func newBox(t *testing.T) *box {
	t.Helper()
	dir := t.TempDir()
	b := &box{t: t, dir: dir, id: prefix + strings.NewReplacer("/", "-", " ", "-", "#", "-").Replace(t.Name()) + "-" + filepath.Base(dir)}
	out, err := exec.Command(runtime, "spec", "--bundle", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("spec: %v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &b.spec); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", image, filepath.Join(dir, "rootfs")).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	p := b.spec.Process
	p.Terminal, p.NoNewPrivileges = false, false
	all := allCapabilities()
	p.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	p.Rlimits = nil
	b.spec.Root.Readonly = false
	b.spec.Linux.MaskedPaths, b.spec.Linux.ReadonlyPaths, b.spec.Linux.Seccomp = nil, nil, nil
	b.spec.Annotations = map[string]string{}
	t.Cleanup(func() { b.command("delete", "--force", b.id) })
	return b
}

func allCapabilities() []string {
	var features struct {
		Linux struct{ Capabilities []string }
	}
	out, err := exec.Command(runtime, "features").Output()
	if err == nil {
		err = json.Unmarshal(out, &features)
	}
	if err != nil || len(features.Linux.Capabilities) == 0 {
		panic(fmt.Sprint("features: ", err))
	}
	return features.Linux.Capabilities
}

// write puts the configuration into the bundle.
func (b *box) write() {
	b.t.Helper()
	data, err := json.Marshal(&b.spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(b.dir, "config.json"), data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// A result is what a command printed, to both descriptors, and its exit status.
type result struct {
	out  string
	code int
}

// command runs the runtime, half a minute at most.
func (b *box) command(args ...string) result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, runtime, append([]string{"--root", filepath.Join(work, "state")}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 2 * time.Second // a container that goes on keeps the pipe
	err := cmd.Run()
	if ctx.Err() != nil {
		b.t.Fatalf("%v hangs: %s", args, out.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		b.t.Fatalf("%v: %v", args, err)
	}
	return result{out.String(), cmd.ProcessState.ExitCode()}
}

// sh runs a container whose program is a shell with a script.
func (b *box) sh(script string) result { return b.run("sh", "-c", script) }

// run runs a container to its end.
func (b *box) run(args ...string) result {
	b.t.Helper()
	b.spec.Process.Args = args
	b.write()
	return b.command("run", "--bundle", b.dir, b.id)
}

// start makes a container that goes on until the test ends; what it prints goes to a file.
func (b *box) start(args ...string) {
	b.t.Helper()
	b.spec.Process.Args = args
	b.write()
	if r := b.command("run", "--detach", "--bundle", b.dir, b.id); r.code != 0 {
		b.t.Fatalf("run --detach: %d: %s", r.code, r.out)
	}
}

// exec runs one more program in the container.
func (b *box) exec(args ...string) result {
	b.t.Helper()
	return b.command(append([]string{"exec", b.id}, args...)...)
}
