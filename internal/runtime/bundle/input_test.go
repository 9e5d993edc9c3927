package bundle

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReadInputPipe reads pipes whose writer comes early, late and in pieces.
func TestReadInputPipe(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 20<<10) // more than a pipe holds
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		time.Sleep(50 * time.Millisecond) // the reader is there first
		f, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.Write(want)
			f.Close()
		}
		done <- err
	}()
	data, err := ReadInput(fifo, len(want))
	if werr := <-done; err != nil || werr != nil || !bytes.Equal(data, want) {
		t.Errorf("FIFO: %d bytes, %v, %v", len(data), err, werr)
	}

	r, w := pipe(t)
	if _, err := w.WriteString("all of it"); err != nil {
		t.Fatal(err)
	}
	w.Close() // before anybody reads
	data, err = ReadInput("/dev/fd/"+strconv.Itoa(int(r.Fd())), 100)
	if err != nil || string(data) != "all of it" {
		t.Errorf("/dev/fd: %q, %v", data, err)
	}
}

func TestReadInputRefuses(t *testing.T) {
	r, w := pipe(t)
	if _, err := w.Write(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/dev/fd/" + strconv.Itoa(int(r.Fd())): "larger than 0 MiB", "/dev/zero": "neither a regular file nor a pipe", "/": "neither a regular file nor a pipe",
		"/nonesuch": "no such file",
	} {
		if data, err := ReadInput(path, 4095); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %d bytes, %v, want %q", path, len(data), err, want)
		}
	}
}

// TestReadPipeWaits lets a writer that never ends run into the limit of time, also one that always has a little more.
func TestReadPipeWaits(t *testing.T) {
	for name, every := range map[string]time.Duration{"silent": time.Hour, "slow": 10 * time.Millisecond} {
		r, w := pipe(t)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(every):
					_, _ = w.WriteString(" ")
				}
			}
		}()
		begin := time.Now()
		data, err := readPipe(int(r.Fd()), 1<<20, 100*time.Millisecond)
		close(stop)
		<-stopped
		if err != unix.ETIMEDOUT || time.Since(begin) > 5*time.Second {
			t.Errorf("%s: %q, %v after %v", name, data, err, time.Since(begin))
		}
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}
