package cgroup

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

// patience bounds each call of the runtime and each wait.
const patience = 60 * time.Second

// A driver is a way in which a container gets its cgroup.
type driver string

const (
	files driver = "files" // the runtime writes the control files
	units driver = "units" // systemd makes a transient unit
)

// each runs a test with every driver that the machine has.
func each(t *testing.T, test func(t *testing.T, d driver)) {
	t.Helper()
	t.Run(string(files), func(t *testing.T) { test(t, files) })
	if systemd {
		t.Run(string(units), func(t *testing.T) { test(t, units) })
	}
}

// A box is a bundle, and the container that is made of it.
type box struct {
	t     *testing.T
	spec  *specs.Spec
	res   *specs.LinuxResources
	id    string
	dir   string   // the bundle
	flags []string // of the runtime
	pid   int      // of the container's first process, when it was made
}

var counter atomic.Int64

// newBox makes a bundle whose program is inside with these arguments.
func newBox(t *testing.T, d driver, args ...string) *box {
	t.Helper()
	n := strconv.FormatInt(counter.Add(1), 10)
	b := &box{t: t, id: prefix + n, dir: filepath.Join(work, n, "bundle")}
	b.flags = []string{"--root", filepath.Join(work, n, "state")}
	b.spec = baseSpec(append([]string{"inside"}, args...))
	b.res = b.spec.Linux.Resources
	if d == units {
		b.flags = append(b.flags, "--systemd-cgroup")
		b.spec.Linux.CgroupsPath = "system.slice:bh:" + b.id
	}
	for _, dir := range []string{"bin", "dev", "proc", "sys", "tmp", "disk"} {
		b.must(os.MkdirAll(filepath.Join(b.dir, "rootfs", dir), 0o755))
	}
	b.must(os.Link(inside, filepath.Join(b.dir, "rootfs/bin/inside")))
	t.Cleanup(b.remove)
	return b
}

func baseSpec(args []string) *specs.Spec {
	return &specs.Spec{
		Version: "1.3.0",
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin", "GOGC=off", "GODEBUG=asyncpreemptoff=1"}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
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

// write writes config.json.
func (b *box) write() {
	b.t.Helper()
	data, err := json.Marshal(b.spec)
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.dir, "config.json"), data, 0o600))
}

// A result is what a call of the runtime, and its container, gave.
type result struct {
	out, err string
	code     int
}

// command is the runtime with its flags, and files for its output: a container that stays would keep a pipe open.
func (b *box) command(ctx context.Context, args ...string) (*exec.Cmd, [2]*os.File) {
	b.t.Helper()
	cmd := exec.CommandContext(ctx, runtime, append(append([]string{}, b.flags...), args...)...)
	cmd.WaitDelay = time.Second
	var files [2]*os.File
	for i := range files {
		f, err := os.CreateTemp(filepath.Dir(b.dir), "output-")
		b.must(err)
		b.t.Cleanup(func() { f.Close() })
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	return cmd, files
}

// call calls the runtime.
func (b *box) call(args ...string) result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd, files := b.command(ctx, args...)
	err := cmd.Run()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		b.t.Fatalf("%q: %v, %v", args, err, ctx.Err())
	}
	return finished(cmd, files)
}

func finished(cmd *exec.Cmd, files [2]*os.File) result {
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

// up creates and starts the container.
func (b *box) up() *box {
	b.t.Helper()
	b.write()
	b.ok("run", "--detach", "--bundle", b.dir, b.id)
	b.pid = b.state().Pid
	return b
}

// exec runs inside with these arguments in the container.
func (b *box) exec(args ...string) result {
	b.t.Helper()
	return b.call(append([]string{"exec", b.id, "/bin/inside"}, args...)...)
}

// background is exec that is not waited for.
func (b *box) background(args ...string) {
	b.t.Helper()
	b.ok(append([]string{"exec", "--detach", b.id, "/bin/inside"}, args...)...)
}

// A status is what the state command prints.
type status struct {
	specs.State
	OOMKilled bool `json:"oomKilled"`
}

func (b *box) state() status {
	b.t.Helper()
	var s status
	b.must(json.Unmarshal([]byte(b.ok("state", b.id).out), &s))
	return s
}

// await waits for a status.
func (b *box) await(want specs.ContainerState) {
	b.t.Helper()
	eventually(b.t, "the container is "+string(want), func() bool { return b.state().Status == want })
}

// update gives the running container resources.
func (b *box) update(res *specs.LinuxResources) result {
	b.t.Helper()
	data, err := json.Marshal(res)
	b.must(err)
	name := filepath.Join(filepath.Dir(b.dir), "resources.json")
	b.must(os.WriteFile(name, data, 0o600))
	return b.call("update", "--resources", name, b.id)
}

// remove deletes what a test left.
func (b *box) remove() {
	state := filepath.Join(filepath.Dir(b.dir), "state", b.id)
	if exists(state) {
		if r := b.call("delete", "--force", b.id); r.code != 0 {
			b.t.Errorf("delete --force: %s", r.err)
		}
	}
	if err := os.RemoveAll(filepath.Dir(b.dir)); err != nil {
		b.t.Error(err)
	}
}

// refused checks that nothing was started, and that the message says the words.
func (b *box) refused(words ...string) {
	b.t.Helper()
	b.write()
	r := b.call("run", "--bundle", b.dir, b.id)
	if r.code == 0 {
		b.t.Errorf("accepted, want an error that names %q", words)
	}
	if r.out != "" {
		b.t.Errorf("the program ran: %q", r.out)
	}
	r.says(b.t, words...)
	for _, left := range leftGroups() {
		if strings.Contains(left, b.id) {
			b.t.Errorf("left behind: %s", left)
		}
	}
}

// says checks that a message says the words.
func (r result) says(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(r.err, w) {
			t.Errorf("the message does not say %q: %s", w, r.err)
		}
	}
}

// file finds a file of the container's cgroup by its v1 or v2 name; "" is none.
func (b *box) file(names ...string) string {
	b.t.Helper()
	for _, name := range names {
		controller, _, _ := strings.Cut(name, ".")
		path := filepath.Join(lastDir(b.pid, controller), name)
		if name != "" && exists(path) {
			return path
		}
	}
	return ""
}

// value is the content of such a file; the test ends when there is none.
func (b *box) value(names ...string) string {
	b.t.Helper()
	path := b.file(names...)
	if path == "" {
		b.t.Fatalf("there is none of %q", names)
	}
	return read(b.t, path)
}

// number is that content as a number; "max" is -1.
func (b *box) number(names ...string) int64 {
	b.t.Helper()
	return number(b.value(names...))
}

// key is the value of a key in a file of "KEY VALUE" lines.
func (b *box) key(key string, names ...string) int64 {
	b.t.Helper()
	return keyed(b.value(names...), key)
}

func keyed(text, key string) int64 {
	for _, line := range strings.Split(text, "\n") {
		if k, v, ok := strings.Cut(line, " "); ok && k == key {
			return number(v)
		}
	}
	return 0
}

func number(text string) int64 {
	text = strings.TrimSpace(text)
	if text == "max" {
		return -1
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -2
	}
	return n
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

// cpuTime is the CPU time that the container has used, in microseconds.
func (b *box) cpuTime() int64 {
	b.t.Helper()
	if unified {
		return b.key("usage_usec", "cpu.stat")
	}
	return b.number("cpuacct.usage") / 1000
}

func ptr[T any](v T) *T { return &v }
