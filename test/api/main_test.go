package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/daemon"
	"github.com/bulkhead-engine/bulkhead/test/built"
	"github.com/bulkhead-engine/bulkhead/test/need"
	"github.com/bulkhead-engine/bulkhead/test/netspace"
)

var programs string // directory of what the engine starts

func TestMain(m *testing.M) {
	netspace.Alone()
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bulkhead-api-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := built.Commands(dir, "bulkhead-monitor", "bulkhead-unpack"); err != nil {
		fmt.Println(err)
		return 1
	}
	programs = dir
	code := m.Run()
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), "/TestAPI") {
		fmt.Println("left behind: a mount", err)
		code = 1
	}
	return code
}

// clients are the docker commands of this machine: Debian's, and a newer one.
func clients(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, path := range map[string]string{"debian": "/usr/bin/docker", "newer": "/usr/local/bin/docker"} {
		if st, err := os.Stat(path); err == nil && st.Mode()&0o111 != 0 {
			out[name] = path
		}
	}
	if len(out) == 0 {
		need.Program(t, "docker")
	}
	return out
}

// each runs a test with every docker command there is, against an engine of its own.
func each(t *testing.T, f func(t *testing.T, e *engine)) {
	for name, path := range clients(t) {
		t.Run(name, func(t *testing.T) { f(t, newEngine(t, path)) })
	}
}

// An engine serves on a socket, and has a docker command to be spoken to with.
type engine struct {
	testing.TB
	root, run, socket, home, docker string
}

func newEngine(t testing.TB, docker string) *engine {
	t.Helper()
	dir := t.TempDir()
	short, err := os.MkdirTemp("", "api-") // a path of a socket has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	if err := os.Chmod(short, 0o755); err != nil { // a container's root passes through, who is nobody outside
		t.Fatal(err)
	}
	e := &engine{TB: t, root: filepath.Join(dir, "root"), run: filepath.Join(short, "run"), socket: filepath.Join(short, "s"), home: t.TempDir(), docker: docker}
	engine, err := daemon.Open(daemon.Options{Root: e.root, Run: e.run, Product: "0.0-test", Programs: programs, Warn: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", e.socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- engine.Serve(l) }()
	t.Cleanup(func() {
		if err := errors.Join(engine.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	return e
}

// A result is what a command left.
type result struct {
	out, err string
	code     int
}

// command makes a docker command that speaks to the engine. It is killed when the context ends.
func (e *engine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.docker, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + e.home, "DOCKER_HOST=unix://" + e.socket, "TERM=dumb", "TZ=UTC"}
	cmd.Dir = e.home
	// No Pdeathsig: it comes when the thread ends that has made the child, and threads of the engine in this process do.
	return cmd
}

// try runs a command, at most for a minute.
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
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		e.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// ok runs a command that must work and returns its standard output.
func (e *engine) ok(args ...string) string {
	e.Helper()
	r := e.try(args...)
	if r.code != 0 {
		e.Fatalf("docker %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// fails runs a command that must fail and say each of the texts.
func (e *engine) fails(args []string, texts ...string) {
	e.Helper()
	r := e.try(args...)
	if r.code == 0 {
		e.Errorf("docker %s: it works\n%s", strings.Join(args, " "), r.out)
	}
	for _, text := range texts {
		if !strings.Contains(r.err, text) {
			e.Errorf("docker %s: said %q, want %q", strings.Join(args, " "), r.err, text)
		}
	}
}
