package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
)

// TestRun: output, error output, input, exit codes, environment.
func TestRun(t *testing.T) {
	e := newEngine(t)
	if r := e.run(nil, "", "sh", "-c", "echo out; echo err >&2; exit 7"); r != (result{"out\n", "err\n", 7}) {
		t.Errorf("%+v", r)
	}
	if r := e.run(nil, "a\nb\n", "sort", "-r"); r != (result{"b\na\n", "", 0}) {
		t.Errorf("%+v", r)
	}
	r := e.run(func(q *option.Create) { q.Config.Env, q.Config.Hostname = []string{"A=b"}, "box" }, "", "sh", "-c", "echo $A $IMAGE $HOME; hostname; cat /etc/hostname; id -u; grep NoNewPrivs /proc/self/status")
	if r.out != "b yes /root\nbox\nbox\n0\nNoNewPrivs:\t1\n" || r.code != 0 {
		t.Errorf("%+v", r)
	}
	if r := e.run(func(q *option.Create) { q.Config.User = "www" }, "", "sh", "-c", "id -u; echo $HOME"); r.out != "33\n/data\n" {
		t.Errorf("%+v", r)
	}
	id := e.create(nil, "sleep", "1000")
	if err := e.Start(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if err := e.Kill(context.Background(), id, "KILL"); err != nil {
		t.Error(err)
	}
	if code, err := e.exit(id); code != 137 || err != nil {
		t.Errorf("killed: %d, %v", code, err)
	}
	if r := e.run(nil, "", "sh", "-c", "seq 1 100000 | wc -l; seq 1 20000"); !strings.HasPrefix(r.out, "100000\n1\n") || !strings.HasSuffix(r.out, "\n20000\n") {
		t.Errorf("%d bytes of output", len(r.out))
	}
	if r := e.run(func(q *option.Create) { q.Config.Tty = true }, "", "sh", "-c", "test -t 1 && echo terminal"); r.out != "terminal\r\n" {
		t.Errorf("%+v", r)
	}
}

// TestWritable: what a container writes stays its own, from one run to the next.
func TestWritable(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.create(nil, "sh", "-c", "echo x >>/data/file; cat /data/file | wc -l")
	for range 2 {
		if err := e.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
		if code, err := e.exit(id); code != 0 || err != nil {
			t.Fatalf("%d, %v", code, err)
		}
	}
	b, err := os.ReadFile(e.LogPath(id))
	if err != nil || !strings.Contains(string(b), `{"log":"1\n","stream":"stdout"`) || !strings.Contains(string(b), `{"log":"2\n"`) {
		t.Errorf("%s, %v", b, err)
	}
	if r := e.run(nil, "", "ls", "/data"); r.out != "" {
		t.Errorf("another container sees %q", r.out)
	}
}

// TestStop: a program that ends when asked to does so at once, another is killed when its time is over.
func TestStop(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	second := time.Second
	polite := e.create(nil, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")
	rude := e.create(func(q *option.Create) { q.Host.RestartPolicy.Name = "always" }, "sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
	for id, want := range map[string]int{polite: 3, rude: 137} {
		if err := e.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		if c, err := e.Get(id); err != nil || !c.Alive || c.State.Phase != control.Running || c.State.PID == 0 {
			t.Fatalf("%+v, %v", c, err)
		}
		if err := e.Remove(ctx, id, option.Remove{}); !errdef.Is(err, errdef.Conflict) {
			t.Errorf("removed while it runs: %v", err)
		}
		if err := e.Stop(ctx, id, option.Stop{Timeout: &second}); err != nil {
			t.Error(err)
		}
		if c, err := e.Get(id); err != nil || c.State.Phase != control.Exited || c.State.ExitCode != want || !c.State.ByHand {
			t.Errorf("%+v, %v", c, err)
		}
	}
}

// TestRestart: on-failure tries as often as it says.
func TestRestart(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.create(func(q *option.Create) {
		q.Host.RestartPolicy = api.RestartPolicy{Name: "on-failure", MaximumRetryCount: 2}
	}, "sh", "-c", "echo run >>/data/runs; exit 4")
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	if code, err := e.exit(id); code != 4 || err != nil { // of the run that was under way
		t.Errorf("%d, %v", code, err)
	}
	e.until("the end of the last run", func() bool {
		c, err := e.Get(id)
		return err == nil && c.State.Restarts == 2 && c.State.Phase == control.Exited && c.State.ExitCode == 4
	})
	b, err := os.ReadFile(filepath.Join(e.dir, "root", "containers", id, "fs", "upper", "data", "runs"))
	if err != nil || strings.Count(string(b), "run") != 3 {
		t.Errorf("%q, %v", b, err)
	}
}

// TestFailures: what cannot start is one error with Docker's exit code, and can be removed.
func TestFailures(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	for _, test := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"no-such-program"}, 127, "no-such-program"},
		{[]string{"/etc/passwd"}, 126, "/etc/passwd"},
	} {
		id := e.create(nil, test.args...)
		err := e.Start(ctx, id)
		if err == nil || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%v: %v", test.args, err)
		}
		c, err := e.Get(id)
		if err != nil || c.State.ExitCode != test.code || c.Alive {
			t.Errorf("%v: %+v, %v", test.args, c, err)
		}
		if err := e.Remove(ctx, id, option.Remove{}); err != nil {
			t.Error(err)
		}
	}
	if _, err := e.Create(ctx, option.Create{Name: "no name", Config: api.Config{Image: "busybox"}}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("%v", err)
	}
	name := func(q *option.Create) { q.Name = "web" }
	id := e.create(name, "true")
	if _, err := e.Create(ctx, option.Create{Name: "web", Config: api.Config{Image: "busybox"}}); !errdef.Is(err, errdef.Exists) || errdef.Hint(err) == "" {
		t.Errorf("a name twice: %v", err)
	}
	if err := e.Remove(ctx, "web", option.Remove{}); err != nil {
		t.Error(err)
	}
	if _, err := e.Get(id); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("%v", err)
	}
	e.create(name, "true")
}

// TestMonitorKilled: the next command finds the container without a monitor, ends it, and says so.
func TestMonitorKilled(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.create(nil, "sleep", "1000")
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	c, err := e.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(c.State.Monitor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if time.Sleep(20 * time.Millisecond); !control.Alive(filepath.Join(e.dir, "run", id)) {
			break
		}
	}
	after, err := e.Get(id)
	if err != nil || after.State.Phase != control.Exited || after.State.ExitCode != 137 {
		t.Errorf("%+v, %v", after, err)
	}
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.State.PID)); err == nil && !strings.Contains(string(b), ") Z ") { // a zombie is nobody's child here
		t.Errorf("the program still runs: %s", b)
	}
	if err := e.Start(ctx, id); err != nil {
		t.Errorf("it does not start again: %v", err)
	}
}

// TestClosed: what a container writes is out of reach of the host's users, whatever its mode.
func TestClosed(t *testing.T) {
	e := newEngine(t)
	for _, dir := range []string{"root", "root/containers", "root/volumes", "root/images", "root/snapshots"} {
		st, err := os.Stat(filepath.Join(e.dir, dir))
		if err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, st.Mode(), err)
		}
	}
}
