package engine

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/built"
)

// A line is a command line with directories of its own.
type line struct {
	t       *testing.T
	program string
	dir     string
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{t, filepath.Join(work, "bulkhead"), ""}
	if _, err := os.Stat(l.program); err != nil {
		if err := built.Program(l.program, "./cmd/bulkhead"); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if l.dir, err = os.MkdirTemp(work, "c-"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(l.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(l.dir, "busybox.tar")
	if err := os.WriteFile(archive, busybox(t).Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := l.do("", "import", archive, "busybox"); r.code != 0 {
		t.Fatal(r.problems)
	}
	t.Cleanup(func() {
		if ids := strings.Fields(l.do("", "ps", "-aq", "--no-trunc").out); len(ids) > 0 {
			l.do("", append([]string{"rm", "-f"}, ids...)...)
		}
		if err := os.RemoveAll(l.dir); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *line) command(args ...string) *exec.Cmd {
	return exec.Command(l.program, append([]string{"--root", filepath.Join(l.dir, "root"), "--runroot", filepath.Join(l.dir, "run")}, args...)...)
}

// do runs a command, a minute at most: machines that are emulated are slow.
func (l *line) do(stdin string, args ...string) result {
	l.t.Helper()
	cmd := l.command(args...)
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = strings.NewReader(stdin), &out, &problems, time.Second
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !timer.Stop() {
		l.t.Fatalf("%v hangs: %s%s", args, out.String(), problems.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatalf("%v: %v", args, err)
	}
	return result{out.String(), problems.String(), cmd.ProcessState.ExitCode()}
}

// TestCommandLine: the flags that people know, and what they do, from inside.
func TestCommandLine(t *testing.T) {
	l := newLine(t)
	if err := os.WriteFile(filepath.Join(l.dir, "profile.json"), []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":55}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		flags  string
		script string
		out    string
		code   int
	}{
		{"", "echo hi", "hi\n", 0},
		{"", "exit 9", "", 9},
		{"", "grep -c '^Seccomp:.2' /proc/self/status; id -u", "1\n0\n", 0},
		{"-e A=b -w /tmp --hostname box", "echo $A; cat /etc/hostname; hostname; echo $PWD", "b\nbox\nbox\n/tmp\n", 0},
		{"--user 1000:1000", "id -u; id -g", "1000\n1000\n", 0},
		{"--cap-drop=ALL --cap-add=NET_BIND_SERVICE", "grep CapBnd /proc/self/status", "CapBnd:\t0000000000000400\n", 0},
		{"--cap-drop=NET_RAW", "grep -c CapBnd /proc/self/status", "1\n", 0},
		{"--read-only", "touch /x 2>/dev/null || echo no", "no\n", 0},
		{"--security-opt seccomp=unconfined", "grep Seccomp: /proc/self/status", "Seccomp:\t0\n", 0},
		{"--security-opt seccomp=DIR/profile.json", "mkdir /tmp/x 2>&1 | grep -c 'No anode'", "1\n", 0},
		{"--level compat", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0\n", 0},
		{"--tmpfs /data:mode=1777 -u 33", "touch /data/x && echo ok", "ok\n", 0},
		{"--ulimit nofile=64:64", "ulimit -n", "64\n", 0},
		{"-v DIR/shared:/data", "echo in >/data/file; stat -c %u /data/file", "0\n", 0},
		{"-v DIR/shared:/data:ro", "cat /data/file; touch /data/x 2>/dev/null || echo no", "in\nno\n", 0},
		{"--network host --uts host", "hostname | wc -l", "1\n", 0},
		{"--userns host", "cat /proc/self/uid_map | tr -s ' '", " 0 0 4294967295\n", 0},
	} {
		args := append([]string{"run", "--rm"}, strings.Fields(strings.ReplaceAll(test.flags, "DIR", l.dir))...)
		r := l.do("", append(args, "busybox", "sh", "-c", test.script)...)
		if r.out != test.out || r.code != test.code {
			t.Errorf("%s: %s: %+v", test.flags, test.script, r)
		}
	}
	if b, err := os.ReadFile(filepath.Join(l.dir, "shared", "file")); err != nil || string(b) != "in\n" {
		t.Errorf("the volume has %q, %v", b, err)
	}
	if r := l.do("a\nb\n", "run", "-i", "--rm", "busybox", "sort", "-r"); r.out != "b\na\n" {
		t.Errorf("%+v", r)
	}
	if r := l.do("", "ps", "-aq"); r.out != "" {
		t.Errorf("left: %q", r.out)
	}
	for _, dir := range []string{"root/containers", "root/names", "root/ranges"} {
		if entries, err := os.ReadDir(filepath.Join(l.dir, dir)); err != nil || len(entries) > 0 {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
	}
}

// TestCommandsOfLife: run -d, ps, exec, logs, stop, start, wait, rm.
func TestCommandsOfLife(t *testing.T) {
	l := newLine(t)
	want := func(r result, out string, code int) {
		t.Helper()
		if !strings.Contains(r.out, out) || r.code != code {
			t.Errorf("want %q, %d: %+v", out, code, r)
		}
	}
	id := strings.TrimSpace(l.do("", "run", "-d", "--name", "web", "busybox", "sh", "-c", "echo up; trap 'exit 4' TERM; while :; do sleep 0.05; done").out)
	if len(id) != 64 {
		t.Fatalf("%q", id)
	}
	want(l.do("", "ps", "--format", "{{.ID}} {{.Names}} {{.State}}"), id[:12]+" web running\n", 0)
	want(l.do("", "exec", "web", "sh", "-c", "echo $$; exit 3"), "", 3)
	want(l.do("in", "exec", "-i", "-u", "33", "web", "sh", "-c", "cat; id -u"), "in33\n", 0)
	want(l.do("", "logs", "web"), "up\n", 0)
	want(l.do("", "rm", "web"), "", 1)
	want(l.do("", "run", "--name", "web", "busybox", "true"), "", 125)
	want(l.do("", "rmi", "busybox"), "", 1)
	want(l.do("", "pause", "web"), "web", 0)
	want(l.do("", "unpause", "web"), "web", 0)
	want(l.do("", "stop", "web"), "web", 0)
	want(l.do("", "wait", "web"), "4\n", 0)
	want(l.do("", "ps", "-a", "--filter", "name=web", "--format", "{{.Status}}"), "Exited (4)", 0)
	want(l.do("", "start", "web"), "web", 0)
	want(l.do("", "kill", "web"), "web", 0)
	want(l.do("", "wait", id[:8]), "137\n", 0)
	want(l.do("", "rm", "web"), "web", 0)
	want(l.do("", "rm", "web"), "", 1)
}

// TestRefusals: what cannot be ends with Docker's status and one sentence that names it.
func TestRefusals(t *testing.T) {
	l := newLine(t)
	for text, test := range map[string]struct {
		args []string
		code int
	}{
		"did you mean --rm?": {[]string{"run", "--rmm", "busybox"}, 125},
		"no such image":      {[]string{"run", "--pull", "never", "absent"}, 125},
		"no-such":            {[]string{"run", "--rm", "busybox", "no-such"}, 127},
		"/etc/passwd":        {[]string{"run", "--rm", "busybox", "/etc/passwd"}, 126},
		"unknown capability": {[]string{"run", "--cap-add", "ROOT", "busybox", "true"}, 125},
		"minimum memory":     {[]string{"run", "-m", "1m", "busybox", "true"}, 125},
		"no such container":  {[]string{"exec", "absent", "true"}, 1},
		"opening seccomp":    {[]string{"run", "--security-opt", "seccomp=/absent.json", "busybox"}, 125},
		"invalid signal":     {[]string{"kill", "-s", "NOPE", "absent"}, 1},
		"user":               {[]string{"run", "--rm", "-u", "nobody-here", "busybox", "true"}, 125},
	} {
		r := l.do("", test.args...)
		if r.code != test.code || !strings.Contains(r.problems, text) {
			t.Errorf("%v: want %q, %d: %+v", test.args, text, test.code, r)
		}
	}
}

// TestChanges: diff, commit and export of a container that runs and of one that does not.
func TestChanges(t *testing.T) {
	l := newLine(t)
	if r := l.do("", "run", "-d", "--name", "c1", "busybox", "sh", "-c", "echo x >/data/new; rm /etc/group; chmod 700 /home; touch /tmp/done; sleep 1000"); r.code != 0 {
		t.Fatal(r.problems)
	}
	for range 100 {
		if r := l.do("", "exec", "c1", "test", "-e", "/tmp/done"); r.code == 0 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			if r := l.do("", "stop", "-t", "0", "c1"); r.code != 0 {
				t.Fatal(r.problems)
			}
		}
		out := l.do("", "diff", "c1").out
		for _, want := range []string{"A /data/new\n", "D /etc/group\n", "C /home\n", "C /data\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: diff lacks %q: %s", state, want, out)
			}
		}
		r := l.do("", "commit", "-m", "why", "-c", "CMD [\"cat\", \"/data/new\"]", "c1", "made:"+state)
		if !strings.HasPrefix(r.out, "sha256:") {
			t.Fatalf("%s: commit: %+v", state, r)
		}
		if r := l.do("", "run", "--rm", "made:"+state); r.out != "x\n" {
			t.Errorf("%s: the image: %+v", state, r)
		}
		if r := l.do("", "run", "--rm", "made:"+state, "sh", "-c", "ls /etc; stat -c '%a %u' /home"); strings.Contains(r.out, "group") || !strings.Contains(r.out, "700 0\n") {
			t.Errorf("%s: the image: %+v", state, r)
		}
		file := filepath.Join(l.dir, "export.tar")
		if r := l.do("", "export", "-o", file, "c1"); r.code != 0 {
			t.Fatalf("%s: export: %+v", state, r)
		}
		if r := l.do("", "export", "-o", "/dev/null", "c1"); r.code != 0 {
			t.Errorf("export to a device: %+v", r)
		}
		if st, err := os.Stat("/dev/null"); err != nil || st.Mode().IsRegular() {
			t.Fatalf("/dev/null is a file now: %v", err)
		}
		list, err := exec.Command("tar", "-tvf", file, "--numeric-owner").CombinedOutput()
		if err != nil || !strings.Contains(string(list), "data/new") || strings.Contains(string(list), "etc/group") || strings.Contains(string(list), " proc/1") || strings.Contains(string(list), "1879") {
			t.Errorf("%s: export: %v: %s", state, err, list)
		}
	}
}
