package forkexec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

// A rename anywhere makes openat2(2) give up a path with ".." in it. That must not end the start of a container: without the machine's
// second try, this list failed each time.
func TestRenamesDoNotEndTheList(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	stop := renames(t, t.TempDir())
	defer stop()
	ops := []op.Op{op.Openat(op.AtCwd, dir, unix.O_PATH|unix.O_DIRECTORY, 0).To("root")}
	path := strings.Repeat("a/../", 40) + "a"
	for range 5000 {
		ops = append(ops, op.InRoot("root", path, 0).To("a"), op.Close(op.At("a")))
	}
	p, ev, err := run(t, append(ops, op.Exit(0)))
	if err != nil || ev.Kind != Executed {
		t.Fatal(ev, err)
	}
	if ws, err := p.Wait(); err != nil || ws.ExitStatus() != 0 {
		t.Fatal(ws, err)
	}
}

// Any other call that says EAGAIN fails as it always did.
func TestOnlyOpenat2IsTriedAgain(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	p, err := Start(0, -1, 3, &Command{Ops: []op.Op{op.Read(op.Fd("in"), "go", 1)}, Files: map[string]int{"in": pipe[0]}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	if _, err := p.Next(); !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
}

// renames renames a file in dir to and fro until the result is called.
func renames(t *testing.T, dir string) (stop func()) {
	t.Helper()
	x, y := filepath.Join(dir, "x"), filepath.Join(dir, "y")
	if err := os.WriteFile(x, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done, begun := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for first := true; ; first = false {
			select {
			case <-done:
				return
			default:
				_ = unix.Rename(x, y)
				_ = unix.Rename(y, x)
			}
			if first {
				close(begun)
			}
		}
	})
	<-begun
	return func() { close(done); wg.Wait() }
}
