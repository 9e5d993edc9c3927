package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

func open(t *testing.T, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// only fails unless the directory holds these names and nothing else.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the directory holds %q, want %q", got, names)
	}
}

func TestWrite(t *testing.T) {
	for _, o := range []Options{{}, {Volatile: true}, {Mode: 0o664}} {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			for _, text := range []string{"one", "", "three"} {
				if err := Write(path, []byte(text), o); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if err != nil || string(got) != text {
					t.Fatalf("got %q, %v, want %q", got, err, text)
				}
			}
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			want := os.FileMode(o.Mode)
			if want == 0 {
				want = 0o600
			}
			if st.Mode() != want {
				t.Errorf("mode %v, want %v", st.Mode(), want)
			}
			only(t, dir, "f")
		})
	}
}

func TestWriteReplacesLink(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("safe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	if err := WriteAt(open(t, dir), "f", []byte("new"), Options{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(victim); string(got) != "safe" {
		t.Errorf("the link was followed: %q", got)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "f")); string(got) != "new" {
		t.Errorf("got %q", got)
	}
}

func TestWriteErrors(t *testing.T) {
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "no", "f"), nil, Options{}); errdef.KindOf(err) != errdef.NotFound {
		t.Errorf("a missing directory gives %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "d"), []byte("x"), Options{}); err == nil {
		t.Error("a directory was replaced")
	}
	only(t, dir, "d")
}

// TestCreateOnce lets many claim one name: one must win, and nobody may ever see it without its content.
func TestCreateOnce(t *testing.T) {
	dir := t.TempDir()
	fd := open(t, dir)
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			err := CreateAt(fd, "claim", []byte("owner "+strings.Repeat("x", 5000)), Options{Volatile: true})
			switch {
			case err == nil:
				won.Add(1)
			case !errdef.Is(err, errdef.Exists) || !errors.Is(err, unix.EEXIST):
				t.Errorf("contender %d: %v", i, err)
			default:
				if got, err := os.ReadFile(filepath.Join(dir, "claim")); len(got) != 5006 || err != nil {
					t.Errorf("a loser sees %d bytes, %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
	only(t, dir, "claim")
}

// TestWriteWhole reads while others replace: every reader must see one whole version.
func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	fd := open(t, dir)
	path := filepath.Join(dir, "f")
	if err := WriteAt(fd, "f", []byte(strings.Repeat("a", 9000)), Options{Volatile: true}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for _, c := range []string{"a", "b", "c"} {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := WriteAt(fd, "f", []byte(strings.Repeat(c, 9000)), Options{Volatile: true}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2000 {
		got, err := os.ReadFile(path)
		if err != nil || len(got) != 9000 || strings.Count(string(got), string(got[:1])) != 9000 {
			t.Errorf("a torn file: %d bytes, %v", len(got), err)
			break
		}
	}
	close(stop)
	writers.Wait()
	only(t, dir, "f")
}

func TestFlock(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	ctx := context.Background()
	if err := Flock(ctx, a, Exclusive); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := Flock(short, b, Shared); !errdef.Is(err, errdef.Timeout) {
		t.Errorf("a taken lock gives %v", err)
	}
	if d := time.Since(begin); d < 20*time.Millisecond || d > 5*time.Second {
		t.Errorf("waited %v", d)
	}
	if err := Flock(ctx, a, Shared); err != nil { // converted
		t.Fatal(err)
	}
	if ok, err := TryFlock(b, Shared); !ok || err != nil {
		t.Errorf("two shared locks: %v, %v", ok, err)
	}
	if ok, err := TryFlock(b, Exclusive); ok || err != nil {
		t.Errorf("exclusive beside shared: %v, %v", ok, err)
	}
	if _, err := TryFlock(-1, Shared); err == nil {
		t.Error("a closed descriptor is locked")
	}
}

// TestFlockExcludes counts under the lock without any other protection.
func TestFlockExcludes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "n")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer unix.Close(fd)
			if err := Flock(context.Background(), fd, Exclusive); err != nil {
				t.Error(err)
				return
			}
			old, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
			if err := os.WriteFile(path, append(old, '.'), 0o600); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _ := os.ReadFile(path); len(got) != 20 {
		t.Errorf("%d of 20 were counted", len(got))
	}
}
