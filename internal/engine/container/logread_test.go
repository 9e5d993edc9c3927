package container

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// TestOpenSource: what lies in the place of a log and is no file is not waited for, and not read without end.
func TestOpenSource(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "log")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero", t.TempDir()} {
		done := make(chan error, 1)
		go func() {
			s, err := openSource(path)
			if err == nil {
				s.close()
			}
			done <- err
		}()
		select {
		case err := <-done:
			if !errdef.Is(err, errdef.Unavailable) {
				t.Errorf("%s: %v", path, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s is waited for", path)
		}
	}
}
