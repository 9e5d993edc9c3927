package forkexec

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

func barrier(n uint64) []op.Op {
	return []op.Op{
		op.Write(op.Fd(op.SyncFile), string(op.Message(op.MsgBarrier, n))),
		op.Read(op.Fd(op.SyncFile), "go", 1).To("got"),
		op.Check("got", 0, ^uint64(0), 1, unix.ECONNRESET),
	}
}

func TestBarrier(t *testing.T) {
	p, ev, err := run(t, append(barrier(7), op.Exit(5)))
	if err != nil || ev.Kind != op.MsgBarrier || ev.Number != 7 {
		t.Fatal(ev, err)
	}
	if err := p.Continue(); err != nil {
		t.Fatal(err)
	}
	if ev, err := p.Next(); err != nil || ev.Kind != Executed {
		t.Fatal(ev, err)
	}
	if ws, _ := p.Wait(); ws.ExitStatus() != 5 {
		t.Fatal(ws)
	}
}

// A child whose parent lets go of the socket must not go on.
func TestParentGone(t *testing.T) {
	p, _, err := run(t, append(barrier(1), op.Exit(0)))
	if err != nil {
		t.Fatal(err)
	}
	p.Detach()
	if ws, _ := p.Wait(); ws.ExitStatus() != 126 {
		t.Fatalf("status %#x: the child went on without its parent", ws)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	b, err := Begin(unix.CLONE_NEWUTS, -1, 3, 3)
	if err != nil {
		t.Fatal(err)
	}
	pid := b.PID()
	b.Abort()
	if err := unix.Kill(pid, 0); err != unix.ESRCH {
		t.Fatalf("process %d: %v", pid, err)
	}
}

func TestForkHandsOver(t *testing.T) {
	msg := op.Mem{Name: "msg", Size: op.MsgSize, Init: op.Message(op.MsgForked, 0)}
	ops := []op.Op{
		op.Fork(unix.CLONE_PARENT).To("pid"),
		op.Check("pid", 0, ^uint64(0), 0, 0).Else(op.AnyErrno, "parent").Then("child"),
		op.Copy("pid", "msg", 8).Named("parent"),
		op.WriteMem(op.Fd(op.SyncFile), "msg", op.MsgSize),
		op.Exit(0),
		op.Read(op.Fd(op.SyncFile), "go", 1).To("got").Named("child"),
		op.Check("got", 0, ^uint64(0), 1, unix.ECONNRESET),
	}
	p, ev, err := run(t, append(append(ops, barrier(2)...), op.Exit(9)), msg)
	if err != nil || ev.Number != 2 {
		t.Fatal(ev, err)
	}
	if p.mid == 0 || p.mid == p.PID {
		t.Fatalf("first process %d, container's %d", p.mid, p.PID)
	}
	_ = p.Continue()
	if _, err := p.Next(); err != nil {
		t.Fatal(err)
	}
	if ws, err := p.Wait(); err != nil || ws.ExitStatus() != 9 {
		t.Fatal(ws, err)
	}
}

func TestFilesArrive(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := Start(0, -1, 3, &Command{
		Ops:   []op.Op{op.Write(op.Fd("out"), "hello"), op.Write(op.Fd("again"), " you"), op.Exit(0)},
		Files: map[string]int{"out": int(f.Fd()), "again": int(f.Fd())},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if ev, err := p.Next(); err != nil || ev.Kind != Executed {
		t.Fatal(ev, err)
	}
	_, _ = p.Wait()
	if b, _ := os.ReadFile(f.Name()); string(b) != "hello you" {
		t.Fatalf("%q", b)
	}
}

// More descriptors arrive than one message carries, each under its own name.
func TestManyFilesArrive(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	files := map[string]int{"z": pipe[1]}
	for i := range 2*maxRights + 3 {
		files["f"+itoa(i)] = pipe[0]
	}
	p, err := Start(0, -1, 3, &Command{Ops: []op.Op{op.Write(op.Fd("z"), "hello"), op.Exit(0)}, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if ev, err := p.Next(); err != nil || ev.Kind != Executed {
		t.Fatal(ev, err)
	}
	_, _ = p.Wait()
	b := make([]byte, 8)
	if n, err := unix.Read(pipe[0], b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
}

func TestUnknownDescriptorAndLabel(t *testing.T) {
	for _, o := range []op.Op{op.Close(op.Fd("nobody")), op.Umask(0).Then("nowhere")} {
		if p, err := Start(0, -1, 3, &Command{Ops: []op.Op{o}}); err == nil {
			p.Kill()
			t.Errorf("%s was started", o)
		}
	}
}

// The child's own program must be sealed, and nothing of this process may be open in it.
func TestChildIsSealedAndEmpty(t *testing.T) {
	leak, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	p, _, err := run(t, append(barrier(1), op.Exit(0)))
	if err != nil {
		t.Fatal(err)
	}
	proc := "/proc/" + itoa(p.PID)
	exe, err := os.OpenFile(proc+"/exe", os.O_RDWR, 0)
	if err == nil {
		_, err = exe.Write([]byte("x"))
		exe.Close()
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ETXTBSY) {
		t.Errorf("write to the child's program: %v", err)
	}
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	if len(fds) > 4 { // 0, 1, 2, the socket
		for _, fd := range fds {
			link, _ := os.Readlink(proc + "/fd/" + fd.Name())
			t.Log(fd.Name(), link)
		}
		t.Errorf("%d descriptors are open in the child", len(fds))
	}
	_ = p.Continue()
	_, _ = p.Next()
	_, _ = p.Wait()
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// A thousand children in a row leave no descriptor and no zombie.
func TestManyChildren(t *testing.T) {
	before, _ := os.ReadDir("/proc/self/fd")
	deadline := time.Now().Add(20 * time.Second)
	for i := 0; i < 300 && time.Now().Before(deadline); i++ {
		p, err := Start(0, -1, 3, &Command{Ops: []op.Op{op.Exit(0)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Next(); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
	after, _ := os.ReadDir("/proc/self/fd")
	if len(after) > len(before) {
		t.Errorf("%d descriptors before, %d after", len(before), len(after))
	}
}

func BenchmarkStartTrue(b *testing.B) {
	for b.Loop() {
		p, err := Start(0, -1, 3, &Command{Ops: []op.Op{op.Exit(0)}})
		if err != nil {
			b.Fatal(err)
		}
		_, _ = p.Next()
		_, _ = p.Wait()
		p.Close()
	}
}
