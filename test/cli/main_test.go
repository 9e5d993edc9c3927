package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/built"
	"github.com/bulkhead-engine/bulkhead/test/need"
	"github.com/bulkhead-engine/bulkhead/test/netspace"
	"github.com/bulkhead-engine/bulkhead/test/registryserver"
)

var program string // bulkhead, with bulkhead-unpack beside

func TestMain(m *testing.M) {
	netspace.Alone()
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bulkhead-cli-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := built.Commands(dir, "bulkhead", "bulkhead-unpack"); err != nil {
		fmt.Println(err)
		return 1
	}
	program = filepath.Join(dir, "bulkhead")
	code := m.Run()
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), "/TestCLI") {
		fmt.Println("left behind: a mount", err)
		code = 1
	}
	return code
}

// An engine is a root with a home.
type engine struct {
	testing.TB
	root, home string
	env        []string
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	e := &engine{TB: t, root: filepath.Join(t.TempDir(), "root"), home: t.TempDir()}
	e.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.home, "XDG_RUNTIME_DIR=" + e.home, "TERM=xterm", "TZ=UTC"}
	t.Cleanup(func() { e.try("image", "umount", "--all") })
	return e
}

// A result is what a command left.
type result struct {
	out, err string
	code     int
}

// command makes a command of the engine. It is killed after a minute.
func (e *engine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, append([]string{"--root", e.root, "--runroot", e.root + "-run"}, args...)...)
	cmd.Env = e.env
	cmd.Dir = e.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// try runs a command.
func (e *engine) try(args ...string) result { return e.feed(nil, args...) }

// feed runs a command with standard input.
func (e *engine) feed(in []byte, args ...string) result {
	e.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := e.command(ctx, args...)
	cmd.Stdin = bytes.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	code := status(e, cmd.Run())
	return result{out.String(), errs.String(), code}
}

// status is the exit status, as a shell has it.
func status(t testing.TB, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		t.Fatal(err)
	case exit.ExitCode() < 0:
		return 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
	}
	return exit.ExitCode()
}

// ok runs a command that must work and returns its standard output.
func (e *engine) ok(args ...string) string {
	e.Helper()
	r := e.try(args...)
	if r.code != 0 {
		e.Fatalf("bulkhead %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// fails runs a command that must end with the status and say each of the texts.
func (e *engine) fails(code int, args []string, texts ...string) result {
	e.Helper()
	r := e.try(args...)
	e.said(r, code, "bulkhead "+strings.Join(args, " "), texts...)
	return r
}

func (e *engine) said(r result, code int, what string, texts ...string) {
	e.Helper()
	if r.code != code {
		e.Errorf("%s: exit %d, want %d\n%s%s", what, r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.err, text) {
			e.Errorf("%s: said %q, want %q", what, r.err, text)
		}
	}
	for _, line := range strings.Split(strings.TrimSuffix(r.err, "\n"), "\n") {
		if line != "" && !strings.HasPrefix(line, "bulkhead: ") && !strings.HasPrefix(line, "hint: ") {
			e.Errorf("%s: a line of another style: %q", what, line)
		}
	}
}

// clean checks that the store has no fault.
func (e *engine) clean() {
	e.Helper()
	if r := e.try("image", "fsck"); r.code != 0 || !strings.Contains(r.out, " 0 problems") {
		e.Errorf("fsck: exit %d\n%s%s", r.code, r.out, r.err)
	}
}

// registry starts Debian's registry for the time of a test, with more lines of configuration, and returns its address.
func registry(t testing.TB, more string) string {
	t.Helper()
	need.Program(t, registryserver.Program)
	s, err := registryserver.Start(t.TempDir(), more)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Address
}

// peer runs another program with a home of its own.
func peer(t testing.TB, args ...string) string {
	t.Helper()
	path := need.Program(t, args[0])
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + home}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// skopeo runs skopeo.
func skopeo(t testing.TB, args ...string) string {
	t.Helper()
	return peer(t, append([]string{"skopeo", "--insecure-policy"}, args...)...)
}
