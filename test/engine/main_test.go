package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/test/built"
	"github.com/bulkhead-engine/bulkhead/test/netspace"
	api "github.com/moby/moby/api/types/container"
)

var work string

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Println("skipped: needs root")
		if os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	netspace.Alone()
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if work, err = os.MkdirTemp("", "bh-engine-"); err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(work) // nobody else may pass through it: neither may the roots of containers
	for _, name := range []string{"bulkhead-monitor", "bulkhead-unpack"} {
		if err := built.Program(filepath.Join(work, name), "./cmd/"+name); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	code := m.Run()
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), work) {
		fmt.Println("left behind: a mount", err)
		code = 1
	}
	if out, _ := exec.Command("pgrep", "-f", "bulkhead-monitor "+work).Output(); len(out) > 0 {
		fmt.Printf("left behind: monitors: %s", out)
		code = 1
	}
	return code
}

// An engine is one with an image.
type engine struct {
	*container.Service
	t   *testing.T
	dir string
}

// newEngine makes an engine in directories of its own, with the image busybox.
func newEngine(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp(work, "e-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	images, err := image.Open(image.Options{Root: filepath.Join(dir, "root"), Unpacker: filepath.Join(work, "bulkhead-unpack")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = images.Import(context.Background(), busybox(t), "busybox", image.ImportOptions{Changes: []string{`CMD ["sh"]`, "ENV IMAGE=yes"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := container.Open(container.Options{
		Root: filepath.Join(dir, "root"), Run: filepath.Join(dir, "run"), Images: images, Monitor: filepath.Join(work, "bulkhead-monitor"), Warn: func(err error) { t.Log(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{s, t, dir}
	t.Cleanup(func() {
		list, err := s.List(context.Background(), option.List{All: true})
		if err != nil {
			t.Error(err)
		}
		for _, c := range list {
			if err := s.Remove(context.Background(), c.ID, option.Remove{Force: true}); err != nil {
				t.Error(err)
			}
		}
		if err := images.Close(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return e
}

// busybox is a root file system as an archive.
func busybox(t *testing.T) *bytes.Buffer {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, data []byte) {
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range strings.Fields("bin etc tmp var root home data") {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, program)
	for _, name := range strings.Fields("rm chmod mkdir sh cat echo ls id sleep touch true false hostname env stat mount kill ps head seq grep wc dd yes tr sort trap") {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/root:/bin/sh\nwww:x:33:33::/data:/bin/sh\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\nwww:x:33:\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// create makes a container of the image.
func (e *engine) create(change func(*option.Create), args ...string) string {
	e.t.Helper()
	q := option.Create{Config: api.Config{Image: "busybox", Cmd: args}}
	if change != nil {
		change(&q)
	}
	r, err := e.Create(context.Background(), q)
	if err != nil {
		e.t.Fatal(err)
	}
	return r.ID
}

// A result is what a container printed and how it ended.
type result struct {
	out, problems string
	code          int
}

// run runs a container to its end, as `run` in the foreground does.
func (e *engine) run(change func(*option.Create), stdin string, args ...string) result {
	e.t.Helper()
	id := e.create(func(q *option.Create) {
		q.Config.OpenStdin, q.Config.StdinOnce = stdin != "", stdin != ""
		if change != nil {
			change(q)
		}
	}, args...)
	var r result
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		var out, problems bytes.Buffer
		o := option.Attach{Stream: true, Stdin: stdin != "", Stdout: true, Stderr: true}
		err := e.Attach(context.Background(), id, o, func(bool) (option.Streams, error) {
			close(ready)
			return option.Streams{In: strings.NewReader(stdin), Out: &out, Err: &problems}, nil
		})
		r.out, r.problems = out.String(), problems.String()
		done <- err
	}()
	select {
	case <-ready: // nothing that the program prints is missed
	case err := <-done:
		e.t.Fatalf("attach: %v", err)
	}
	if err := e.Start(context.Background(), id); err != nil {
		e.t.Fatalf("start: %v", err)
	}
	code, err := e.exit(id)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := <-done; err != nil {
		e.t.Error(err)
	}
	r.code = code
	return r
}

// exit waits for the end of a container, if it runs, and returns its exit code.
func (e *engine) exit(id string) (int, error) {
	r, err := e.Wait(context.Background(), id, api.WaitConditionNotRunning, func() {})
	return int(r.StatusCode), err
}

// health is what the checks of a container have found.
func (e *engine) health(id string) *api.Health {
	e.t.Helper()
	r, err := e.Inspect(context.Background(), id, false)
	if err != nil {
		e.t.Fatal(err)
	}
	if r.State.Health == nil {
		return &api.Health{}
	}
	return r.State.Health
}
