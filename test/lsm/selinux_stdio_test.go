package lsm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
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
