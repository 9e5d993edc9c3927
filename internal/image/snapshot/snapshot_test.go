package snapshot_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/test/built"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

const plain = "application/vnd.oci.image.layer.v1.tar"

var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bulkhead-snapshot-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bulkhead-unpack")
	return path, built.Program(path, "./cmd/bulkhead-unpack")
})

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "pull" {
		os.Exit(pull(os.Args[2], os.Args[3]))
	}
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// archiveOf makes a layer: names that end with a slash are directories, "name=body" is a file.
func archiveOf(names ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		n, body, _ := strings.Cut(n, "=")
		h := &tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body)), ModTime: time.Unix(1e9, 0), Uid: 7, Gid: 8}
		if strings.HasSuffix(n, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o750
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// add unpacks and commits layers on each other, the lowest first, and returns the chain of each.
func add(t testing.TB, s *snapshot.Store, layers ...[]byte) []digest.Digest {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	chains, err := unpack(s, path, layers)
	if err != nil {
		t.Fatal(err)
	}
	return chains
}

func unpack(s *snapshot.Store, program string, layers [][]byte) ([]digest.Digest, error) {
	ctx := context.Background()
	g, err := s.Stage(ctx)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	w, err := layer.NewWorker(ctx, layer.Options{Dir: g.Dir(), Program: program})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var chains []digest.Digest
	parent := digest.Digest("")
	for i, data := range layers {
		f, err := os.CreateTemp("", "layer")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		os.Remove(f.Name())
		if _, err := f.Write(data); err != nil {
			return nil, err
		}
		if _, err := f.Seek(0, 0); err != nil {
			return nil, err
		}
		n := fmt.Sprint(i)
		r, err := w.Unpack(ctx, layer.Request{Name: n, Stream: f, MediaType: plain})
		if err != nil {
			return nil, err
		}
		chain := digest.FromString(string(parent) + " " + r.DiffID)
		if err := g.Commit(ctx, snapshot.Layer{Chain: chain, Parent: parent, Path: w.Path(n), Result: r}); err != nil {
			return nil, err
		}
		chains = append(chains, chain)
		parent = chain
	}
	return chains, nil
}

func open(t testing.TB) *snapshot.Store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	storeRoot = filepath.Join(t.TempDir(), "store")
	s, err := snapshot.Open(storeRoot)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mounted mounts a chain on a directory of the test's, in a thread's own way: detached, looked at through the descriptor.
func mounted(t testing.TB, s *snapshot.Store, o snapshot.MountOptions, chain digest.Digest) string {
	t.Helper()
	use, err := s.Use(context.Background(), chain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { use.Close() })
	o.Use = use
	fd, err := snapshot.Mount(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fmt.Sprintf("/proc/self/fd/%d", fd)
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestMount(t *testing.T) {
	s := open(t)
	chains := add(t, s,
		archiveOf("a/", "a/1=one", "a/2=two", "b/", "b/1=one", "c=sea"),
		archiveOf("a/.wh.1=", "b/.wh..wh..opq=", "b/2=two", "x/y/z=deep"),
		archiveOf(".wh.c=", "x/y/more="))
	top := chains[len(chains)-1]
	if !s.Has(top) {
		t.Fatal("it is not there")
	}
	upper, work := t.TempDir(), t.TempDir()
	for _, ro := range []bool{true, false} {
		o := snapshot.MountOptions{}
		if !ro {
			o.Upper, o.Work = upper, work
		}
		dir := mounted(t, s, o, top)
		for path, want := range map[string]string{"a/2": "two", "b/2": "two", "x/y/z": "deep", "x/y/more": ""} {
			if got := read(t, filepath.Join(dir, path)); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
		for _, path := range []string{"a/1", "b/1", "c"} {
			if _, err := os.Lstat(filepath.Join(dir, path)); !os.IsNotExist(err) {
				t.Errorf("%s: %v, want it hidden", path, err)
			}
		}
		var st unix.Stat_t // what the second layer does not describe is as the first has it
		if err := unix.Stat(filepath.Join(dir, "b"), &st); err != nil || st.Uid != 7 || st.Gid != 8 || st.Mode&0o777 != 0o750 || st.Mtim.Sec != 1e9 {
			t.Errorf("b: %d:%d %o %d, %v", st.Uid, st.Gid, st.Mode, st.Mtim.Sec, err)
		}
		err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600)
		if (err == nil) == ro {
			t.Errorf("write: %v", err)
		}
	}
}

func TestHundredLayers(t *testing.T) {
	s := open(t)
	var layers [][]byte
	for i := range 130 {
		layers = append(layers, archiveOf(fmt.Sprintf("f%d=%d", i, i), fmt.Sprintf("same=%d", i)))
	}
	chains := add(t, s, layers...)
	dir := mounted(t, s, snapshot.MountOptions{}, chains[129])
	for i := range 130 {
		if got := read(t, filepath.Join(dir, fmt.Sprintf("f%d", i))); got != fmt.Sprint(i) {
			t.Errorf("f%d: %q", i, got)
		}
	}
	if got := read(t, filepath.Join(dir, "same")); got != "129" {
		t.Errorf("same: %q", got)
	}
}

func TestMappedIDs(t *testing.T) {
	s := open(t)
	chains := add(t, s, archiveOf("f=x", "d/"), archiveOf("g=y"))
	ids := []idmap.Range{{Inside: 0, Outside: 200000, Count: 65536}}
	dir := mounted(t, s, snapshot.MountOptions{Upper: t.TempDir(), Work: t.TempDir(), Volatile: true, IDs: idmap.Mapping{UIDs: ids, GIDs: ids}}, chains[1])
	for _, name := range []string{"f", "g", "d"} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil || st.Uid != 200007 || st.Gid != 200008 {
			t.Errorf("%s: %d:%d, %v", name, st.Uid, st.Gid, err)
		}
	}
}

func TestRemove(t *testing.T) {
	ctx := context.Background()
	s := open(t)
	chains := add(t, s, archiveOf("a="), archiveOf("b="), archiveOf("c="))
	if err := s.Remove(ctx, chains[0]); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("a layer with children: %v", err)
	}
	use, err := s.Use(ctx, chains[2])
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, chains[2]); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("a layer in use: %v", err)
	}
	report, err := s.GC(ctx, func(digest.Digest) bool { return false })
	if err != nil || len(report.Removed) != 0 || report.InUse != 1 {
		t.Errorf("GC while in use: %+v, %v", report, err)
	}
	use.Close()
	report, err = s.GC(ctx, func(c digest.Digest) bool { return c == chains[1] })
	if err != nil || len(report.Removed) != 1 || s.Has(chains[2]) || !s.Has(chains[1]) {
		t.Errorf("GC: %+v, %v", report, err)
	}
	report, err = s.GC(ctx, func(digest.Digest) bool { return false })
	if err != nil || len(report.Removed) != 2 {
		t.Errorf("GC of all: %+v, %v", report, err)
	}
	if err := s.Remove(ctx, chains[0]); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a layer that is gone: %v", err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// pull is the process that TestKilled kills.
func pull(root, program string) int {
	s, err := snapshot.Open(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := unpack(s, program, someLayers()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
