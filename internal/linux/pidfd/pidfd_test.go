package pidfd

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"golang.org/x/sys/unix"
)

// child starts a shell command. It is not waited for with os/exec: the tests reap it through its descriptor.
func child(t *testing.T, script string) (Process, int) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Signal(unix.SIGKILL)
		p.Wait()
		p.Close()
	})
	return p, cmd.Process.Pid
}

func TestWait(t *testing.T) {
	for script, want := range map[string]unix.WaitStatus{
		"exit 0": 0, "exit 7": 7 << 8, "exit 255": 255 << 8, "kill -KILL $$": unix.WaitStatus(unix.SIGKILL), "kill -TERM $$": unix.WaitStatus(unix.SIGTERM),
	} {
		p, _ := child(t, script)
		got, err := p.Wait()
		if err != nil || got != want {
			t.Errorf("%s: got %#x, %v; want %#x", script, got, err, want)
		}
		if _, err := p.Wait(); !errdef.Is(err, errdef.NotFound) {
			t.Errorf("%s: second wait: %v", script, err)
		}
	}
}

func TestLife(t *testing.T) {
	p, pid := child(t, "sleep 60")
	if !p.Alive() {
		t.Error("a running process counts as dead")
	}
	if _, done, err := p.TryWait(); done || err != nil {
		t.Errorf("try wait: %v, %v", done, err)
	}
	start := time.Now() // before the deadline is set: a busy machine takes its time in between
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Await(ctx); !errors.Is(err, context.DeadlineExceeded) || !errdef.Is(err, errdef.Timeout) {
		t.Errorf("await: %v", err)
	}
	if d := time.Since(start); d < 19*time.Millisecond {
		t.Errorf("await gave up after %v", d)
	}
	proc, err := procfs.Host()
	if err != nil {
		t.Fatal(err)
	}
	st, err := proc.Stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := OpenVerified(pid, st.StartTime); err != nil {
		t.Error(err)
	} else {
		q.Close()
	}
	if _, err := OpenVerified(pid, st.StartTime+1); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("another start time: %v", err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Await(context.Background()); err != nil {
		t.Error(err)
	}
	if p.Alive() {
		t.Error("a zombie counts as alive")
	}
	if _, err := OpenVerified(pid, st.StartTime); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a zombie: %v", err)
	}
	if status, done, err := p.TryWait(); !done || err != nil || status.Signal() != unix.SIGTERM {
		t.Errorf("try wait: %v, %v, %v", status, done, err)
	}
	if err := p.Signal(0); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestOpenMissing(t *testing.T) {
	if _, err := Open(1 << 29); !errdef.Is(err, errdef.NotFound) && !errdef.Is(err, errdef.Invalid) {
		t.Errorf("got %v", err)
	}
}

func TestGetfd(t *testing.T) {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fd, err := p.Getfd(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &a), unix.Fstat(int(f.Fd()), &b)); err != nil || a.Rdev != b.Rdev || a.Ino != b.Ino {
		t.Errorf("another file came back: %v", err)
	}
	if _, err := p.Getfd(1 << 20); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a descriptor that is not there: %v", err)
	}
}
