package spec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hookNames in the order in which they run.
var hookNames = []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

// hook adds a hook that is a script of the host's shell, or for startContainer of the container's. In it $0 is the hook's name, and the
// directory "out" of the bundle is the working directory.
func (b *box) hook(name, script string, timeout int) {
	b.t.Helper()
	h := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", "cd " + b.makeDir("out") + " || cd /out; " + script, name}, Env: []string{"PATH=/bin:/usr/bin", mark}}
	if name == "startContainer" {
		h.Path = "/bin/busybox"
	}
	if timeout > 0 {
		h.Timeout = &timeout
	}
	if b.spec.Hooks == nil {
		b.spec.Hooks = &specs.Hooks{}
		b.mount("/out", "", b.path("out"), "bind")
	}
	list := map[string]*[]specs.Hook{
		"prestart": &b.spec.Hooks.Prestart, "createRuntime": &b.spec.Hooks.CreateRuntime, "createContainer": &b.spec.Hooks.CreateContainer, //nolint:staticcheck // deprecated, not gone
		"startContainer": &b.spec.Hooks.StartContainer, "poststart": &b.spec.Hooks.Poststart, "poststop": &b.spec.Hooks.Poststop,
	}[name]
	*list = append(*list, h)
}

// order is the list of hooks that ran.
func (b *box) order() string {
	data, _ := os.ReadFile(b.path("out/order"))
	return strings.Join(strings.Fields(string(data)), " ")
}

// TestHooks: the order, the state on standard input, the namespaces, and the environment of all six.
func TestHooks(t *testing.T) {
	t.Parallel()
	b := newBox(t, "sh", "-c", "echo program >>/out/order; sleep 60")
	for _, name := range hookNames {
		b.hook(name, `echo $0 >>order; cat >$0.json; env >$0.env; for n in mnt net ipc uts pid; do readlink /proc/self/ns/$n; done >$0.ns; ls -l /proc/self/fd | wc -l >$0.fds`, 0)
		b.hook(name, "echo $0.second >>order", 0)
	}
	b.spec.Annotations = map[string]string{"k": "v"}
	pid := b.create()
	both := func(names ...string) string { return strings.Join(names, " ") }
	created := both("prestart", "prestart.second", "createRuntime", "createRuntime.second", "createContainer", "createContainer.second")
	if got := b.order(); got != created {
		t.Errorf("after create: %q", got)
	}
	b.ok("start", b.id)
	started := created + " startContainer startContainer.second program poststart poststart.second"
	for range 200 { // the program and the hook run at the same time
		if got := strings.Fields(b.order()); len(got) == len(strings.Fields(started)) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := strings.Replace(b.order(), "poststart poststart.second program", "program poststart poststart.second", 1); got != started {
		t.Errorf("after start: %q, want %q", got, started)
	}
	namespaces := map[string]string{}
	for _, n := range []string{"mnt", "net", "ipc", "uts", "pid"} {
		namespaces["host"] += namespaceOf(t, "self", n) + "\n"
		namespaces["container"] += namespaceOf(t, pid, n) + "\n"
	}
	b.ok("kill", b.id, "KILL")
	b.await(specs.StateStopped)
	b.ok("delete", b.id)
	if got := b.order(); !strings.HasSuffix(got, " poststop poststop.second") {
		t.Errorf("after delete: %q", got)
	}
	for _, name := range hookNames {
		b.checkHook(name, pid, namespaces)
	}
}

// checkHook looks at what a hook saw.
func (b *box) checkHook(name string, pid int, namespaces map[string]string) {
	t := b.t
	t.Helper()
	var s specs.State
	if err := json.Unmarshal([]byte(read(t, b.path("out/"+name+".json"))), &s); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	status := map[string]specs.ContainerState{
		"prestart": "creating", "createRuntime": "creating", "createContainer": "creating", "startContainer": "created", "poststart": "running",
		"poststop": "stopped",
	}[name]
	if s.Status != status || s.ID != b.id || s.Bundle != b.dir || s.Annotations["k"] != "v" || s.Version == "" {
		t.Errorf("%s: state %+v, want status %s", name, s, status)
	}
	if name != "poststop" && s.Pid != pid {
		t.Errorf("%s: pid %d, want %d", name, s.Pid, pid)
	}
	data, err := os.ReadFile(b.path("out/" + name + ".env"))
	b.must(err)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		key, _, _ := strings.Cut(line, "=")
		switch key { // what a shell adds itself
		case "PWD", "OLDPWD", "SHLVL", "_":
			continue
		}
		if line != "PATH=/bin:/usr/bin" && line != mark {
			t.Errorf("%s: the environment has %q, which the configuration has not", name, line)
		}
	}
	want := namespaces["host"]
	switch name {
	case "createContainer": // its pid namespace is that of the runtime, which reaps it
		host, inside := strings.Split(want, "\n"), strings.Split(namespaces["container"], "\n")
		want = strings.Join(append(inside[:4:4], host[4]), "\n")
	case "startContainer":
		want = namespaces["container"]
	}
	if got := read(t, b.path("out/"+name+".ns")); got != strings.TrimSpace(want) {
		t.Errorf("%s: namespaces\n%s\nwant\n%s", name, got, want)
	}
	if got := read(t, b.path("out/"+name+".fds")); got > "6" || len(got) > 1 { // "total", 0, 1, 2, and the directory
		t.Errorf("%s: %s descriptors", name, got)
	}
}

// TestHookRoot: createContainer hooks find the mounts done and the old root still there; startContainer hooks see the new one.
func TestHookRoot(t *testing.T) {
	t.Parallel()
	b := newBox(t, "true")
	b.makeFile("rootfs/etc/image", "x")
	b.hook("createRuntime", "grep -c '"+b.path("rootfs")+"/dev/shm' /proc/self/mountinfo >$0; true", 0)
	b.hook("createContainer", "grep -c '"+b.path("rootfs")+"/dev/shm' /proc/self/mountinfo >$0; test -e /etc/image || echo old >>$0", 0)
	b.hook("startContainer", "test -e /etc/image && echo new >$0; id -u >>$0", 0)
	b.spec.Process.User = specs.User{UID: 0}
	b.output()
	for name, want := range map[string]string{"createRuntime": "0", "createContainer": "1\nold", "startContainer": "new\n0"} {
		if got := read(t, b.path("out/"+name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestHookFails: what the failure of each kind means (runtime.md, Lifecycle): an error of create or start, the program does not run, or is
// stopped; the poststop hooks run; nothing is left. A failing poststop hook is a warning.
func TestHookFails(t *testing.T) {
	t.Parallel()
	for _, name := range hookNames {
		b := newBox(t, "sh", "-c", "echo program >>/out/order; sleep 60")
		b.hook(name, "echo spoken words >&2; exit 7", 0)
		b.hook(name, "echo after >>order", 0)
		b.hook("poststop", "echo last >>order", 0)
		b.write()
		create := b.call("create", "--bundle", b.dir, b.id)
		var err string
		switch name {
		case "prestart", "createRuntime", "createContainer":
			err = create.err
			if create.code == 0 || b.order() != "last" {
				t.Errorf("%s: create: exit status %d, order %q", name, create.code, b.order())
			}
			b.nothing()
		case "startContainer", "poststart":
			start := b.call("start", b.id)
			err = start.err
			b.await(specs.StateStopped)
			b.ok("delete", b.id)
			ran := strings.Contains(b.order(), "program")
			if start.code == 0 || strings.Contains(b.order(), "after") || !strings.HasSuffix(b.order(), "last") || name == "startContainer" && ran {
				t.Errorf("%s: start: exit status %d, order %q", name, start.code, b.order())
			}
		case "poststop":
			b.ok("start", b.id)
			b.ok("kill", b.id, "KILL")
			b.await(specs.StateStopped)
			err = b.ok("delete", b.id).err
			if !strings.HasSuffix(b.order(), "after last") || !strings.Contains(err, "warning") {
				t.Errorf("poststop: order %q: %s", b.order(), err)
			}
		}
		if name != "startContainer" && (!strings.Contains(err, "exit status 7") || !strings.Contains(err, "spoken words")) || !strings.Contains(err, "hook") {
			t.Errorf("%s: the message says too little: %s", name, err)
		}
		b.nothing()
	}
}

// TestHookFailsRun: the same for run, after which nothing is left either.
func TestHookFailsRun(t *testing.T) {
	t.Parallel()
	for _, name := range hookNames[:5] {
		b := newBox(t, "sh", "-c", "echo program >>/out/order; sleep 60")
		b.hook(name, "exit 7", 0)
		b.hook("poststop", "echo last >>order", 0)
		if r := b.run(); r.code == 0 || !strings.HasSuffix(b.order(), "last") || name != "poststart" && strings.Contains(b.order(), "program") {
			t.Errorf("%s: exit status %d, order %q: %s", name, r.code, b.order(), r.err)
		}
		b.nothing()
	}
}

// TestHookTimeout: a hook that takes too long is killed and counts as failed.
func TestHookTimeout(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"createRuntime", "createContainer", "startContainer", "poststop"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, "true")
			b.hook(name, "echo $$ >pid; exec sleep 100", 1)
			began := time.Now()
			r := b.run()
			if took := time.Since(began); took < 900*time.Millisecond || took > 6*time.Second {
				t.Errorf("it took %v", took)
			}
			if (r.code == 0) != (name == "poststop") || !strings.Contains(r.err, "hook") {
				t.Errorf("exit status %d: %s", r.code, r.err)
			}
			b.nothing()
			if pid := read(t, b.path("out/pid")); name != "startContainer" { // whose pid is one of the container's
				if _, err := os.Stat("/proc/" + pid); err == nil {
					t.Errorf("process %s is left", pid)
				}
			}
		})
	}
}

// TestHookErrors: paths that are no programs, and fields that are wrong.
func TestHookErrors(t *testing.T) {
	t.Parallel()
	for field, h := range map[string]specs.Hook{
		"hooks.createRuntime[0].path":    {Path: "relative"},
		"/nonesuch":                      {Path: "/nonesuch"},
		"hooks.createRuntime[0].timeout": {Path: "/bin/true", Timeout: ptr(0)},
		"hooks.createRuntime[0].env":     {Path: "/bin/true", Env: []string{"no equals sign"}},
	} {
		b := newBox(t, "true")
		b.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{h}}
		b.refused(field)
	}
	b := newBox(t, "true")
	b.spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: filepath.Join(work, "image", "busybox")}}} // only on the host
	if r := b.run(); r.code == 0 || !strings.Contains(r.err, "startContainer") {
		t.Errorf("exit status %d: %s", r.code, r.err)
	}
	b.nothing()
}

// TestHookArgs: args is argv as it stands, and argv[0] is the path without it.
func TestHookArgs(t *testing.T) {
	t.Parallel()
	b := newBox(t, "true")
	script := b.makeFile("hook", "#!/bin/sh\necho \"$0 $# $1\" >"+b.path("said")+"\n")
	b.must(os.Chmod(script, 0o755))
	b.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: script, Args: []string{"name", "a b", ""}}}}
	b.output()
	if got := read(t, b.path("said")); got != script+" 2 a b" { // a script's name is its path
		t.Errorf("%q", got)
	}
	b.spec.Hooks.CreateRuntime[0].Args = nil
	b.output()
	if got := read(t, b.path("said")); got != script+" 0" {
		t.Errorf("%q", got)
	}
}
