package lsm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/selinux"
	"golang.org/x/sys/unix"
)

// printed runs a container whose standard streams are pipes with a label, and returns what came through.
func (b *box) printed(label string) string {
	b.t.Helper()
	dir, err := unix.Open(b.t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer unix.Close(dir)
	var pipes [2][2]*os.File
	for i := range pipes {
		r, w, err := selinux.Pipe(dir, label)
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
	cmd := exec.CommandContext(ctx, runtime, "--root", filepath.Join(work, "state"), "run", "--bundle", b.dir, b.id)
	cmd.Stdin, cmd.Stdout = pipes[0][0], pipes[1][1]
	if _, err := pipes[0][1].WriteString("input\n"); err != nil {
		b.t.Fatal(err)
	}
	pipes[0][1].Close()
	if err := cmd.Run(); err != nil {
		b.t.Logf("with pipes of %q: %v", label, err)
	}
	pipes[1][1].Close()
	out := make([]byte, 256)
	n, _ := pipes[1][0].Read(out)
	b.command("delete", "--force", b.id)
	return string(out[:n])
}

// TestSELinuxPipe: a container reads and writes the pipes that were labelled for it, and not another's.
func TestSELinuxPipe(t *testing.T) {
	enforcing(t)
	one, two, off := labelled(t), labelled(t), newBox(t)
	if got := one.printed(one.labels.Mount); got != "printed\ninput\n" {
		t.Errorf("its own pipes: %q", got)
	}
	if got := one.printed(two.labels.Mount); got != "" {
		t.Errorf("another's pipes: %q", got)
	}
	if got := off.printed(two.labels.Mount); got != "printed\ninput\n" {
		t.Errorf("without a label: %q", got)
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
