package container

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAccountsAreNotOpened: what an image has as /etc/passwd is not opened unless it is a file: to open a device of the host, outside of the container's device rules, may do something.
func TestAccountsAreNotOpened(t *testing.T) {
	dir := t.TempDir()
	for name, kind := range map[string]func(string) error{
		"fifo": func(p string) error { return unix.Mkfifo(p, 0o644) },
		"file": func(p string) error { return os.WriteFile(p, []byte("u:x:1:1:::\n"), 0o644) },
	} {
		path := filepath.Join(dir, name)
		if err := kind(path); err != nil {
			t.Fatal(err)
		}
		watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(watch)
		if _, err := unix.InotifyAddWatch(watch, path, unix.IN_OPEN); err != nil {
			t.Fatal(err)
		}
		root, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		data, err := readIn(root, "/"+name)
		n, _ := unix.Read(watch, make([]byte, 4096))
		if name == "file" && (err != nil || len(data) == 0 || n <= 0) {
			t.Errorf("file: %q, %v, %d bytes of events", data, err, n)
		}
		if name == "fifo" && (err == nil || n > 0) {
			t.Errorf("fifo: %v, opened: %v", err, n > 0)
		}
	}
}
