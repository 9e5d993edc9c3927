package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	api "github.com/moby/moby/api/types/container"
)

// TestMany: containers that are made, run and removed four at a time do not get into each other's way, and each has ids of its own.
func TestMany(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	var all sync.WaitGroup
	var mu sync.Mutex
	ranges := map[uint32]string{}
	free := make(chan struct{}, 4)
	for i := range 24 {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			r, err := e.Create(ctx, option.Create{Name: fmt.Sprintf("many-%d", i), Config: api.Config{Image: "busybox"}})
			if err != nil {
				t.Error(err)
				return
			}
			c, err := e.Get(r.ID)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			if other := ranges[c.Range]; other != "" {
				t.Errorf("%s and %s have the same ids", c.Name, other)
			}
			ranges[c.Range] = c.Name
			mu.Unlock()
			if err := e.Start(ctx, r.ID); err != nil {
				t.Error(err)
				return
			}
			if code, err := e.exit(r.ID); code != 0 || err != nil {
				t.Errorf("%d, %v", code, err)
			}
		})
	}
	all.Wait()
	list, err := e.List(context.Background(), option.List{All: true})
	if err != nil || len(list) != 24 {
		t.Errorf("%d containers, %v", len(list), err)
	}
	for _, c := range list {
		all.Go(func() {
			if err := e.Remove(ctx, c.ID, option.Remove{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, dir := range []string{"root/containers", "root/names", "root/ranges"} {
		if entries, err := os.ReadDir(filepath.Join(e.dir, dir)); err != nil || len(entries) > 0 {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
	}
}

// TestCommandsKilled kills the command line at any moment of run, start and rm: what is left is removed by name, the name is free again, and in the end nothing is there.
func TestCommandsKilled(t *testing.T) {
	l := newLine(t)
	for i := range 20 {
		name := fmt.Sprintf("killed-%d", i%3)
		l.killed(time.Duration(i)*4*time.Millisecond, "run", "-d", "--name", name, "busybox", "sleep", "1000")
		l.killed(time.Duration(i%7)*4*time.Millisecond, "rm", "-f", name)
		if r := l.do("", "rm", "-f", name); r.code != 0 {
			t.Errorf("%d: %+v", i, r)
		}
		if r := l.do("", "run", "--name", name, "busybox", "true"); r.code != 0 {
			t.Errorf("%d: the name is not free: %+v", i, r)
		}
		if r := l.do("", "rm", name); r.code != 0 {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if r := l.do("", "ps", "-aq"); r.out != "" {
		t.Errorf("left: %q", r.out)
	}
}

// killed starts a command and kills it.
func (l *line) killed(after time.Duration, args ...string) {
	l.t.Helper()
	cmd := l.command(args...)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	time.Sleep(after)
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
}

// TestExitCodes: whoever waits for a container that removes itself is told how it ended, whatever of it is gone already.
func TestExitCodes(t *testing.T) {
	l := newLine(t)
	var all sync.WaitGroup
	free := make(chan struct{}, 4)
	for range 80 {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			out, err := l.command("run", "--rm", "--network", "none", "busybox", "sh", "-c", "exit 3").CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 3 || len(out) > 0 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
}
