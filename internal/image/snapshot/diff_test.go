package snapshot_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/image/layer/overlay"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"golang.org/x/sys/unix"
)

// change does to a mounted root what containers do.
func change(t *testing.T, root string) {
	t.Helper()
	in := func(name string) string { return filepath.Join(root, name) }
	for _, err := range []error{
		os.WriteFile(in("a/1"), []byte("changed"), 0o644),
		os.Remove(in("a/2")),
		os.RemoveAll(in("b")), os.Mkdir(in("b"), 0o700), os.WriteFile(in("b/new"), []byte("new"), 0o600), // opaque
		os.RemoveAll(in("e")),
		os.MkdirAll(in("n/m"), 0o755), os.WriteFile(in("n/m/f"), []byte("x"), 0o644), os.Link(in("n/m/f"), in("n/hard")),
		os.Symlink("m/f", in("n/soft")), unix.Mkfifo(in("n/fifo"), 0o640), unix.Mknod(in("n/dev"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))),
		unix.Setxattr(in("n/m/f"), "user.note", []byte("note\x00\xff"), 0),
		unix.Setxattr(in("n/m/f"), "security.capability", []byte{0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0),
		os.Chmod(in("c"), 0o4711|os.ModeSetuid), os.Lchown(in("n/soft"), 3, 4), os.WriteFile(in("n/\xff\xfe"), nil, 0o644),
		os.Chtimes(in("n"), time.Unix(5, 6), time.Unix(7, 8)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(in("n/sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("end"), 5<<20); err != nil {
		t.Fatal(err)
	}
}

// TestDiff makes a layer of a container's changes: the same bytes twice, and unpacked on the same layers it shows the same tree as the container saw.
func TestDiff(t *testing.T) {
	ctx := context.Background()
	s := open(t)
	base := [][]byte{archiveOf("a/", "a/1=one", "a/2=two", "b/", "b/old=old", "c=sea", "e/", "e/f=x"), archiveOf("a/", "a/3=three")}
	chains := add(t, s, base...)
	upper, work := t.TempDir(), t.TempDir()
	container := mounted(t, s, snapshot.MountOptions{Upper: upper, Work: work}, chains[1])
	change(t, container)
	use, err := s.Use(ctx, chains[1])
	if err != nil {
		t.Fatal(err)
	}
	defer use.Close()
	tree := &overlay.Tree{Upper: directory(t, upper)}
	for _, dir := range use.Layers() {
		tree.Lower = append(tree.Lower, directory(t, dir))
	}
	defer tree.Close()
	var first, second bytes.Buffer
	r, err := overlay.Diff(ctx, tree, &first)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := overlay.Diff(ctx, tree, &second); err != nil || again.DiffID != r.DiffID || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	all := add(t, s, base[0], base[1], first.Bytes())
	same := mounted(t, s, snapshot.MountOptions{}, all[2])
	if got, want := describe(t, same), describe(t, container); got != want {
		t.Errorf("unpacked:\n%s\nthe container saw\n%s", got, want)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(same, "n/sparse"), &st); err != nil || st.Blocks > 256 {
		t.Errorf("a sparse file has %d blocks, %v", st.Blocks, err)
	}
	changes, err := overlay.Changes(ctx, tree)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changes {
		got = append(got, fmt.Sprintf("%c %q", c.Kind, c.Path))
	}
	want := []string{
		`C "/a"`, `C "/a/1"`, `D "/a/2"`, `C "/b"`, `A "/b/new"`, `D "/b/old"`, `C "/c"`, `D "/e"`, `A "/n"`, `A "/n/dev"`, `A "/n/fifo"`, `A "/n/hard"`, `A "/n/m"`, `A "/n/m/f"`,
		`A "/n/soft"`, `A "/n/sparse"`, `A "/n/\xff\xfe"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("changes\n%q, want\n%q", got, want)
	}
}

func directory(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// describe lists all that a layer carries of a tree.
func describe(t *testing.T, root string) string {
	t.Helper()
	var b bytes.Buffer
	first := map[uint64]string{}
	var walk func(dir string)
	walk = func(dir string) {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			path := filepath.Join(root, name)
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				t.Fatal(err)
			}
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			fmt.Fprintf(&b, "%q %o %d:%d %x %d.%d same as %q", name, st.Mode, st.Uid, st.Gid, st.Rdev, st.Mtim.Sec, st.Mtim.Nsec, first[st.Ino])
			switch st.Mode & unix.S_IFMT {
			case unix.S_IFLNK:
				link, _ := os.Readlink(path)
				fmt.Fprintf(&b, " -> %s", link)
			case unix.S_IFREG:
				data, err := os.ReadFile(path)
				fmt.Fprintf(&b, " %d %.20q %v", len(data), data, err)
				for _, x := range []string{"user.note", "security.capability"} {
					buf := make([]byte, 100)
					if n, err := unix.Lgetxattr(path, x, buf); err == nil {
						fmt.Fprintf(&b, " %s=%x", x, buf[:n])
					}
				}
			}
			b.WriteByte('\n')
			if e.IsDir() {
				walk(name)
			}
		}
	}
	walk("")
	return b.String()
}
