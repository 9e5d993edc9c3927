package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"golang.org/x/sys/unix"
)

const (
	tarType  = "application/vnd.oci.image.layer.v1.tar"
	gzipType = tarType + "+gzip"
	zstdType = tarType + "+zstd"
)

// built is a directory with the programs of the tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bulkhead-attack-")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir+"/", "github.com/bulkhead-engine/bulkhead/cmd/bulkhead-unpack",
		"github.com/bulkhead-engine/bulkhead/test/attack/image/layerworker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return dir, cmd.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// A site is a directory with victims around a worker.
type site struct {
	dir string
	w   *layer.Worker
}

// newSite starts a worker whose target has a neighbour and whose parents have files to lose. The name of the victim above the target is victim.
func newSite(t *testing.T, program string) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: t.TempDir()}
	for _, d := range []string{"work", "victimdir"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.w, err = layer.NewWorker(context.Background(), layer.Options{Dir: filepath.Join(s.dir, "work"), Program: filepath.Join(dir, program)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.w.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, v := range []string{"victim", "victimdir/victim", "work/victim", "work/layers/victim"} {
		if err := os.WriteFile(filepath.Join(s.dir, v), []byte("safe"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// outside describes everything but the target.
func (s *site) outside(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	target := s.w.Path("0")
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if path == target {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		mtime := st.Mtim.Nano()
		if strings.HasPrefix(target, path+"/") || path == s.dir {
			mtime, st.Nlink = 0, 0 // it holds the target
		}
		fmt.Fprintln(&b, path, st.Mode, st.Uid, st.Gid, st.Nlink, st.Size, mtime)
		if d.Type().IsRegular() && st.Size < 100 {
			data, err := os.ReadFile(path)
			fmt.Fprintln(&b, string(data), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// An attack is one hostile layer.
type attack struct {
	name   string
	data   []byte
	write  func(w io.Writer) error // instead of data, through a pipe
	media  string                  // "": tar
	limits layer.Limits
	want   string                                                // part of the sentence that refuses it; "": it is unpacked
	check  func(t *testing.T, dir string, r *layer.Result) error // of what was unpacked
}

// run unpacks the layer as the engine would.
func (s *site) run(t *testing.T, a *attack) (layer.Result, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer w.Close()
		if a.write == nil {
			_, _ = w.Write(a.data) // an early refusal is no reader
			return
		}
		_ = a.write(w)
	}()
	media := a.media
	if media == "" {
		media = tarType
	}
	res, err := s.w.Unpack(context.Background(), layer.Request{Name: "0", Stream: r, MediaType: media, Limits: a.limits})
	r.Close()
	<-done
	return res, err
}

// TestHostileLayers: whatever is in a layer, it is refused with a sentence of its own or unpacked as Docker does; nothing outside of the directory changes;
// after a refusal there is no directory, and the worker serves on.
func TestHostileLayers(t *testing.T) {
	s := newSite(t, "bulkhead-unpack")
	sentences := map[string]string{}
	for _, a := range attacks(t, s) {
		t.Run(a.name, func(t *testing.T) {
			before := s.outside(t)
			defer func() {
				if err := s.w.Remove(context.Background(), "0"); err != nil {
					t.Error(err)
				}
			}()
			res, err := s.run(t, &a)
			if after := s.outside(t); after != before {
				t.Fatalf("outside changed:\n%s\nwas\n%s", after, before)
			}
			if a.want != "" {
				s.refused(t, &a, err)
				if err != nil {
					sentences[err.Error()] = a.name
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.check != nil {
				if err := a.check(t, s.w.Path("0"), &res); err != nil {
					t.Error(err)
				}
			}
		})
	}
	t.Logf("%d sentences", len(sentences))
	if _, err := s.run(t, &attack{data: tarOf(raw{name: "f"})}); err != nil {
		t.Errorf("a harmless layer afterwards: %v", err)
	}
}

func (s *site) refused(t *testing.T, a *attack, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), a.want) {
		t.Fatalf("%v, want ... %s ...", err, a.want)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) || len(err.Error()) > 1000 {
		t.Errorf("unfit for a terminal: %q", err)
	}
	if _, err := os.Lstat(s.w.Path("0")); !os.IsNotExist(err) {
		t.Errorf("something was left: %v", err)
	}
	t.Log(err)
}

// TestCarelessLayers shows that the victims can be reached: an extraction that joins paths and follows links does.
func TestCarelessLayers(t *testing.T) {
	s := newSite(t, "bulkhead-unpack")
	reached := 0
	for _, a := range attacks(t, s) {
		if !strings.HasPrefix(a.name, "out/") {
			continue
		}
		before := s.outside(t)
		careless(s.w.Path("0"), a.data)
		if s.outside(t) == before {
			t.Errorf("%s: reaches nothing even where nobody takes care", a.name)
		}
		reached++
		if err := os.RemoveAll(s.w.Path("0")); err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"victim", "victimdir/victim", "work/victim", "work/layers/victim"} {
			path := filepath.Join(s.dir, v)
			os.RemoveAll(path)
			if err := os.WriteFile(path, []byte("safe"), 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d attacks", reached)
}

// careless unpacks as the first versions of everything did.
func careless(dir string, data []byte) {
	r := tar.NewReader(bytes.NewReader(data))
	var times []func()
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		path := filepath.Join(dir, h.Name)
		if strings.HasPrefix(h.Name, "/") {
			path = h.Name
		}
		_ = os.MkdirAll(filepath.Dir(path), 0o755)
		switch h.Typeflag {
		case tar.TypeDir:
			_ = os.MkdirAll(path, 0o755)
			times = append(times, func() { _ = os.Chtimes(path, h.ModTime, h.ModTime) })
		case tar.TypeReg:
			body, _ := io.ReadAll(r)
			_ = os.WriteFile(path, body, 0o644)
			_ = os.Chmod(path, fs.FileMode(h.Mode&0o777))
		case tar.TypeSymlink:
			_ = os.RemoveAll(path)
			_ = os.Symlink(h.Linkname, path)
			_ = os.Chmod(path, fs.FileMode(h.Mode&0o777))
		case tar.TypeLink:
			target := filepath.Join(dir, h.Linkname)
			if strings.HasPrefix(h.Linkname, "/") {
				target = h.Linkname
			}
			_ = os.RemoveAll(path)
			_ = os.Link(target, path)
		case tar.TypeFifo, tar.TypeChar:
			_ = unix.Mknod(path, unix.S_IFIFO|0o666, 0)
		}
	}
	for _, f := range times {
		f()
	}
}
