package lsm

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/linux/labelpipe"
	"golang.org/x/sys/unix"
)

// printed makes a container whose standard streams are pipes with a label (empty: of pipe(2)), and returns what came through. It gets them as they are with
// create, and as the runtime sees fit with run.
func (b *box) printed(command, label string) string {
	b.t.Helper()
	dir, err := labelpipe.Room()
	if err != nil {
		b.t.Fatal(err)
	}
	defer unix.Close(dir)
	var pipes [2][2]*os.File
	for i := range pipes {
		r, w, err := labelpipe.New(dir, label)
		if err != nil {
			b.t.Fatal(err)
		}
		pipes[i] = [2]*os.File{os.NewFile(uintptr(r), "r"), os.NewFile(uintptr(w), "w")}
		defer pipes[i][0].Close()
		defer pipes[i][1].Close()
	}
	b.spec.Process.Args = []string{"sh", "-c", "echo printed; cat; :"}
	b.write()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, runtime, "--root", filepath.Join(work, "state"), command, "--bundle", b.dir, b.id)
	cmd.Stdin, cmd.Stdout = pipes[0][0], pipes[1][1]
	if _, err := pipes[0][1].WriteString("input\n"); err != nil {
		b.t.Fatal(err)
	}
	pipes[0][1].Close()
	if err := cmd.Run(); err != nil {
		b.t.Logf("%s with pipes of %q: %v", command, label, err)
	}
	if command == "create" {
		if r := b.command("start", b.id); r.code != 0 {
			b.t.Errorf("start: %d: %s", r.code, r.out)
		}
	}
	pipes[1][1].Close()
	pipes[0][0].Close()
	_ = pipes[1][0].SetReadDeadline(time.Now().Add(time.Minute))
	out, err := io.ReadAll(pipes[1][0]) // ends when the container has
	if err != nil {
		b.t.Error(err)
	}
	b.command("delete", "--force", b.id)
	return string(out)
}

// TestSELinuxPipe: a container reads and writes the pipes that were labelled for it, and not another's or the host's. In the foreground the runtime gives it
// some of its own, and passes on.
func TestSELinuxPipe(t *testing.T) {
	enforcing(t)
	one, two, off := labelled(t), labelled(t), newBox(t)
	const all = "printed\ninput\n"
	for _, c := range []struct {
		what, command, label string
		b                    *box
		want                 string
	}{
		{"its own pipes", "create", one.labels.Mount, one, all},
		{"another's pipes", "create", two.labels.Mount, one, ""},
		{"the host's pipes", "create", "", one, ""},
		{"its own pipes in the foreground", "run", one.labels.Mount, one, all},
		{"another's pipes in the foreground", "run", two.labels.Mount, one, all},
		{"the host's pipes in the foreground", "run", "", one, all},
		{"without a label", "create", two.labels.Mount, off, all},
	} {
		if got := c.b.printed(c.command, c.label); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// TestSELinuxFile: in the foreground, what a container and a program that joins it print arrives in a file of the host's that the container itself may not
// touch, and what it reads comes from such a file.
func TestSELinuxFile(t *testing.T) {
	enforcing(t)
	b, dir := labelled(t), t.TempDir()
	in := filepath.Join(dir, "in")
	if err := os.WriteFile(in, []byte("input\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(output string, args ...string) string {
		t.Helper()
		stdin, err := os.Open(in)
		if err != nil {
			t.Fatal(err)
		}
		defer stdin.Close()
		file, err := os.Create(filepath.Join(dir, output))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, runtime, append([]string{"--root", filepath.Join(work, "state")}, args...)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, file, file
		if err := cmd.Run(); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const script = "echo printed; cat; echo complained >&2; echo again >/proc/self/fd/1"
	const want = "printed\ninput\ncomplained\nagain\n"
	b.bind(dir, "/data")
	b.spec.Process.Args = []string{"sh", "-c", "cat /data/in /data/run 2>/dev/null; " + script}
	b.write()
	if got := run("run", "run", "--bundle", b.dir, b.id); got != want {
		t.Errorf("run: %q, want %q", got, want)
	}
	b.start("sleep", "1000")
	if got := run("exec", "exec", b.id, "sh", "-c", script); got != want {
		t.Errorf("exec: %q, want %q", got, want)
	}
	if left, err := filepath.Glob(filepath.Join(work, "state", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestSELinuxTerminal: a container has a terminal of its own label: /dev/console, /dev/tty and a new one of /dev/ptmx work.
func TestSELinuxTerminal(t *testing.T) {
	enforcing(t)
	b := labelled(t)
	b.spec.Process.Terminal = true
	b.spec.Process.Args = []string{"sh", "-c", "echo console >/dev/console && echo tty >/dev/tty && test -t 0 && inside terminal /dev/ptmx && echo all fine"}
	b.write()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, runtime, "--root", filepath.Join(work, "state"), "run", "--bundle", b.dir, b.id)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Run(); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := slave.WriteString("\nend\n"); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), "end") {
		n, err := master.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.Write(buf[:n])
	}
	for _, want := range []string{"console", "tty", "all fine"} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("%q is not in %q", want, got.String())
		}
	}
}
