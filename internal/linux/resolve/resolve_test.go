package resolve

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// tree makes a root with links that try to leave it, beside a directory "outside" with a secret.
func tree(t *testing.T) (root int, dir string) {
	t.Helper()
	base := t.TempDir()
	dir = filepath.Join(base, "root")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	must(os.MkdirAll(filepath.Join(base, "outside"), 0o755))
	must(os.WriteFile(filepath.Join(base, "secret"), []byte("host"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "secret"), []byte("inside"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	for name, target := range map[string]string{
		"up": "../secret", "a/up": "../../secret", "abs": "/secret", "dirlink": "/a/b", "dangling": "/nowhere", "loop": "loop",
		"magic": "/proc/self/root", "out": "../outside",
	} {
		must(os.Symlink(target, filepath.Join(dir, name)))
	}
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(err)
	t.Cleanup(func() { unix.Close(root) })
	return root, dir
}

func TestInRoot(t *testing.T) {
	root, dir := tree(t)
	for path, want := range map[string]string{
		"secret": "secret", "/secret": "secret", "up": "secret", "a/up": "secret", "abs": "secret", "../../secret": "secret",
		"dirlink/../../secret": "secret", "dirlink": "a/b", "": ".", "/": ".", "..": ".",
	} {
		fd, err := InRoot(root, path, unix.O_PATH)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		link, err := os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(fd)))
		unix.Close(fd)
		if err != nil || link != filepath.Join(dir, want) {
			t.Errorf("%q: leads to %q, %v; want %q", path, link, err, want)
		}
	}
	for path, kind := range map[string]errdef.Kind{
		"nowhere": errdef.NotFound, "dangling": errdef.NotFound, "loop": errdef.Denied, "file/x": errdef.NotFound,
	} {
		if fd, err := InRoot(root, path, unix.O_PATH); !errdef.Is(err, kind) {
			t.Errorf("%q: got %d, %v; want kind %v", path, fd, err, kind)
		}
	}
}

func TestMagicLink(t *testing.T) {
	slash, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(slash)
	for _, path := range []string{"proc/self/root", "proc/self/cwd", "proc/self/exe"} {
		if fd, err := InRoot(slash, path, unix.O_PATH); !errors.Is(err, unix.ELOOP) || !errdef.Is(err, errdef.Denied) {
			t.Errorf("%s: got %d, %v", path, fd, err)
		}
	}
}

func TestBeneath(t *testing.T) {
	root, _ := tree(t)
	for _, path := range []string{"up", "abs", "dirlink", "../secret", "/secret"} {
		if fd, err := Beneath(root, path, unix.O_PATH); err == nil {
			t.Errorf("%s: opened %d", path, fd)
		}
	}
	fd, err := Beneath(root, "a/b", unix.O_PATH)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}

func TestMkdirAll(t *testing.T) {
	root, dir := tree(t)
	for path, want := range map[string]string{
		"x/y/z": "x/y/z", "/a/b/c": "a/b/c", "dirlink/d": "a/b/d", "a": "a", "/": ".", "../e": "e", "f/./g": "f/g",
	} {
		fd, err := MkdirAll(root, path, 0o755)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		link, _ := os.Readlink(filepath.Join("/proc/self/fd", strconv.Itoa(fd)))
		unix.Close(fd)
		if link != filepath.Join(dir, want) {
			t.Errorf("%q: made %q, want %q", path, link, want)
		}
	}
	for _, path := range []string{"dangling", "dangling/x", "file/x", "loop/x", "file", "new/../../x"} {
		if fd, err := MkdirAll(root, path, 0o755); err == nil {
			unix.Close(fd)
			t.Errorf("%q: made", path)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("the target of a dangling link was made")
	}
}

func TestCreate(t *testing.T) {
	root, dir := tree(t)
	fd, err := CreateInRoot(root, "dirlink/new", 0o640)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if st, err := os.Stat(filepath.Join(dir, "a/b/new")); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("created %v, %v", st, err)
	}
	for path, kind := range map[string]errdef.Kind{
		"file": errdef.Exists, "dangling": errdef.Exists, "a/": errdef.Invalid, "..": errdef.Invalid, "nodir/x": errdef.NotFound,
	} {
		if fd, err := CreateInRoot(root, path, 0o600); !errdef.Is(err, kind) {
			t.Errorf("%q: got %d, %v; want kind %v", path, fd, err, kind)
		}
	}
}

func TestSame(t *testing.T) {
	root, _ := tree(t)
	open := func(path string) int {
		fd, err := InRoot(root, path, unix.O_PATH)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	if same, err := Same(open("secret"), open("abs")); err != nil || !same {
		t.Errorf("one file: %v, %v", same, err)
	}
	if same, err := Same(open("secret"), open("file")); err != nil || same {
		t.Errorf("two files: %v, %v", same, err)
	}
}

// A thread swaps a directory and a link that leads out, in a loop: no lookup may ever end outside. A lookup that joins paths by text
// fails this within a few rounds.
func TestSwap(t *testing.T) {
	root, dir := tree(t)
	if err := os.WriteFile(filepath.Join(dir, "../outside/b"), []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	t.Cleanup(func() { stop.Store(true); <-done })
	go func() {
		defer close(done)
		a, out := filepath.Join(dir, "a"), filepath.Join(dir, "out")
		for !stop.Load() {
			unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, out, unix.RENAME_EXCHANGE)
		}
	}()
	var outside unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "../outside/b"), &outside); err != nil {
		t.Fatal(err)
	}
	// With ".." the kernel may answer EAGAIN for as long as the renames go on, without it never; so both are tried.
	found, busy := 0, 0
	for start := time.Now(); found < 500 && time.Since(start) < 5*time.Second; {
		for _, path := range []string{"a/b", "a/../a/b"} {
			fd, err := InRoot(root, path, unix.O_PATH)
			if errdef.Is(err, errdef.Conflict) {
				busy++
			}
			if err != nil {
				continue
			}
			var st unix.Stat_t
			err = unix.Fstat(fd, &st)
			unix.Close(fd)
			if err != nil || st.Ino == outside.Ino {
				t.Fatalf("the lookup left the root (%v)", err)
			}
			found++
		}
	}
	t.Logf("%d lookups found the file, %d gave up", found, busy)
	if found == 0 {
		t.Error("no lookup got through: the race was not tested")
	}
}
