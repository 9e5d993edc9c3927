package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"golang.org/x/sys/unix"
)

// root opens a directory as the root of a container.
func root(t *testing.T, dir string) *Root {
	t.Helper()
	r := &Root{}
	var err error
	if r.FD, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	if r.Self, err = unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(r.FD); unix.Close(r.Self) })
	return r
}

func packed(t *testing.T, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range headers {
		h := &headers[i]
		h.Uid, h.Gid, h.Size = os.Getuid(), os.Getgid(), int64(len(h.Uname)) // the name of the user is the content
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, h.Uname); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestRoundTrip: what was written comes out again, and goes in at another place.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	r := root(t, dir)
	when := time.Unix(1234567890, 0)
	in := packed(t,
		tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o1750, ModTime: when}, tar.Header{Name: "a/file", Typeflag: tar.TypeReg, Mode: 0o640, Uname: "content", ModTime: when},
		tar.Header{Name: "a/again", Typeflag: tar.TypeLink, Linkname: "a/file"}, tar.Header{Name: "a/link", Typeflag: tar.TypeSymlink, Linkname: "../../x"}, tar.Header{Name: "a/pipe", Typeflag: tar.TypeFifo, Mode: 0o600},
		tar.Header{Name: "a/" + strings.Repeat("long", 60), Typeflag: tar.TypeReg, Mode: 0o600}, tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
	)
	if err := r.Extract(context.Background(), "/", in, Options{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := r.Write(context.Background(), "/a", &out); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "to"), 0o755); err != nil {
		t.Fatal(err)
	}
	again := bytes.Clone(out.Bytes())
	if err := r.Extract(context.Background(), "/to", &out, Options{KeepKind: true}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "a/file", "a/again", "a/pipe"} {
		one, err := os.Lstat(filepath.Join(dir, name))
		two, err2 := os.Lstat(filepath.Join(dir, "to", name))
		if err != nil || err2 != nil || one.Mode() != two.Mode() || name != "a/pipe" && !two.ModTime().Equal(when) {
			t.Errorf("%s: %v, %v, %v, %v", name, one, two, err, err2)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "to/a/link")); target != "../../x" {
		t.Errorf("%q, %v", target, err)
	}
	if err := r.Extract(context.Background(), "/to", bytes.NewReader(again), Options{KeepKind: true}); err != nil {
		t.Errorf("over itself: %v", err)
	}
	if err := r.Extract(context.Background(), "/to", bytes.NewReader(again[:len(again)/2]), Options{}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("half of it: %v", err)
	}
}

// TestBounds: directories in each other without end are refused, and so is a file that becomes shorter.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	r := root(t, dir)
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range maxDepth + 10 {
		if err := unix.Mkdirat(fd, "d", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	if err := r.Write(context.Background(), "/d", io.Discard); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("%v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cut := writerFunc(func(b []byte) (int, error) { return len(b), os.Truncate(big, 1000) })
	if err := r.Write(context.Background(), "/big", cut); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Write(ctx, "/big", io.Discard); !errdef.Is(err, errdef.Timeout) {
		t.Errorf("%v", err)
	}
	if err := r.Write(context.Background(), "/big", writerFunc(func([]byte) (int, error) { return 0, unix.EPIPE })); !errdef.Is(err, errdef.Unavailable) {
		t.Errorf("%v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestOutside: nothing that an archive or a link says leads out of the root.
func TestOutside(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(parent, "victim"), []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"up": "..", "abs": parent, "proc": "/proc/self/root"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := root(t, dir)
	for _, h := range []tar.Header{
		{Name: "../victim"},
		{Name: "up/victim"},
		{Name: "abs/victim"},
		{Name: "/../../victim"},
		{Name: "x/../../victim"},
		{Name: "proc" + parent + "/victim"},
		{Name: "v", Typeflag: tar.TypeLink, Linkname: "../victim"},
		{Name: "v", Typeflag: tar.TypeLink, Linkname: "abs/victim"},
		{Name: "v", Typeflag: tar.TypeLink, Linkname: "up/../../victim"},
	} {
		if h.Typeflag == 0 {
			h.Typeflag, h.Uname, h.Mode = tar.TypeReg, "changed", 0o644
		}
		_ = r.Extract(context.Background(), "/", packed(t, h), Options{}) // refused, or made inside
		if data, err := os.ReadFile(filepath.Join(parent, "victim")); err != nil || string(data) != "host" {
			t.Fatalf("%+v: the host's file has %q, %v", h, data, err)
		}
		if st, err := os.Lstat(filepath.Join(parent, "victim")); err != nil || st.Sys() == nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(parent); err != nil || len(entries) != 2 {
			t.Fatalf("%+v: %v, %v", h, entries, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(parent, "victim"), &st); err != nil || st.Nlink != 1 {
		t.Errorf("the host's file has %d names, %v", st.Nlink, err)
	}
	var out bytes.Buffer
	if err := r.Write(context.Background(), "/abs/victim", &out); err == nil && bytes.Contains(out.Bytes(), []byte("host")) {
		t.Error("the host's file was read")
	}
}

// TestOwners: ids are those inside, out and in.
func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	r := root(t, dir)
	r.IDs = idmap.Mapping{UIDs: []idmap.Range{{Inside: 0, Outside: 100000, Count: 1000}}, GIDs: []idmap.Range{{Inside: 0, Outside: 200000, Count: 1000}}}
	if err := r.Extract(context.Background(), "/", packed(t, tar.Header{Name: "f", Typeflag: tar.TypeReg, Mode: 0o4755}), Options{Owner: &[2]int{5, 6}}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "f"), &st); err != nil || st.Uid != 100005 || st.Gid != 200006 || st.Mode&0o7777 != 0o4755 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"f": 5, "hosts": 65534} {
		var b bytes.Buffer
		if err := r.Write(context.Background(), "/"+name, &b); err != nil {
			t.Fatal(err)
		}
		if h, err := tar.NewReader(&b).Next(); err != nil || h.Uid != want {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	err := r.Extract(context.Background(), "/", packed(t, tar.Header{Name: "g", Typeflag: tar.TypeReg}), Options{Owner: &[2]int{1000, 0}})
	if !errdef.Is(err, errdef.Invalid) || errdef.Hint(err) != "its ids are 0 to 999" {
		t.Errorf("%v", err)
	}
}

// TestStat: links and what they lead to, also in a circle.
func TestStat(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"a/b/one": "../two", "a/two": "/three", "three": "a/b/absent", "loop": "pool", "pool": "loop", "a/dir": "b", "high": "../../../../a/dir/one"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r := root(t, dir)
	for path, want := range map[string]string{"/a/b/one": "/a/b/absent", "/a/dir": "/a/b", "/high": "/a/b/absent", "a/dir/one": "/a/b/absent", "/a/dir/../two": "/a/b/absent"} {
		if st, err := r.Stat(path); err != nil || st.LinkTarget != want || st.Mode&os.ModeSymlink == 0 {
			t.Errorf("%s: %+v, %v", path, st, err)
		}
	}
	if st, err := r.Stat("/loop"); err != nil || st.LinkTarget == "" {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := r.Stat("/loop/x"); !errdef.Is(err, errdef.Denied) {
		t.Errorf("%v", err)
	}
}
