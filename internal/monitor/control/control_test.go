package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFullDisk: the end of a container is recorded on a disk that has no room for another file.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("needs root: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	first := &State{Phase: Running, PID: 7, Error: strings.Repeat("x", 500)}
	if err := WriteState(dir, first); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 64<<10), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	want := State{Phase: Exited, ExitCode: 3, Finished: time.Now().UTC().Round(0)}
	if err := WriteState(dir, &want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadState(dir)
	if err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := WriteState(dir, first); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadState(dir); err != nil || *got != *first {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAliveFIFO: what lies in the place of a lock and is no file is nobody's, and not waited for.
func TestAliveFIFO(t *testing.T) {
	run := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(run, LockFile), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan bool, 1)
	go func() { done <- Alive(run) }()
	select {
	case alive := <-done:
		if alive {
			t.Error("a monitor is said to live that there never was")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a FIFO is waited for")
	}
}
