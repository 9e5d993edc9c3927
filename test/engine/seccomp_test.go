package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestSeccompNeeds: what lint calls needed for a program to start is so: with it denied a real program of the host, linked dynamically, does not start, and with another call
// denied it does.
func TestSeccompNeeds(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the loader's path is x86_64's")
	}
	loader, err := filepath.EvalSymlinks("/lib64/ld-linux-x86-64.so.2")
	if err != nil {
		t.Skip("this host has no loader of the GNU C library")
	}
	cat, err := filepath.EvalSymlinks("/bin/cat")
	if err != nil {
		t.Fatal(err)
	}
	l := newLine(t)
	profile := filepath.Join(l.dir, "p.json")
	start := func(denied string) (starts bool, lint string) {
		text := fmt.Sprintf(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["%s"],"action":"SCMP_ACT_ERRNO"}]}`, strings.Join(strings.Fields(denied), `","`))
		if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := l.do("", "run", "--rm", "--security-opt", "seccomp="+profile, "-v", "/:/host:ro", "busybox", "/host"+loader, "--library-path", "/host"+filepath.Dir(loader), "/host"+cat, "/etc/passwd")
		return r.code == 0 && strings.Contains(r.out, "root:"), l.do("", "seccomp", "lint", profile).out
	}
	for _, harmless := range []string{"acct", "getrandom rseq set_robust_list prlimit64"} {
		if starts, lint := start(harmless); !starts || strings.Contains(lint, "error:") {
			t.Errorf("without %s: %v: %s", harmless, starts, lint)
		}
	}
	for _, needed := range []string{"execve", "exit_group", "mmap", "openat open", "read", "fstat newfstatat statx", "mprotect", "arch_prctl"} {
		starts, lint := start(needed)
		if starts && needed != "exit_group" { // without it a program ends by a fault, after its work
			t.Errorf("without %s the program starts", needed)
		}
		if !strings.Contains(lint, "error:") {
			t.Errorf("without %s: %s", needed, lint)
		}
	}
}

// TestSeccompCommands: lint, compile and diff of the command line.
func TestSeccompCommands(t *testing.T) {
	l := newLine(t)
	profile := filepath.Join(l.dir, "p.json")
	if err := os.WriteFile(profile, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["bpf","\u001b[2J"],"action":"SCMP_ACT_ERRNO"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := l.do("", "seccomp", "lint", "hardened", profile)
	if r.code != 0 || !strings.Contains(r.out, "what is not named is allowed") || strings.Contains(r.out, "\x1b") {
		t.Errorf("%+v", r)
	}
	if r := l.do(`{"defaultAction":"SCMP_ACT_ERRNO"}`, "seccomp", "lint", "-"); r.code != 1 || !strings.Contains(r.out, "error: execve") {
		t.Errorf("%+v", r)
	}
	if r := l.do("", "seccomp", "diff", "hardened", "hardened"); r.code != 0 || r.out != "" {
		t.Errorf("%+v", r)
	}
	if r := l.do("", "seccomp", "diff", "hardened", profile); r.code != 1 || !strings.Contains(r.out, "mount") {
		t.Errorf("%+v", r)
	}
	var d struct{ Call, A, B string }
	r = l.do("", "seccomp", "diff", "--format", "json", profile, "untrusted")
	if line, _, _ := strings.Cut(r.out, "\n"); json.Unmarshal([]byte(line), &d) != nil || d.Call == "" {
		t.Errorf("%.300s", r.out)
	}
	out := filepath.Join(l.dir, "p.bpf")
	if r := l.do("", "seccomp", "compile", "-o", out, profile); r.code != 0 {
		t.Errorf("%+v", r)
	}
	st, err := os.Stat(out)
	if err != nil || st.Size() == 0 || st.Size()%8 != 0 {
		t.Errorf("%v, %v", st, err)
	}
	if r := l.do("", "seccomp", "compile", profile); r.code != 0 || strings.Count(r.out, "\n") != int(st.Size()/8)+1 {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{{"lint", "absent.json"}, {"compile", "/"}, {"diff", "hardened", "absent.json"}, {"nothing"}} {
		if r := l.do("", append([]string{"seccomp"}, args...)...); r.code == 0 || r.problems == "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
