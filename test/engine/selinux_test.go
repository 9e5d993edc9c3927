package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// enforcing skips a test where SELinux does not enforce a policy, and fails it on a machine that was booted to do so.
func enforcing(t *testing.T) {
	t.Helper()
	if mode, _ := os.ReadFile("/sys/fs/selinux/enforce"); string(mode) == "1" {
		return
	}
	if os.Getenv("BULKHEAD_TEST_LSM") == "selinux" {
		t.Fatal("this machine was booted for SELinux, which does not enforce")
	}
	t.Skip("SELinux does not enforce on this machine")
}

// ok runs a command that is to succeed, and returns what it printed.
func (l *line) ok(args ...string) string {
	l.t.Helper()
	r := l.do("", args...)
	if r.code != 0 {
		l.t.Fatalf("%v: %+v", args, r)
	}
	return r.out
}

// field is one of what inspect shows of a container.
func (l *line) field(name, format string) string {
	l.t.Helper()
	return strings.TrimSpace(l.ok("inspect", "--format", "{{"+format+"}}", name))
}

// fileLabel is the SELinux label of a file of the host.
func fileLabel(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, "security.selinux", buf)
	if err != nil {
		t.Fatalf("label of %s: %v", path, err)
	}
	return strings.TrimRight(string(buf[:n]), "\x00")
}

// claims are the claimed categories and whose they are.
func (l *line) claims() map[string]string {
	l.t.Helper()
	out := map[string]string{}
	for _, dir := range []string{"root/selinux", "root/selinux/levels"} {
		entries, err := os.ReadDir(filepath.Join(l.dir, dir))
		if err != nil {
			l.t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			data, err := os.ReadFile(filepath.Join(l.dir, dir, e.Name()))
			if err != nil {
				l.t.Fatal(err)
			}
			out[e.Name()] = string(data)
		}
	}
	return out
}

// free waits until no categories are claimed: a container that removes itself does so after its end.
func (l *line) free() {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got := l.claims()
		if len(got) == 0 {
			return
		}
		if time.Now().After(end) {
			l.t.Fatalf("claimed is still %v", got)
		}
	}
}

// A directory of the host with a file, for whoever may by its modes: labels alone keep out.
func (l *line) shared(name string) string {
	l.t.Helper()
	dir := filepath.Join(l.dir, name)
	if err := os.Mkdir(dir, 0o777); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("secret\n"), 0o666); err != nil {
		l.t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o777, filepath.Join(dir, "secret"): 0o666} { // whatever the umask
		if err := os.Chmod(path, mode); err != nil {
			l.t.Fatal(err)
		}
	}
	return dir
}

const ownLabel = "cat /proc/self/attr/current"

var defaultLabel = regexp.MustCompile(`^system_u:system_r:container_t:(s0:c\d+,c\d+)$`)

// labelOf is the label of a container's processes, as one that is brought in says it.
func (l *line) labelOf(name string) string {
	l.t.Helper()
	return strings.TrimRight(l.ok("exec", name, "sh", "-c", ownLabel), "\x00\n")
}

// TestSELinuxDefault: with no flag a container is container_t with categories of its own, in all that it is shown and all that runs in it; they are free again when it is removed, however
// that comes about.
func TestSELinuxDefault(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	pid := l.started("one", "busybox", "sh", "-c", "echo x >/made; sleep 1000")
	l.started("two", "busybox", "sleep", "1000")
	levels := map[string]string{}
	for _, name := range []string{"one", "two"} {
		process, mount := l.field(name, ".ProcessLabel"), l.field(name, ".MountLabel")
		m := defaultLabel.FindStringSubmatch(process)
		if m == nil || mount != "system_u:object_r:container_file_t:"+m[1] || l.labelOf(name) != process {
			t.Fatalf("%s is %q, its files %q, what runs in it %q", name, process, mount, l.labelOf(name))
		}
		levels[name] = m[1]
	}
	if levels["one"] == levels["two"] || len(l.claims()) != 2 {
		t.Errorf("levels %v, claims %v", levels, l.claims())
	}
	for _, path := range []string{"/", "/made", "/bin/busybox", "/dev", "/dev/shm", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"} {
		if got := fileLabel(t, "/proc/"+pid+"/root"+path); got != l.field("one", ".MountLabel") {
			t.Errorf("%s is %s", path, got)
		}
	}
	if out := l.ok("exec", "one", "sh", "-c", "cat /etc/hosts /etc/hostname /etc/resolv.conf >/dev/null && echo x >>/etc/hosts && echo written"); out != "written\n" {
		t.Errorf("the engine's files: %q", out)
	}
	if differs, good := l.verified("one"); len(differs) > 0 || good == 0 {
		t.Errorf("verify: %d, %+v", good, differs)
	}
	if out := l.ok("verify", "--format", "json", "one"); !strings.Contains(out, "SELinux "+l.field("one", ".ProcessLabel")) || !strings.Contains(out, l.field("one", ".MountLabel")) {
		t.Errorf("verify does not tell the labels: %s", out)
	}
	l.ok("restart", "-t", "0", "one")
	if got := l.labelOf("one"); !strings.HasSuffix(got, ":"+levels["one"]) {
		t.Errorf("started again: %s, was %s", got, levels["one"])
	}
	l.ok("rm", "-f", "one")
	if got := l.claims(); len(got) != 1 {
		t.Errorf("after rm: %v", got)
	}
	l.ok("rm", "-f", "two")
	l.free()
	if r := l.do("", "run", "--rm", "busybox", "sh", "-c", ownLabel); r.code != 0 || defaultLabel.FindString(strings.TrimRight(r.out, "\x00\n")) == "" {
		t.Errorf("%+v", r)
	}
	l.free()
	l.ok("create", "busybox", "true")
	if r := l.do("", "create", "--name", "bad", "-v", "relative/path:/x", "busybox"); r.code == 0 || len(l.claims()) != 1 {
		t.Errorf("%+v, claims %v", r, l.claims())
	}
}

// TestSELinuxSwept: what a killed command has claimed is free when the engine is checked.
func TestSELinuxSwept(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	l.ok("create", "--name", "kept", "busybox", "true")
	for name, text := range map[string]string{"c5,c7": "own " + strings.Repeat("a", 64), "levels/c9": "share " + strings.Repeat("b", 64)} {
		if err := os.WriteFile(filepath.Join(l.dir, "root", "selinux", name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.claims(); len(got) != 3 {
		t.Fatal(got)
	}
	l.do("", "system", "check")
	if got := l.claims(); len(got) != 1 {
		t.Errorf("claimed is %v", got)
	}
}

// A try is a command in a container and whether it shall succeed.
type try struct {
	name, script string
	ok           bool
}

func (l *line) tries(list []try) {
	l.t.Helper()
	for _, c := range list {
		if r := l.do("", "exec", c.name, "sh", "-c", c.script); c.ok != (r.code == 0) {
			l.t.Errorf("%s: %s: %+v", c.name, c.script, r)
		}
	}
}

// TestSELinuxVolumes: two containers with the same user on the host are kept from each other's files by labels alone.
func TestSELinuxVolumes(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	private, both, plain := l.shared("private"), l.shared("both"), l.shared("plain")
	before := fileLabel(t, filepath.Join(plain, "secret"))
	common := []string{"--userns", "host", "-v", both + ":/both:z", "-v", plain + ":/plain", "-v", "named:/named"}
	l.started("one", append(common, "-v", private+":/private:Z", "busybox", "sleep", "1000")...)
	l.started("two", append(common, "-v", private+":/private", "busybox", "sleep", "1000")...)
	l.started("off", "--userns", "host", "--security-opt", "label=disable", "-v", private+":/private", "-v", plain+":/plain", "busybox", "sleep", "1000")
	l.tries([]try{
		{"one", "cat /private/secret && echo x >/private/new", true},
		{"one", "cat /both/secret && echo one >>/both/secret && echo one >/both/one && echo one >/named/one", true},
		{"two", "cat /private/secret", false},
		{"two", "ls /private", false},
		{"two", "echo x >/private/two", false},
		{"two", "grep one /both/secret && echo two >>/both/secret && echo two >/named/two", true},
		{"one", "grep two /both/secret", true},
		{"one", "cat /plain/secret", false},
		{"two", "echo x >/plain/new", false},
		{"off", "cat /private/secret /plain/secret && echo x >/private/off", true},
	})
	own := l.field("one", ".MountLabel")
	const every = "system_u:object_r:container_file_t:s0"
	for path, want := range map[string]string{private: own, filepath.Join(private, "secret"): own, filepath.Join(private, "new"): own, filepath.Join(both, "secret"): every, filepath.Join(plain, "secret"): before, l.field("one", `range .Mounts}}{{if eq .Name "named"}}{{.Source}}{{end}}{{end`): every} {
		if got := fileLabel(t, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	for _, name := range []string{"one", "two", "off"} {
		if differs, _ := l.verified(name); len(differs) > 0 {
			t.Errorf("verify %s: %+v", name, differs)
		}
	}
	// What a container makes in a volume of all has its own categories where the policy says so, as Debian's, until the next one starts that has the volume.
	l.started("three", append(common, "busybox", "sleep", "1000")...)
	l.tries([]try{{"three", "grep one /both/one && grep one /named/one && grep two /named/two && echo x >>/named/one", true}})
	// The volume of one goes to another that asks for it
	l.ok("rm", "-f", "one")
	if r := l.do("", "run", "--rm", "--userns", "host", "-v", private+":/private:Z", "busybox", "cat", "/private/secret", "/private/new"); r.out != "secret\nx\n" {
		t.Errorf("%+v", r)
	}
}

// TestSELinuxRefused: relabelling is refused where the host needs its labels, and so are labels that the policy does not have, before anything is left.
func TestSELinuxRefused(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	link := filepath.Join(l.dir, "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	before := fileLabel(t, "/etc")
	for args, want := range map[string]string{
		"-v /etc:/x:z":                        "which the host needs",
		"-v " + link + ":/x:Z":                "which the host needs",
		"-v /:/x:z":                           "which the host needs",
		"-v " + l.dir + "/root:/x:z":          "which the host needs",
		"-v /proc:/x:z":                       "procfs",
		"--security-opt label=type:no_such_t": `type "no_such_t"`,
		"--security-opt label=level:s0:c9999": "level",
		"--security-opt label=what":           "label takes",
		"--security-opt label=disable --security-opt label=type:spc_t":   "contradicts",
		"--security-opt label=level:s0 -v " + l.shared("open") + ":/x:Z": "no categories",
	} {
		r := l.do("", append(append([]string{"run", "--rm"}, strings.Fields(args)...), "busybox", "true")...)
		if r.code != 125 || !strings.Contains(r.problems, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if got := fileLabel(t, "/etc"); got != before {
		t.Errorf("/etc is %s now", got)
	}
	l.free()
}

// TestSELinuxOptions: what label= and the flags that turn it off make of a container.
func TestSELinuxOptions(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	files := func(level string) string { return "system_u:object_r:container_file_t:" + level }
	for _, c := range []struct{ flags, process, mount string }{
		{"--security-opt label=level:s0:c1,c2", "system_u:system_r:container_t:s0:c1,c2", files("s0:c1,c2")},
		{"--security-opt no-new-privileges=false --security-opt label=type:spc_t --security-opt label=level:s0:c7", "system_u:system_r:spc_t:s0:c7", files("s0:c7")},
		{"--security-opt label=disable", "", files("s0:c1022,c1023")},
		{"--security-opt label:disable", "", files("s0:c1022,c1023")},
		{"--privileged", "", files("s0:c1022,c1023")},
		{"--pid host", "", files("s0:c1022,c1023")},
		{"--ipc host", "", files("s0:c1022,c1023")},
		{"--pid host --security-opt label=level:s0:c3,c4", "system_u:system_r:container_t:s0:c3,c4", files("s0:c3,c4")},
	} {
		l.ok(append(append([]string{"run", "-d", "--name", "box"}, strings.Fields(c.flags)...), "busybox", "sleep", "1000")...)
		process, mount, inside := l.field("box", ".ProcessLabel"), l.field("box", ".MountLabel"), l.labelOf("box")
		if process != c.process || mount != c.mount || c.process != "" && inside != c.process || c.process == "" && strings.Contains(inside, ":container_") {
			t.Errorf("%s: %q, %q, inside %q", c.flags, process, mount, inside)
		}
		explained := l.ok("explain", "box")
		if want := "selinux: " + c.process; c.process != "" && !strings.Contains(explained, want) || c.process == "" && !strings.Contains(explained, "selinux: none") {
			t.Errorf("%s: explain does not tell %q: %s", c.flags, want, explained)
		}
		if differs, _ := l.verified("box"); len(differs) > 0 {
			t.Errorf("%s: verify: %+v", c.flags, differs)
		}
		l.ok("rm", "-f", "box")
	}
	l.free()
	// Whether what is shown may be used is up to the policy, and Debian's lets spc_t.
	r := l.do("", "run", "--rm", "--security-opt", "label=nested", "--security-opt", "label=type:spc_t", "--security-opt", "no-new-privileges=false", "--tmpfs", "/t", "busybox", "sh", "-c",
		"cat /sys/fs/selinux/enforce && echo && echo x >/t/file && cat /t/file && grep ' /t ' /proc/self/mountinfo | grep -c rootcontext=")
	if r.out != "1\nx\n1\n" {
		t.Errorf("nested: %+v", r)
	}
}

// TestSELinuxTogether: who shares the processes or the memory of a container has its label, and who shares its network has its own.
func TestSELinuxTogether(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	l.started("first", "--userns", "host", "--ipc", "shareable", "busybox", "sleep", "1000")
	want := l.labelOf("first")
	for flag, same := range map[string]bool{"--pid": true, "--ipc": true, "--network": false} {
		l.started("second", "--userns", "host", flag, "container:first", "busybox", "sleep", "1000")
		if got := l.labelOf("second"); same != (got == want) {
			t.Errorf("%s: %s beside %s", flag, got, want)
		}
		l.ok("rm", "-f", "second")
	}
	if got := l.claims(); len(got) != 1 {
		t.Errorf("claims %v", got)
	}
	l.ok("rm", "-f", "first")
	l.free()
}

// TestSELinuxStreams: what goes in and out of a container under the policy: standard streams, terminals, logs, attach, exec, health checks.
func TestSELinuxStreams(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	if r := l.do("in\n", "run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo problem >&2; exit 3"); r != (result{"in\n", "problem\n", 3}) {
		t.Errorf("run -i: %+v", r)
	}
	if r := l.do("", "run", "--rm", "-t", "busybox", "sh", "-c", "test -t 1 && echo terminal >/dev/tty"); r.out != "terminal\r\n" {
		t.Errorf("run -t: %+v", r)
	}
	if r := l.do("", "run", "--rm", "-u", "33:33", "busybox", "sh", "-c", "echo again >/dev/stdout"); r.out != "again\n" {
		t.Errorf("opened again: %+v", r)
	}
	l.ok("run", "-d", "--name", "shell", "-i", "--health-cmd", "echo healthy; echo worry >&2", "--health-interval", "100ms", "--init", "busybox", "sh")
	for r, end := "", time.Now().Add(time.Minute); !strings.Contains(r, "healthy\nworry"); time.Sleep(20 * time.Millisecond) {
		if r = l.field("shell", "json .State.Health"); time.Now().After(end) {
			t.Fatalf("health: %s", r)
		}
		var h struct{ Log []struct{ Output string } }
		if err := json.Unmarshal([]byte(r), &h); err != nil {
			t.Fatal(err)
		}
		if r = ""; len(h.Log) > 0 {
			r = h.Log[0].Output
		}
	}
	for _, c := range []struct {
		args string
		in   string
		want result
	}{
		{"exec shell cat /proc/1/comm", "", result{"init\n", "", 0}},
		{"exec -i shell sh -c cat;echo~problem>&2;exit~4", "typed\n", result{"typed\n", "problem\n", 4}},
		{"exec -t shell sh -c test~-t~0&&echo~terminal>/dev/tty", "", result{"terminal\r\n", "", 0}},
		{"exec -u 33 shell sh -c echo~x>/dev/stderr", "", result{"", "x\n", 0}},
		{"attach shell", "echo attached\nexit 5\n", result{"attached\n", "", 5}},
		{"logs shell", "", result{"attached\n", "", 0}},
	} {
		args := strings.Fields(c.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "~", " ")
		}
		if r := l.do(c.in, args...); r != c.want {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
	if r := l.do("", "run", "--name", "tty", "-dt", "busybox", "sh", "-c", "echo on a terminal"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	l.ok("wait", "tty")
	if out := l.ok("logs", "tty"); out != "on a terminal\r\n" {
		t.Errorf("logs of a terminal: %q", out)
	}
}

// TestSELinuxFiles: cp, diff, commit, export, secrets and devices under the policy.
func TestSELinuxFiles(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	run := filepath.Join(l.dir, "run")
	if err := unix.Mount("tmpfs", run, "tmpfs", 0, "mode=711"); err != nil { // secrets want memory
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.do("", "rm", "-f", "box")
		if err := unix.Unmount(run, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(l.dir, "file")
	if err := os.WriteFile(file, []byte("from outside\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.ok("run", "-d", "--name", "box", "--init", "--secret", "id=key,src="+file, "--secret", "id=conf,src="+file+",target=/etc/app.conf", "--device", "/dev/zero:/dev/empty", "-v", "vol:/vol", "busybox", "sh", "-c", "echo inside >/made; sleep 1000")
	script := "cat /run/secrets/key /etc/app.conf && dd if=/dev/empty bs=4 count=1 2>/dev/null | wc -c"
	if r := l.do("", "exec", "box", "sh", "-c", script); r.out != "from outside\nfrom outside\n4\n" {
		t.Errorf("secrets and devices: %+v", r)
	}
	for _, to := range []string{"/tmp/copied", "/vol/copied"} {
		l.ok("cp", file, "box:"+to)
		if r := l.do("", "exec", "box", "sh", "-c", "cat "+to+" && echo more >>"+to); r.out != "from outside\n" {
			t.Errorf("cp to %s: %+v", to, r)
		}
		l.ok("cp", "box:"+to, filepath.Join(l.dir, "back"))
		if b, err := os.ReadFile(filepath.Join(l.dir, "back")); err != nil || string(b) != "from outside\nmore\n" {
			t.Errorf("cp from %s: %q, %v", to, b, err)
		}
	}
	if out := l.ok("diff", "box"); !strings.Contains(out, "A /made\n") {
		t.Errorf("diff: %q", out)
	}
	l.ok("commit", "box", "committed")
	if out := l.ok("run", "--rm", "committed", "cat", "/made", "/tmp/copied"); out != "inside\nfrom outside\nmore\n" {
		t.Errorf("committed: %q", out)
	}
	archive := filepath.Join(l.dir, "c.tar")
	l.ok("export", "-o", archive, "box")
	if b, err := os.ReadFile(archive); err != nil || !strings.Contains(string(b), "inside\n") || strings.Contains(string(b), "security.selinux") {
		t.Errorf("exported: %d bytes, %v", len(b), err)
	}
	l.ok("stop", "-t", "0", "box")
	l.ok("cp", file, "box:/tmp/stopped")
	l.ok("start", "box")
	if out := l.ok("exec", "box", "cat", "/tmp/stopped", "/run/secrets/key"); out != "from outside\nfrom outside\n" {
		t.Errorf("copied while it was stopped: %q", out)
	}
	if differs, _ := l.verified("box"); len(differs) > 0 {
		t.Errorf("verify: %+v", differs)
	}
}

// TestSELinuxTeach: a program that the policy keeps from a container is told with the label and what to do.
func TestSELinuxTeach(t *testing.T) {
	enforcing(t)
	l := newLine(t)
	dir := l.shared("programs")
	if err := os.WriteFile(filepath.Join(dir, "program"), []byte("#!/bin/sh\necho runs\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := l.do("", "run", "--rm", "-v", dir+":/programs", "busybox", "/programs/program")
	if r.code != 126 || !strings.Contains(r.problems, fileLabel(t, dir)) || !strings.Contains(r.problems, ":z") {
		t.Errorf("%+v", r)
	}
	if r := l.do("", "run", "--rm", "-v", dir+":/programs:z", "busybox", "/programs/program"); r.out != "runs\n" {
		t.Errorf("%+v", r)
	}
}
