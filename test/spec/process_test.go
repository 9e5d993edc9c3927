package spec

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestUser: process.user.uid, gid, additionalGids and umask.
func TestUser(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.spec.Process.User = specs.User{UID: 1234, GID: 4321, AdditionalGids: []uint32{7, 70000, 4000000000}, Umask: ptr(uint32(0o037))}
	same(t, b.report(), map[string]string{
		"uid": "1234 1234", "gid": "4321 4321", "groups": "[7 70000 4000000000]", "status.Umask": "0037",
		"status.Uid": "1234\t1234\t1234\t1234", "status.Gid": "4321\t4321\t4321\t4321",
	})
	b.spec.Process.Args = []string{"sleep", "60"}
	pid := b.up()
	status := statusOf(t, pid)
	same(t, status, map[string]string{"Uid": "1234\t1234\t1234\t1234", "Groups": "7 70000 4000000000", "Umask": "0037"})
}

// TestUmask: without process.user.umask it is 0022, as with runc, whatever the caller's is; the specification would have the caller's.
func TestUmask(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.enter = []string{"sh", "-c", `umask 0077; exec "$0" "$@"`}
	same(t, b.report(), map[string]string{"status.Umask": "0022", "groups": "[]"})
	b.spec.Process.User.Umask = ptr(uint32(0))
	same(t, b.report(), map[string]string{"status.Umask": "0000"})
}

// statusOf is /proc/PID/status, seen from outside.
func statusOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	m := map[string]string{}
	for line := range strings.Lines(read(t, fmt.Sprintf("/proc/%d/status", pid))) {
		name, value, _ := strings.Cut(line, ":")
		m[name] = strings.TrimSpace(value)
	}
	return m
}

// TestRlimits sets all sixteen of process.rlimits, below what this process has. Some are so low that they would hinder the runtime if
// they were set before its own work is done.
func TestRlimits(t *testing.T) {
	t.Parallel()
	names := map[string]string{
		"RLIMIT_AS": "Max address space", "RLIMIT_CORE": "Max core file size", "RLIMIT_CPU": "Max cpu time", "RLIMIT_DATA": "Max data size",
		"RLIMIT_FSIZE": "Max file size", "RLIMIT_LOCKS": "Max file locks", "RLIMIT_MEMLOCK": "Max locked memory",
		"RLIMIT_MSGQUEUE": "Max msgqueue size", "RLIMIT_NICE": "Max nice priority", "RLIMIT_NOFILE": "Max open files",
		"RLIMIT_NPROC": "Max processes", "RLIMIT_RSS": "Max resident set", "RLIMIT_RTPRIO": "Max realtime priority",
		"RLIMIT_RTTIME": "Max realtime timeout", "RLIMIT_SIGPENDING": "Max pending signals", "RLIMIT_STACK": "Max stack size",
	}
	values := map[string][2]uint64{
		"RLIMIT_AS": {1 << 30, 1<<30 + 4096}, "RLIMIT_CORE": {0, 0}, "RLIMIT_CPU": {100, 101}, "RLIMIT_DATA": {1 << 29, 1 << 30},
		"RLIMIT_FSIZE": {0, 1}, "RLIMIT_LOCKS": {3, 4}, "RLIMIT_MEMLOCK": {0, 0}, "RLIMIT_MSGQUEUE": {0, 1}, "RLIMIT_NICE": {0, 0},
		"RLIMIT_NOFILE": {4, 5}, "RLIMIT_NPROC": {1, 2}, "RLIMIT_RSS": {1 << 20, 1 << 21}, "RLIMIT_RTPRIO": {0, 0},
		"RLIMIT_RTTIME": {1000, 1001}, "RLIMIT_SIGPENDING": {0, 1}, "RLIMIT_STACK": {1 << 20, 1 << 21},
	}
	b := newBox(t, "cat", "/proc/self/limits")
	for name, v := range values {
		b.spec.Process.Rlimits = append(b.spec.Process.Rlimits, specs.POSIXRlimit{Type: name, Soft: v[0], Hard: v[1]})
	}
	check := func(where, text string) {
		for name, v := range values {
			want := fmt.Sprintf("%s %d %d", names[name], v[0], v[1])
			if !slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
				return strings.HasPrefix(strings.Join(strings.Fields(line), " "), want)
			}) {
				t.Errorf("%s: no %q in\n%s", where, want, text)
			}
		}
	}
	check("inside", b.output())
	b.spec.Process.Args = []string{"sleep", "60"}
	pid := b.up()
	check("outside", read(t, fmt.Sprintf("/proc/%d/limits", pid)))
	check("exec", b.ok("exec", b.id, "cat", "/proc/self/limits").out)
}

// TestNoNewPrivileges: a program with the set-user-ID bit changes the effective user without it, and does not with it.
func TestNoNewPrivileges(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{false, true} {
		b := newBox(t)
		data, err := os.ReadFile(image + "/inside")
		b.must(err)
		b.must(os.WriteFile(b.path("rootfs/bin/suid"), data, 0o755))
		b.must(os.Chmod(b.path("rootfs/bin/suid"), 0o4755|os.ModeSetuid))
		b.spec.Process.Args = []string{"suid", "report"}
		b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
		b.spec.Process.NoNewPrivileges = on
		want := map[string]string{"uid": "1000 0", "status.NoNewPrivs": "0"}
		if on {
			want = map[string]string{"uid": "1000 1000", "status.NoNewPrivs": "1"}
		}
		same(t, facts(b.output()), want)
	}
}

// TestOOMScoreAdj: set, it is what it says; not set, it is the caller's.
func TestOOMScoreAdj(t *testing.T) {
	t.Parallel()
	b := newBox(t, "cat", "/proc/self/oom_score_adj")
	b.enter = []string{"sh", "-c", `echo 77 >/proc/self/oom_score_adj; exec "$0" "$@"`}
	if out := b.output(); out != "77\n" {
		t.Errorf("not set: %q, want the caller's 77", out)
	}
	b.spec.Process.OOMScoreAdj = ptr(543)
	if out := b.output(); out != "543\n" {
		t.Errorf("%q, want 543", out)
	}
	b.spec.Process.Args = []string{"sleep", "60"}
	if got := read(t, fmt.Sprintf("/proc/%d/oom_score_adj", b.up())); got != "543" {
		t.Errorf("from outside: %q", got)
	}
	if out := b.ok("exec", b.id, "cat", "/proc/self/oom_score_adj").out; out != "543\n" {
		t.Errorf("exec: %q", out)
	}
}

// TestEnv: process.env is the whole environment, in order; only HOME is added, which programs need. Of a name that is there twice, which
// POSIX leaves open, the last one stays.
func TestEnv(t *testing.T) {
	t.Parallel()
	b := newBox(t, "env")
	b.spec.Process.Env = []string{"A=1", "B=two words", "C==x=", "D=", "E=\nline", "PATH=/nowhere", "PATH=/bin"}
	want := "A=1\nB=two words\nC==x=\nD=\nE=\nline\nPATH=/bin\nHOME=/\n"
	if out := b.output(); out != want {
		t.Errorf("%q, want %q", out, want)
	}
	b.spec.Process.Env = []string{"HOME=/tmp"}
	b.spec.Process.Args = []string{"/bin/env"}
	if out := b.output(); out != "HOME=/tmp\n" {
		t.Errorf("%q", out)
	}
}

// TestCwd: it is entered, made if it is missing, and may be one that only the user of the process can enter.
func TestCwd(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.spec.Process.Cwd = "/new/dir/deep"
	same(t, b.report(), map[string]string{"cwd": "/new/dir/deep ok"})
	if _, err := os.Stat(b.path("rootfs/new/dir/deep")); err != nil {
		t.Error(err)
	}
	b.makeDir("rootfs/private")
	b.must(os.Chown(b.path("rootfs/private"), 1000, 1000))
	b.must(os.Chmod(b.path("rootfs/private"), 0o700))
	b.spec.Process.Cwd = "/private"
	b.spec.Process.User = specs.User{UID: 1000, GID: 1000}
	same(t, b.report(), map[string]string{"cwd": "/private ok"})

	b.must(os.Symlink("/private", b.path("rootfs/link")))
	b.spec.Process.Cwd = "/link"
	same(t, b.report(), map[string]string{"cwd": "/private ok"})

	b.spec.Process.Cwd = "relative"
	b.refused("process.cwd")
	b.spec.Process.Cwd = ""
	b.refused("process.cwd")
}

// TestArgs: as execvp(3): the name is looked up in the PATH of process.env, what has a slash is not, and the rest is handed over as it is.
func TestArgs(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.makeFile("rootfs/one/tool", "#!/bin/sh\necho one \"$0\" \"$@\"\n")
	b.makeFile("rootfs/two/tool", "#!/bin/sh\necho two \"$0\" \"$@\"\n")
	b.must(os.Chmod(b.path("rootfs/two/tool"), 0o755))
	b.spec.Process.Env = []string{"PATH=/none:/one:/two"}
	b.spec.Process.Args = []string{"tool", "a b", "", "-c", "'"}
	if out := b.output(); out != "two /two/tool a b  -c '\n" { // the one in /one is not executable
		t.Errorf("%q", out)
	}
	b.spec.Process.Args = []string{"two/tool"}
	if out := b.output(); out != "two two/tool\n" {
		t.Errorf("%q", out)
	}
	b.spec.Process.Args = []string{"nonesuch"}
	b.refused("nonesuch", "$PATH")
	b.spec.Process.Args = []string{"/one/tool"}
	b.refused("/one/tool", "permission denied")
	b.spec.Process.Args = []string{"/bin/nonesuch"}
	b.refused("/bin/nonesuch", "no such file")
	b.spec.Process.Args = nil
	b.refused("process.args")
}
