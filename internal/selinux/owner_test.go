package selinux

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

func ownerOf(t *testing.T, path string) [2]uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return [2]uint32{st.Uid, st.Gid}
}

// give is GiveAt by a path.
func give(t *testing.T, path string, o Owner) (Done, error) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return GiveAt(t.Context(), fd, path, o)
}

// TestGive: a tree is given away whole, links themselves and not what they lead to, and no place of the host.
func TestGive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "a/b/link"} {
		if err := os.Symlink(outside, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "dirlink")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "a", "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	done, err := give(t, dir, Owner{UID: 4711, GID: 4712})
	if err != nil || done.Written != 7 {
		t.Errorf("%+v, %v", done, err)
	}
	for _, name := range []string{".", "a", "a/b", "a/b/link", "a/fifo", "link", "dirlink"} {
		if got := ownerOf(t, filepath.Join(dir, name)); got != [2]uint32{4711, 4712} {
			t.Errorf("%s belongs to %v", name, got)
		}
	}
	if got := ownerOf(t, outside); got != [2]uint32{} {
		t.Errorf("what a link leads to belongs to %v", got)
	}
	if done, err = give(t, dir, Owner{UID: 4711, GID: 4712}); err != nil || done.Written != 0 {
		t.Errorf("again: %+v, %v", done, err)
	}
	for _, path := range []string{"/", "/etc", "/usr/share", "/proc/self", "/etc/passwd"} {
		if _, err := give(t, path, Owner{UID: 4711}); !errdef.Is(err, errdef.Denied) || errdef.Hint(err) == "" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := give(t, dir, Owner{Guard: []string{filepath.Join(dir, "a")}}); !errdef.Is(err, errdef.Denied) {
		t.Errorf("a guarded directory: %v", err)
	}
	if got := ownerOf(t, filepath.Join(dir, "link")); got != [2]uint32{4711, 4712} {
		t.Errorf("refused, and yet given away: %v", got)
	}
}
