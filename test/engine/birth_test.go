package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUnborn: a monitor whose engine dies before it has given it anything ends by itself, and leaves nothing.
func TestUnborn(t *testing.T) {
	for name, word := range map[string][]byte{"nothing": nil, "no descriptors": {1}, "something else": {7, 7}} {
		t.Run(name, func(t *testing.T) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
			defer ours.Close()
			defer theirs.Close()
			run := t.TempDir()
			cmd := exec.Command(filepath.Join(work, "bulkhead-monitor"), run)
			cmd.ExtraFiles = []*os.File{theirs}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if len(word) > 0 {
				if _, err := ours.Write(word); err != nil {
					t.Fatal(err)
				}
			}
			if err := ours.Close(); err != nil {
				t.Fatal(err)
			}
			dead := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer dead.Stop()
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("%v, %v", err, cmd.ProcessState)
			}
			if list, err := os.ReadDir(run); err != nil || len(list) > 0 {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
}
