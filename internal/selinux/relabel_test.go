package selinux

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// testAttribute stands for security.selinux, which the kernel lets root alone write on a host without SELinux, and only in a real form on one with it.
// The trusted ones go on everything, as security.selinux does, but need root.
func testAttribute() string {
	if os.Geteuid() == 0 {
		return "trusted.bulkhead-test"
	}
	return "user.bulkhead-test"
}

// sub is a tree below a temporary directory on a file system that has attributes.
func sub(t *testing.T, names ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	for _, name := range append([]string{"./"}, names...) {
		path := filepath.Join(root, name)
		var err error
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case strings.HasSuffix(name, "|"):
			err = unix.Mkfifo(strings.TrimSuffix(path, "|"), 0o644)
		case strings.Contains(name, "->"):
			link, to, _ := strings.Cut(name, "->")
			err = os.Symlink(to, filepath.Join(root, link))
		default:
			err = os.WriteFile(path, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Setxattr(root, testAttribute(), []byte("x"), 0); err != nil {
		t.Skipf("no attributes in %s: %v", root, err)
	}
	if err := unix.Removexattr(root, testAttribute()); err != nil {
		t.Fatal(err)
	}
	return root
}

// relabel runs the real walk with the attribute for tests.
func relabel(ctx context.Context, t *testing.T, root, label string, extra ...string) (Done, error) {
	t.Helper()
	r := relabeller{name: root, label: label, attribute: testAttribute(), extra: extra}
	return r.run(ctx, open(t, root))
}

func labelOf(path string) string {
	buf := make([]byte, 256)
	n, err := unix.Lgetxattr(path, testAttribute(), buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// labelsOf lists what has which label in a tree.
func labelsOf(t *testing.T, root string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		got[strings.TrimPrefix(strings.TrimPrefix(path, root), "/")] = labelOf(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRelabelTree(t *testing.T) {
	outside := sub(t, "secret")
	names := []string{"a/", "a/b/", "a/b/c", "d", "many/"}
	if os.Geteuid() == 0 {
		names = append(names, "link->"+outside+"/secret", "a/dir->"+outside, "dangling->nowhere", "pipe|")
	}
	for n := range 1000 { // more than one read of the directory
		names = append(names, fmt.Sprintf("many/file with a long name, so that there are several reads %d", n))
	}
	root := sub(t, names...)
	for _, label := range []string{"one", "two"} {
		done, err := relabel(t.Context(), t, root, label)
		if err != nil || done.Seen != len(names)+1 || done.Written != done.Seen {
			t.Errorf("%s: %+v, %v; there are %d", label, done, err, len(names)+1)
		}
		for path, got := range labelsOf(t, root) {
			if got != label {
				t.Errorf("%q has %q, want %q", path, got, label)
			}
		}
	}
	// What is right is not written again: the time of the change of the inode stays.
	var before, after unix.Stat_t
	if err := unix.Stat(root+"/a/b/c", &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(root+"/d", testAttribute(), []byte("other"), 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	if done, err := relabel(t.Context(), t, root, "two"); err != nil || done.Written != 1 {
		t.Errorf("again: %+v, %v", done, err)
	}
	if err := unix.Stat(root+"/a/b/c", &after); err != nil || after.Ctim != before.Ctim {
		t.Errorf("written again: %v, %v", before.Ctim, after.Ctim)
	}
	if got := labelsOf(t, outside); got[""] != "" || got["secret"] != "" {
		t.Errorf("through links: %v", got)
	}
	if done, err := relabel(t.Context(), t, root+"/d", "one"); err != nil || done.Seen != 1 || labelOf(root+"/d") != "one" || labelOf(root) != "two" {
		t.Errorf("one file: %+v, %v", done, err)
	}
}

// Mounts below the root and devices keep their labels, and a hard link to a place of the host stops the walk.
func TestRelabelKeeps(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	root, other := sub(t, "a/", "a/mounted/", "a/file", "z"), sub(t, "theirs", "deep/")
	for source, target := range map[string]string{other: root + "/a/mounted", other + "/theirs": root + "/a/file"} {
		if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
	if err := unix.Mknod(root+"/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	done, err := relabel(t.Context(), t, root, "one")
	slices.Sort(done.Mounts)
	if err != nil || fmt.Sprint(done) != "{4 3 1 [a/file a/mounted] false}" {
		t.Errorf("%+v, %v", done, err)
	}
	if labelOf(root+"/null") != "" || labelOf(root+"/z") != "one" || len(labelOf(other+"/theirs")+labelOf(other)+labelOf(other+"/deep")) > 0 {
		t.Errorf("labels: %v, %v", labelsOf(t, root), labelsOf(t, other))
	}
}

func TestRelabelHardLink(t *testing.T) {
	root := sub(t, "engine", "vol/")
	if err := os.Link(root+"/engine", root+"/vol/innocent"); err != nil {
		t.Fatal(err)
	}
	done, err := relabel(t.Context(), t, root+"/vol", "one", root+"/engine")
	if !errdef.Is(err, errdef.Denied) || !strings.Contains(err.Error(), "innocent") || labelOf(root+"/engine") != "" {
		t.Errorf("%+v, %v, labelled %q", done, err, labelOf(root+"/engine"))
	}
}

func TestRelabelErrors(t *testing.T) {
	deep := sub(t)
	dir := open(t, deep)
	for range maxDepth + 3 { // by descriptor: the path is too long
		if err := unix.Mkdirat(dir, "d", 0o755); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Openat(dir, "d", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		dir = fd
	}
	if done, err := relabel(t.Context(), t, deep, "one"); !errdef.Is(err, errdef.Invalid) || done.Seen != maxDepth+1 {
		t.Errorf("too deep: %+v, %v", done, err)
	}
	root := sub(t, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if done, err := relabel(ctx, t, root, "one"); !errdef.Is(err, errdef.Timeout) || done.Written != 0 {
		t.Errorf("cancelled: %+v, %v", done, err)
	}
	if done, err := Relabel(t.Context(), root+"/none", Volume{Label: "u:r:t:s0:c1"}); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("not there: %+v, %v", done, err)
	}
	if done, err := Relabel(t.Context(), root, Volume{}); err != nil || done.Seen != 0 {
		t.Errorf("no label: %+v, %v", done, err)
	}
	for _, label := range []string{"u:r:t", "u:r:t:s0", "u:r", "u:r:t:s0:x"} {
		if done, err := Relabel(t.Context(), root, Volume{Label: label}); !errdef.Is(err, errdef.Invalid) || done.Seen != 0 {
			t.Errorf("private %s: %+v, %v", label, done, err)
		}
	}
	for label, want := range map[string]string{"u:r:t": "u:r:t", "u:r:t:s0:c1,c2": "u:r:t:s0", "u:r:t:s0-s0:c1": "u:r:t:s0"} {
		if got, err := (&Volume{Label: label, Shared: true}).label(); err != nil || got != want {
			t.Errorf("shared %s: %s, %v", label, got, err)
		}
	}
	if Current() == Disabled {
		if _, err := Relabel(t.Context(), root, Volume{Label: "u:r:t:s0:c1"}); !errdef.Is(err, errdef.Unsupported) || errdef.Hint(err) == "" {
			t.Errorf("without SELinux: %v", err)
		}
	}
}

// A file system without attributes is told, and no error; one that refuses in the midst is.
func TestRelabelUnsupported(t *testing.T) {
	root := sub(t, "a/", "a/b", "c")
	r := relabeller{name: root, label: "one", attribute: "nosuch.namespace"} // EOPNOTSUPP, as from a file system without any
	if done, err := r.run(t.Context(), open(t, root)); err != nil || !done.Unsupported || done.Written != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if os.Geteuid() != 0 {
		return
	}
	point := t.TempDir()
	if err := unix.Mount(root, point, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
	if err := unix.Mount("", point, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if done, err := relabel(t.Context(), t, point, "one"); !errdef.Is(err, errdef.Denied) || done.Written != 0 || !strings.Contains(err.Error(), "0 of") || errdef.Hint(err) == "" {
		t.Errorf("read-only: %+v, %v", done, err)
	}
}

// A hostile program renames and exchanges directories with links and with directories of the outside while the walk goes on, as
// a container can that has the volume already: nothing outside is ever labelled.
func TestRelabelRace(t *testing.T) {
	root := sub(t, "a/", "a/b/", "a/b/f", "x/", "x/f", "x/y/", "x/z/", "x/z/b/")
	outside := sub(t, "dir/", "dir/b/", "dir/b/f", "file")
	for n := range 30 {
		for _, dir := range []string{"a", "a/b", "x/y", "x/z/b"} {
			if err := os.WriteFile(filepath.Join(root, dir, fmt.Sprint("f", n)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, target := range map[string]string{"out": outside + "/dir", "x/out": outside + "/dir", "x/up": outside + "/dir", "x/file": outside + "/file"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	var stop atomic.Bool
	ended := make(chan int)
	go func() {
		swaps := 0
		exchange := func(p, q string) {
			if unix.Renameat2(unix.AT_FDCWD, root+"/"+p, unix.AT_FDCWD, root+"/"+q, unix.RENAME_EXCHANGE) == nil {
				swaps++
			}
		}
		for !stop.Load() {
			exchange("a", "out")
			exchange("x/y", "x/out")
			exchange("x/z", "x/up") // no way leads through what another exchange turns into a link
			exchange("x/f", "x/file")
		}
		ended <- swaps
	}()
	walks, failures := 0, 0
	for start := time.Now(); time.Since(start) < 2*time.Second || walks < 10 && time.Since(start) < time.Minute; walks++ {
		// Without root, links have no attributes: the walk ends there.
		if _, err := relabel(t.Context(), t, root, fmt.Sprint("label", walks)); err != nil {
			if failures++; os.Geteuid() == 0 {
				t.Errorf("walk %d: %v", walks, err)
				break
			}
		}
	}
	stop.Store(true)
	swaps := <-ended
	for path, label := range labelsOf(t, outside) {
		if label != "" {
			t.Errorf("outside, %q got %q", path, label)
		}
	}
	t.Logf("%d walks, %d ended early, against %d swaps", walks, failures, swaps)
	if swaps < 100 || walks < 10 {
		t.Error("the race was not tried")
	}
}
