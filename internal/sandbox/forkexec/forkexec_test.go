package forkexec

import (
	"errors"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

func run(t *testing.T, ops []op.Op, mems ...op.Mem) (*Process, Event, error) {
	t.Helper()
	p, err := Start(0, -1, 3, &Command{Ops: ops, Mems: mems})
	if err != nil {
		t.Fatal(err)
	}
	ev, err := p.Next()
	t.Cleanup(p.Close)
	return p, ev, err
}

func TestExec(t *testing.T) {
	p, ev, err := run(t, []op.Op{op.Execve("/bin/sh", []string{"sh", "-c", "exit $X"}, []string{"X=42"})})
	if err != nil || ev.Kind != Executed {
		t.Fatal(ev, err)
	}
	ws, err := p.Wait()
	if err != nil || ws.ExitStatus() != 42 {
		t.Fatal(ws, err)
	}
}

func TestFailingStepIsReported(t *testing.T) {
	p, _, err := run(t, []op.Op{
		op.Openat(op.AtCwd, "/nonexistent", unix.O_RDONLY, 0).Else(unix.ENOENT, "x"),
		op.Exit(3),
		op.Openat(op.AtCwd, "/nonexistent", unix.O_RDONLY, 0).Named("x").Because("opens what is not there"),
	})
	defer p.Kill()
	var step *StepError
	if !errors.As(err, &step) || step.Step != 3 || step.Errno != unix.ENOENT {
		t.Fatal(err)
	}
}

func TestListWithoutEnd(t *testing.T) {
	p, _, err := run(t, []op.Op{op.Umask(0)})
	defer p.Kill()
	if !errors.Is(err, unix.ENOEXEC) {
		t.Fatal(err)
	}
}
