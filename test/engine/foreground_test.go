package engine

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/terminal"
)

// screen starts a command on a terminal of 30 rows and 100 columns.
func (l *line) screen(args ...string) *terminal.Screen {
	l.t.Helper()
	return terminal.Start(l.t, l.command(args...))
}

// TestForegroundTerminal: a shell on a terminal: its size, its changes, detaching, coming back, the exit status, and the terminal afterwards.
func TestForegroundTerminal(t *testing.T) {
	l := newLine(t)
	s := l.screen("run", "-it", "--name", "shell", "busybox", "sh")
	s.Write("echo rea''dy; stty size\r")
	s.Wait("ready")
	s.Wait("30 100")
	s.WaitSilent() // it is raw
	s.Resize(40, 120)
	s.Until("stty size\r", "40 120")
	s.Write("\x10\x11")
	if code := s.End(); code != 0 || !s.Cooked {
		t.Errorf("detached: status %d, terminal given back: %v", code, s.Cooked)
	}
	if r := l.do("", "inspect", "-f", "{{.State.Running}}", "shell"); r.out != "true\n" {
		t.Errorf("after detaching: %+v", r)
	}
	s = l.screen("attach", "--detach-keys", "ctrl-x,d", "shell")
	s.Write("echo aga''in\r")
	s.Wait("again")
	s.Write("\x18d")
	if code := s.End(); code != 0 || !s.Cooked {
		t.Errorf("detached again: status %d, terminal given back: %v", code, s.Cooked)
	}
	s = l.screen("exec", "-it", "shell", "sh")
	s.Write("tty; exit 6\r")
	s.Wait("/dev/pts/")
	if code := s.End(); code != 6 || !s.Cooked {
		t.Errorf("exec: status %d, terminal given back: %v", code, s.Cooked)
	}
	s = l.screen("attach", "shell")
	s.Write("exit 5\r")
	if code := s.End(); code != 5 || !s.Cooked {
		t.Errorf("attach to its end: status %d, terminal given back: %v: %q", code, s.Cooked, s.Text())
	}
	s = l.screen("start", "-ai", "shell")
	s.Write("echo third; kill -9 $$\r")
	s.WaitTimes("third", 2)
	s.Write("exit 3\r")
	if code := s.End(); code != 3 || !s.Cooked {
		t.Errorf("start -ai: status %d, terminal given back: %v: %q", code, s.Cooked, s.Text())
	}
	s = l.screen("run", "--rm", "-it", "busybox", "no-such-program")
	if code := s.End(); code != 127 || !s.Cooked {
		t.Errorf("a program that is not there: status %d, terminal given back: %v", code, s.Cooked)
	}
	s = l.screen("run", "--rm", "-it", "busybox", "sh", "-c", "echo up; sleep 100")
	s.Wait("up")
	s.Signal(syscall.SIGTERM)
	if code := s.End(); code != 143 || !s.Cooked {
		t.Errorf("SIGTERM with a terminal: status %d, terminal given back: %v", code, s.Cooked)
	}
	if r := l.do("x", "run", "--rm", "-it", "busybox", "true"); r.code != 125 || !strings.Contains(r.problems, "not a TTY") {
		t.Errorf("-it without a terminal: %+v", r)
	}
}

// running runs a command until it has printed something.
func (l *line) running(text string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	l.t.Helper()
	cmd := l.command(args...)
	var out bytes.Buffer
	var mu sync.Mutex
	cmd.Stdout = &locked{w: &out, mu: &mu}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	for range 1600 {
		mu.Lock()
		seen := strings.Contains(out.String(), text)
		mu.Unlock()
		if seen {
			return cmd, &out
		}
		time.Sleep(25 * time.Millisecond)
	}
	l.t.Errorf("%v does not print %q", args, text)
	return cmd, &out
}

type locked struct {
	w  *bytes.Buffer
	mu *sync.Mutex
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// ended waits for a command, a minute at most.
func ended(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // the status is looked at
	if !timer.Stop() {
		t.Errorf("%v hangs", cmd.Args[5:])
	}
	return cmd.ProcessState.ExitCode()
}

// TestForegroundSignals: signals go to the program, and the command ends as it does; the third is the command's own; without the proxy the first is.
func TestForegroundSignals(t *testing.T) {
	l := newLine(t)
	loop := "; echo up; while :; do sleep 0.05; done"
	for _, c := range []struct {
		script string
		signal syscall.Signal
		code   int
	}{
		{"trap 'echo got; exit 7' TERM", syscall.SIGTERM, 7},
		{"trap 'echo got; exit 8' INT", syscall.SIGINT, 8},
		{"trap 'echo got; exit 9' USR1", syscall.SIGUSR1, 9},
		{"trap 'echo got; exit 10' HUP", syscall.SIGHUP, 10},
	} {
		cmd, out := l.running("up", "run", "--rm", "busybox", "sh", "-c", c.script+loop)
		_ = cmd.Process.Signal(c.signal)
		if code := ended(t, cmd); code != c.code || !strings.Contains(out.String(), "got") {
			t.Errorf("%v: status %d, want %d: %q", c.signal, code, c.code, out)
		}
	}
	cmd, _ := l.running("up", "run", "--name", "deaf", "busybox", "sh", "-c", "trap '' INT"+loop)
	for range 3 {
		_ = cmd.Process.Signal(syscall.SIGINT)
		time.Sleep(100 * time.Millisecond)
	}
	if code := ended(t, cmd); code != 130 {
		t.Errorf("the third ^C: status %d", code)
	}
	cmd, _ = l.running("up", "run", "--sig-proxy=false", "--name", "other", "busybox", "sh", "-c", "trap 'exit 3' TERM"+loop)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if code := ended(t, cmd); code != 143 {
		t.Errorf("without the proxy: status %d", code)
	}
	if r := l.do("", "ps", "--format", "{{.Names}}"); !strings.Contains(r.out, "deaf\n") || !strings.Contains(r.out, "other\n") {
		t.Errorf("they do not run any more: %+v", r)
	}
}

// TestForegroundStreams: what is attached, and what a reader that goes away leads to.
func TestForegroundStreams(t *testing.T) {
	l := newLine(t)
	both := "echo out; echo problem >&2"
	for _, c := range []struct {
		args          []string
		stdin         string
		out, problems string
		code          int
	}{
		{[]string{"-a", "stdout"}, "", "out\n", "", 0},
		{[]string{"-a", "stderr"}, "", "", "problem\n", 0},
		{[]string{"-a", "stdout", "-a", "STDERR"}, "", "out\n", "problem\n", 0},
		{[]string{"-t"}, "", "out\r\nproblem\r\n", "", 0},
		{nil, "not read", "out\n", "problem\n", 0},
	} {
		r := l.do(c.stdin, append(append([]string{"run", "--rm"}, c.args...), "busybox", "sh", "-c", both)...)
		if r.out != c.out || r.problems != c.problems || r.code != c.code {
			t.Errorf("%v: %+v", c.args, r)
		}
	}
	if r := l.do("", "run", "-d", "-a", "stdout", "busybox"); r.code != 125 || !strings.Contains(r.problems, "conflicting options") {
		t.Errorf("%+v", r)
	}
	data := strings.Repeat("0123456789abcdef", 1<<16)
	if r := l.do(data, "run", "-i", "--rm", "busybox", "cat"); r.out != data {
		t.Errorf("%d bytes of %d come back: %s", len(r.out), len(data), r.problems)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	script := `"$0" --root "$1/root" --runroot "$1/run" run --name loud busybox yes | head -1; echo ${PIPESTATUS[*]}`
	out, err := exec.CommandContext(ctx, "bash", "-c", script, l.program, l.dir).CombinedOutput()
	if err != nil || string(out) != "y\n141 0\n" {
		t.Errorf("a reader that went away: %q %v", out, err)
	}
	cid := filepath.Join(l.dir, "cid")
	if r := l.do("", "run", "--cidfile", cid, "--rm", "busybox", "true"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if b, err := os.ReadFile(cid); err != nil || len(b) != 64 {
		t.Errorf("%q %v", b, err)
	}
	if r := l.do("", "run", "--cidfile", cid, "--name", "second", "busybox", "true"); r.code != 125 || !strings.Contains(r.problems, "there already") {
		t.Errorf("%+v", r)
	}
	if r := l.do("", "ps", "-a", "--filter", "name=second", "-q"); r.out != "" {
		t.Errorf("a container was made all the same: %+v", r)
	}
}

// TestMistypedNames: a name that is near another is answered with it, and completion knows the names, by what can be done with each.
func TestMistypedNames(t *testing.T) {
	l := newLine(t)
	l.do("", "run", "-d", "--name", "webserver", "busybox", "sleep", "1000")
	l.do("", "create", "--name", "waiting", "busybox", "true")
	for _, args := range [][]string{{"stop", "webserevr"}, {"exec", "websrver", "true"}, {"logs", "webservr"}, {"start", "-a", "webserverr"}, {"wait", "webserve"}, {"top", "wbserver"}, {"attach", "webserfer"}} {
		if r := l.do("", args...); r.code != 1 || !strings.Contains(r.problems, "no such container") || !strings.Contains(r.problems, "hint: did you mean webserver?") {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := l.do("", "stop", "something-else"); strings.Contains(r.problems, "did you mean") {
		t.Errorf("%+v", r)
	}
	for line, want := range map[string]string{"stop ": "webserver", "start ": "waiting", "rm w": "waiting webserver", "exec web": "webserver", "inspect we": "webserver", "run --pull n": "never newer", "cp web": "webserver:"} {
		var got []string
		for _, w := range strings.Split(l.do("", append([]string{"__complete"}, strings.Split(line, " ")...)...).out, "\n") {
			if word, _, _ := strings.Cut(w, "\t"); word != "" && !strings.HasPrefix(word, ":") {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
