package engine

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

type explained struct {
	Level    string
	Weaker   []struct{ Flag, What string }
	Settings []struct{ Kind, What, Origin, Reason string }
	Parts    []struct {
		What, Origin, Reason string
		Steps                []struct {
			Step      int
			Call, Why string
		}
	}
}

func (l *line) explained(args ...string) (e explained) {
	l.t.Helper()
	r := l.do("", append([]string{"explain", "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(r.out), &e); err != nil || r.code != 0 {
		l.t.Fatalf("explain %v: %v: %+v", args, err, r)
	}
	return e
}

func (e *explained) has(kind, what, origin string) bool {
	for _, s := range e.Settings {
		if s.Kind == kind && strings.Contains(s.What, what) && s.Origin == origin {
			return true
		}
	}
	return false
}

// calls are the system calls of an explanation in order, without the container's own name.
func (e *explained) calls(id string) string {
	var b strings.Builder
	for _, p := range e.Parts {
		for _, s := range p.Steps {
			b.WriteString(strings.ReplaceAll(strings.ReplaceAll(s.Call, id, "ID"), id[:12], "NAME") + "\n")
		}
	}
	return b.String()
}

// TestExplainOrigins: each flag is named as the origin of what it changes, and what it does not change is the level's.
func TestExplainOrigins(t *testing.T) {
	l := newLine(t)
	l.do("", "ps") // makes the directories
	before := files(t, l.dir)
	for flags, want := range map[string][3]string{
		"":                                      {"mask", "/proc/keys", "level hardened"},
		"--hostname box":                        {"host name", "box", "--hostname box"},
		"--level untrusted":                     {"root", "read-only", "level untrusted"},
		"--read-only":                           {"root", "read-only", "--read-only"},
		"--cap-add NET_RAW":                     {"capability", "CAP_NET_RAW", "--cap-add NET_RAW"},
		"--cap-drop CHOWN":                      {"no capability", "CAP_CHOWN", "--cap-drop CHOWN"},
		"--cap-drop KILL":                       {"capability", "CAP_CHOWN", "level hardened"},
		"--privileged":                          {"seccomp", "no filter", "--privileged"},
		"--security-opt seccomp=unconfined":     {"seccomp", "no filter", "--security-opt seccomp=unconfined"},
		"--allow mqueue":                        {"seccomp", "mqueue", "--allow mqueue"},
		"--security-opt unmask=/proc/keys":      {"not mask", "/proc/keys", "--security-opt unmask=/proc/keys"},
		"--security-opt mask=/data":             {"mask", "/data", "--security-opt mask=/data"},
		"--network host":                        {"namespace", "network: the host's", "--network host"},
		"--userns host":                         {"namespace", "user: the host's", "--userns host"},
		"-v new:/data":                          {"mount", "/data: ", `--volume "new:/data"`},
		"--tmpfs /t":                            {"mount", "/t: tmpfs", `--tmpfs "/t"`},
		"-m 64m":                                {"limit", "memory 67108864", "--memory"},
		"--pids-limit 9":                        {"limit", "pids 9", "--pids-limit"},
		"--sysctl net.ipv4.ip_forward=1":        {"sysctl", "net.ipv4.ip_forward=1", "--sysctl net.ipv4.ip_forward"},
		"--ulimit nofile=64:64":                 {"rlimit", "nofile 64:64", "--ulimit nofile"},
		"--security-opt no-new-privileges=0":    {"no_new_privs", "off", "--security-opt no-new-privileges"},
		"-u 33":                                 {"user", "33:33", "--user 33"},
		"-w /tmp":                               {"directory", "/tmp", "--workdir /tmp"},
		"--device /dev/zero --userns host":      {"device", "/dev/zero c 1:5", "--device"},
		"--device /dev/zero:/dev/empty":         {"mount", "/dev/empty", "--device"},
		"--oom-score-adj 5":                     {"oom_score_adj", "5", "--oom-score-adj"},
		"--level compat":                        {"namespace", "user: the host's", "level compat"},
		"-v DIR/absent:/data":                   {"mount", "/data: DIR/absent", `--volume "DIR/absent:/data"`},
		"--entrypoint /bin/sleep --cpus 0.5 -t": {"limit", "cpu quota 50000", "--cpus, --cpu-quota"},
	} {
		args := append([]string{"--"}, strings.Fields(strings.ReplaceAll(flags, "DIR", l.dir))...)
		e := l.explained(append(args, "busybox", "sleep", "1000")...)
		if !e.has(want[0], strings.ReplaceAll(want[1], "DIR", l.dir), strings.ReplaceAll(want[2], "DIR", l.dir)) {
			t.Errorf("%s: nothing like %q in %+v", flags, want, e.Settings)
		}
		if len(e.Parts) < 20 {
			t.Errorf("%s: %d parts", flags, len(e.Parts))
		}
		for _, p := range e.Parts {
			if p.What == "" || p.Origin == "" || len(p.Steps) == 0 {
				t.Errorf("%s: %+v", flags, p)
			}
		}
	}
	if after := files(t, l.dir); after != before {
		t.Errorf("explain left something:\n%s\nbefore:\n%s", after, before)
	}
}

// files lists all that an engine has on disk.
func files(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", filepath.Join(dir, "root", "containers"), filepath.Join(dir, "root", "names"), filepath.Join(dir, "root", "ranges"), filepath.Join(dir, "root", "volumes"), filepath.Join(dir, "run"), dir, "-maxdepth", "1").CombinedOutput()
	if err != nil && !strings.Contains(string(out), "No such file") {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestExplainSame: what was explained before a container was made is what is explained of it, and of it running; and the runtime says the same of its bundle.
func TestExplainSame(t *testing.T) {
	l := newLine(t)
	ahead := l.explained("--", "--tmpfs", "/tmp", "-v", "vol:/data", "busybox", "sleep", "1000")
	id := strings.TrimSpace(l.do("", "create", "--name", "cc", "--tmpfs", "/tmp", "-v", "vol:/data", "busybox", "sleep", "1000").out)
	made := l.explained("cc")
	if r := l.do("", "start", "cc"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	running := l.explained("cc")
	if made.calls(id) != running.calls(id) {
		t.Errorf("made:\n%s\nrunning:\n%s", made.calls(id), running.calls(id))
	}
	a, b := strings.Split(ahead.calls(strings.Repeat("x", 64)), "\n"), strings.Split(made.calls(id), "\n")
	if len(a) != len(b) {
		t.Errorf("%d calls were foretold, and there are %d", len(a), len(b))
	}
	if r := l.do("", "explain", "cc"); r.code != 0 || !strings.Contains(r.out, "execve") || !strings.Contains(r.out, "[level hardened]") {
		t.Errorf("%d: %.500s %s", r.code, r.out, r.problems)
	}
	before := files(t, l.dir)
	if r := l.do("", "run", "--explain", "--rm", "-d", "--read-only", "busybox", "true"); r.code != 0 || !strings.Contains(r.out, "[--read-only]") || files(t, l.dir) != before {
		t.Errorf("run --explain: %d: %.500s %s", r.code, r.out, r.problems)
	}
	if r := l.do("", "explain", "--settings", "cc"); strings.Contains(r.out, "execve(") {
		t.Error("calls with --settings")
	}
	for text, args := range map[string][]string{
		"no such container": {"explain", "absent"}, "pull absent": {"explain", "--", "absent"}, "unknown capability": {"explain", "--", "--cap-add", "NO", "busybox", "true"},
		"unknown flag": {"explain", "--", "--nope", "busybox"},
	} {
		if r := l.do("", args...); r.code != 125 || !strings.Contains(r.problems, text) {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
