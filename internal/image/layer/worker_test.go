package layer_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
)

const plain = "application/vnd.oci.image.layer.v1.tar"

// program builds the worker's program once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bulkhead-layer-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bulkhead-unpack")
	cmd := exec.Command("go", "build", "-o", path, "github.com/bulkhead-engine/bulkhead/cmd/bulkhead-unpack")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// start returns a worker in a directory of the test's.
func start(t testing.TB, o layer.Options) *layer.Worker {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	o.Program = path
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	w, err := layer.NewWorker(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// stream is a file with these bytes, open at its beginning.
func stream(t testing.TB, data []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stream"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPipe unpacks while the stream is still being written.
func TestPipe(t *testing.T) {
	w := start(t, layer.Options{})
	data := archive(t, entry{name: "d/"}, entry{name: "d/f", body: "hello"})
	r, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		defer pw.Close()
		for len(data) > 0 {
			n := min(len(data), 700)
			if _, err := pw.Write(data[:n]); err != nil {
				return
			}
			data = data[n:]
			time.Sleep(time.Millisecond)
		}
	}()
	res, err := w.Unpack(context.Background(), layer.Request{Name: "0", Stream: r, MediaType: plain})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(w.Path("0"), "d/f")); string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if res.Entries != 2 || res.Bytes == 0 || res.DiffID == "" {
		t.Errorf("%+v", res)
	}
	t.Logf("%+v", res)
}

// TestCancel ends an unpacking that waits for a stream on which nothing comes.
func TestCancel(t *testing.T) {
	w := start(t, layer.Options{})
	r, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer pw.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err = w.Unpack(ctx, layer.Request{Name: "0", Stream: r, MediaType: plain})
	if err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if _, err := os.Lstat(w.Path("0")); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	// The worker serves on.
	if _, err := w.Unpack(context.Background(), layer.Request{Name: "1", Stream: stream(t, archive(t, entry{name: "f"})), MediaType: plain}); err != nil {
		t.Error(err)
	}
}
