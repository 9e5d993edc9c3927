package spec

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// patience bounds each call of the runtime and each wait: it ends what hangs, also on a machine that is emulated on a busy one.
const patience = 60 * time.Second

// A box is a bundle, and the container that is made of it.
type box struct {
	t     *testing.T
	spec  *specs.Spec
	patch func(config map[string]any) // changes config.json in ways that the types cannot say
	id    string
	dir   string // the bundle
	root  string // the runtime's state
	enter []string
}

var counter atomic.Int64

// newBox makes a bundle that runs a program as root without any capability, in namespaces of its own, on a writable root.
func newBox(t *testing.T, args ...string) *box {
	t.Helper()
	n := strconv.FormatInt(counter.Add(1), 10)
	b := &box{t: t, spec: baseSpec(args), id: prefix + n, dir: filepath.Join(work, n, "bundle"), root: filepath.Join(work, n, "state")}
	b.populate(os.Link)
	t.Cleanup(b.remove)
	return b
}

// populate makes the root file system; put links or copies a program.
func (b *box) populate(put func(from, to string) error) {
	b.t.Helper()
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp", "mnt"} {
		b.makeDir("rootfs/" + d)
	}
	for _, name := range []string{"busybox", "inside"} {
		b.must(put(filepath.Join(image, name), b.path("rootfs/bin/"+name)))
	}
	for _, name := range applets {
		b.must(os.Symlink("busybox", b.path("rootfs/bin/"+name)))
	}
	b.must(os.Chmod(b.path("rootfs/tmp"), 0o1777))
}

// copyFile is for a root on another file system, or of another owner.
func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func baseSpec(args []string) *specs.Spec {
	return &specs.Spec{
		Version: "1.3.0",
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin", mark}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{{Type: "pid"}, {Type: "network"}, {Type: "mount"}, {Type: "uts"}, {Type: "ipc"}, {Type: "cgroup"}},
			Resources:  &specs.LinuxResources{},
		},
	}
}

func (b *box) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// path is that of something in the bundle.
func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) makeDir(name string) string {
	b.t.Helper()
	b.must(os.MkdirAll(b.path(name), 0o755))
	return b.path(name)
}

func (b *box) makeFile(name, content string) string {
	b.t.Helper()
	b.makeDir(filepath.Dir(name))
	b.must(os.WriteFile(b.path(name), []byte(content), 0o644))
	return b.path(name)
}

// mount adds an entry to mounts.
func (b *box) mount(destination, fstype, source string, options ...string) *specs.Mount {
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: destination, Type: fstype, Source: source, Options: options})
	return &b.spec.Mounts[len(b.spec.Mounts)-1]
}

// without takes a namespace away.
func (b *box) without(kind specs.LinuxNamespaceType) {
	var kept []specs.LinuxNamespace
	for _, ns := range b.spec.Linux.Namespaces {
		if ns.Type != kind {
			kept = append(kept, ns)
		}
	}
	b.spec.Linux.Namespaces = kept
}

// join replaces a namespace by one that is there; the empty path is a new one.
func (b *box) join(kind specs.LinuxNamespaceType, path string) {
	b.without(kind)
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
}

// grant gives capabilities: bounding, effective and permitted.
func (b *box) grant(names ...string) {
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

// write writes config.json.
func (b *box) write() {
	b.t.Helper()
	data, err := json.Marshal(b.spec)
	b.must(err)
	if b.patch != nil {
		var config map[string]any
		b.must(json.Unmarshal(data, &config))
		b.patch(config)
		data, err = json.Marshal(config)
		b.must(err)
	}
	b.must(os.WriteFile(b.path("config.json"), data, 0o600))
}

// A result is what a call of the runtime, and its container, gave.
type result struct {
	out, err string
	code     int
}

// call calls the runtime. Output goes through files, because a container that stays would keep a pipe open.
func (b *box) call(args ...string) result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	line := append(append([]string{}, b.enter...), append([]string{runtime, "--root", b.root}, args...)...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append(os.Environ(), mark)
	cmd.WaitDelay = time.Second
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(filepath.Dir(b.dir), "output-")
		b.must(err)
		defer f.Close()
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	err := cmd.Run()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		b.t.Fatalf("%q: %v, %v", args, err, ctx.Err())
	}
	out, _ := os.ReadFile(files[0].Name())
	errs, _ := os.ReadFile(files[1].Name())
	return result{string(out), string(errs), cmd.ProcessState.ExitCode()}
}

// ok is call, and fails the test unless the status is 0.
func (b *box) ok(args ...string) result {
	b.t.Helper()
	r := b.call(args...)
	if r.code != 0 {
		b.t.Fatalf("%q: exit status %d: %s%s", args, r.code, r.err, r.out)
	}
	return r
}

// run runs the bundle to its end.
func (b *box) run() result {
	b.t.Helper()
	b.write()
	return b.call("run", "--bundle", b.dir, b.id)
}

// output runs the bundle and returns what it printed; it must end with 0.
func (b *box) output() string {
	b.t.Helper()
	r := b.run()
	if r.code != 0 {
		b.t.Fatalf("run: exit status %d: %s%s", r.code, r.err, r.out)
	}
	return r.out
}

// create makes the container and returns its pid.
func (b *box) create(flags ...string) int {
	b.t.Helper()
	b.write()
	b.ok(append(append([]string{"create", "--bundle", b.dir}, flags...), b.id)...)
	return b.state().Pid
}

// up creates and starts the container and returns its pid.
func (b *box) up() int {
	b.t.Helper()
	pid := b.create()
	b.ok("start", b.id)
	return pid
}

func (b *box) state() specs.State {
	b.t.Helper()
	var s specs.State
	b.must(json.Unmarshal([]byte(b.ok("state", b.id).out), &s))
	return s
}

// await waits for a status.
func (b *box) await(status specs.ContainerState) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); b.state().Status != status; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("status %s, want %s", b.state().Status, status)
		}
	}
}

// remove deletes what a test left running.
func (b *box) remove() {
	if _, err := os.Stat(filepath.Join(b.root, b.id)); err == nil {
		if r := b.call("delete", "--force", b.id); r.code != 0 {
			b.t.Errorf("delete --force: %s", r.err)
		}
	}
	if err := os.RemoveAll(filepath.Dir(b.dir)); err != nil {
		b.t.Error(err)
	}
}

// refused checks that create fails with a message that has all the words in it, in one line and a hint, and leaves nothing.
func (b *box) refused(words ...string) {
	b.t.Helper()
	b.write()
	r := b.call("create", "--bundle", b.dir, b.id)
	if r.code == 0 {
		b.t.Errorf("accepted, want an error that names %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(r.err, w) {
			b.t.Errorf("the message does not say %q: %s", w, r.err)
		}
	}
	b.nothing()
}

// nothing checks that there is no state and no cgroup of this container.
func (b *box) nothing() {
	b.t.Helper()
	if _, err := os.Stat(filepath.Join(b.root, b.id)); err == nil {
		b.t.Error("its state is left")
	}
	for _, dir := range b.groups() {
		b.t.Errorf("left behind: %s", dir)
	}
}

// groups returns the directories of the container's default cgroups.
func (b *box) groups() (list []string) {
	for _, group := range leftGroups() {
		if dir := strings.TrimPrefix(group, "cgroup "); filepath.Base(dir) == b.id {
			list = append(list, dir)
		}
	}
	return list
}

// facts reads "name value" lines.
func facts(out string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		m[name] = value
	}
	return m
}

// same compares named facts.
func same(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if got[name] != w {
			t.Errorf("%s: %q, want %q", name, got[name], w)
		}
	}
}

// report runs the bundle with the report program.
func (b *box) report() map[string]string {
	b.t.Helper()
	b.spec.Process.Args = []string{"inside", "report"}
	return facts(b.output())
}

// try runs the bundle with steps, and compares their outcomes: step, outcome, step, outcome ...
func (b *box) try(pairs ...string) {
	b.t.Helper()
	args := []string{"inside", "try"}
	want := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		args = append(args, pairs[i])
		want[pairs[i]] = pairs[i+1]
	}
	b.spec.Process.Args = args
	same(b.t, facts(b.output()), want)
}

// read is the content of a file, without white space around it.
func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(data))
}

func ptr[T any](v T) *T { return &v }
