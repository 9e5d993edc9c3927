package pid1

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/need"
)

// installed writes the program.
func installed(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(path, Image(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func code(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit == nil {
		return 0
	}
	return exit.ExitCode()
}

// calls are command lines and what comes of them.
var calls = []struct {
	env  []string
	args []string
	code int
	out  string
}{
	{nil, []string{"--", "sh", "-c", "echo hi; exit 7"}, 7, "hi\n"},
	{nil, []string{"--", "/bin/sh", "-c", "echo $#-$0-$1", "a b", ""}, 0, "1-a b-\n"},
	{nil, []string{"--", "sh", "-c", "kill -9 $$"}, 137, ""},
	{nil, []string{"--", "sh", "-c", "kill -TERM $$"}, 143, ""},
	{nil, []string{"--", "sh", "-c", "grep SigBlk /proc/self/status"}, 0, "SigBlk:\t0000000000000000\n"},
	{nil, []string{"--", "no-such-program"}, 127, "cannot execute: no-such-program\n"},
	{nil, []string{"--", "/no/such"}, 127, "cannot execute: /no/such\n"},
	{nil, []string{"--", "/etc/passwd/x"}, 127, "cannot execute: /etc/passwd/x\n"},
	{nil, []string{"--", "/etc/passwd"}, 126, "cannot execute: /etc/passwd\n"},
	{[]string{"PATH=/etc:/bin"}, []string{"--", "hosts"}, 126, "cannot execute: hosts\n"}, // one that cannot be executed is remembered, and looked past
	{[]string{"PATH=/etc/passwd:/no/such:/bin"}, []string{"--", "sh", "-c", "echo found"}, 0, "found\n"},
	{[]string{"P=1", "PATHS=/x", "PATH=" + strings.Repeat("/x", 5000) + ":/bin"}, []string{"--", "sh", "-c", "echo found"}, 0, "found\n"},
	{[]string{"X=1"}, []string{"--", "sh"}, 127, "cannot execute: sh\n"},
	{nil, []string{"--", strings.Repeat("n", 9000)}, 127, "cannot execute: " + strings.Repeat("n", 3824-16) + "\n"},
	{nil, []string{"--"}, 125, ""},
	{nil, nil, 125, ""},
}

func TestCalls(t *testing.T) {
	path := installed(t)
	if n := len(Image()); n > 1024 {
		t.Errorf("%d bytes", n)
	}
	for _, c := range calls {
		cmd := exec.Command(path, c.args...)
		cmd.Env = c.env
		if c.env == nil {
			cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		}
		out, err := cmd.CombinedOutput()
		if got := code(t, err); got != c.code || string(out) != c.out && len(c.out) < 1000 || !strings.HasPrefix(string(out), c.out[:min(len(c.out), 1000)]) {
			t.Errorf("%.80q: %d, %.200q; want %d, %.200q", c.args, got, out, c.code, c.out)
		}
	}
}

// TestSignals: each signal that a program can catch is passed on, and those that job control sends do not stop the one that passes them on.
func TestSignals(t *testing.T) {
	path := installed(t)
	cmd := exec.Command(path, "--", "bash", "-c", `for s in HUP INT QUIT USR1 USR2 TERM WINCH CONT TSTP TTIN TTOU ALRM; do trap "echo $s" $s; done; trap 'exit 5' RTMIN; echo ready; while :; do sleep 0.05; done`)
	var out bytes.Buffer
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	buf := make([]byte, 4096)
	read := func(want string) {
		t.Helper()
		for !strings.Contains(out.String(), want+"\n") {
			n, err := r.Read(buf)
			out.Write(buf[:n])
			if err != nil {
				t.Fatalf("%s does not arrive: %q", want, out.String())
			}
		}
	}
	read("ready")
	for name, sig := range map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "TERM": syscall.SIGTERM, "WINCH": syscall.SIGWINCH,
		"CONT": syscall.SIGCONT, "TSTP": syscall.SIGTSTP, "TTIN": syscall.SIGTTIN, "TTOU": syscall.SIGTTOU, "ALRM": syscall.SIGALRM,
	} {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		read(name)
	}
	if err := cmd.Process.Signal(syscall.Signal(34)); err != nil {
		t.Fatal(err)
	}
	if got := code(t, cmd.Wait()); got != 5 {
		t.Errorf("%d", got)
	}
}

// TestFirst: as the first process of a pid namespace it reaps what is nobody's any more, gets signals from outside, and costs next to nothing.
func TestFirst(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	cmd := exec.Command(installed(t), "--", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.01 &); done; trap 'exit 6' TERM; echo up; while :; do sleep 0.05; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	if _, err := r.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	children := func() string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
		if err != nil {
			t.Skip(err)
		}
		return strings.TrimSpace(string(b))
	}
	for range 200 {
		if !strings.Contains(children(), " ") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if c := children(); strings.Contains(c, " ") {
		t.Errorf("not reaped: %s", c)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", cmd.Process.Pid))
	if err == nil {
		var kb int
		for line := range strings.Lines(string(status)) {
			if _, err := fmt.Sscanf(line, "Rss: %d kB", &kb); err == nil {
				break
			}
		}
		if t.Logf("%d KiB of memory", kb); kb > 64 {
			t.Errorf("%d KiB of memory", kb)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := code(t, cmd.Wait()); got != 6 {
		t.Errorf("%d", got)
	}
}

// TestOther runs the calls with the program for the other architecture, where QEMU is.
func TestOther(t *testing.T) {
	if runtime.GOARCH != "amd64" || os.Getenv("PID1_IMAGE") != "" {
		t.Skip("the other architecture is arm64")
	}
	qemu := need.Program(t, "qemu-aarch64")
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	build := exec.Command("go", "test", "-c", "-o", filepath.Join(dir, "test"), ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write := exec.Command(qemu, filepath.Join(dir, "test"), "-test.run", "^TestWrite$")
	write.Env = append(os.Environ(), "PID1_IMAGE="+filepath.Join(dir, "init"))
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range calls {
		cmd := exec.Command(qemu, append([]string{filepath.Join(dir, "init")}, c.args...)...)
		cmd.Env = c.env
		if c.env == nil {
			cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		}
		out, err := cmd.CombinedOutput()
		if got := code(t, err); got != c.code || !strings.HasPrefix(string(out), c.out[:min(len(c.out), 1000)]) {
			t.Errorf("%.80q: %d, %.200q; want %d, %.200q", c.args, got, out, c.code, c.out)
		}
	}
}

// TestWrite is the part of TestOther that runs in QEMU.
func TestWrite(t *testing.T) {
	path := os.Getenv("PID1_IMAGE")
	if path == "" {
		t.Skip("is for TestOther")
	}
	if err := os.WriteFile(path, Image(), 0o755); err != nil {
		t.Fatal(err)
	}
}
