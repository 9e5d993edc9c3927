package api

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// names are those of an archive's members.
func names(t testing.TB, archive string) []string {
	t.Helper()
	var out []string
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("archive of %d bytes, after %v: %v", len(archive), out, err)
		}
		out = append(out, strings.TrimSuffix(h.Name, "/"))
	}
}

// TestAPICopy: files in and out, of containers that run and that do not.
func TestAPICopy(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		e.sleeper("up")
		e.ok("create", "--name", "still", "box")
		dir := filepath.Join(e.home, "tree")
		if err := os.MkdirAll(filepath.Join(dir, "deep"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"a": "content a", "deep/b": "content b"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("deep/b", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"up", "still"} {
			e.ok("cp", dir, name+":/tmp")
			e.ok("cp", filepath.Join(dir, "a"), name+":/tmp/renamed")
			back := filepath.Join(e.home, name)
			e.ok("cp", name+":/tmp/tree", back)
			if b, err := os.ReadFile(filepath.Join(back, "deep/b")); err != nil || string(b) != "content b" {
				t.Errorf("%s: %q %v", name, b, err)
			}
			if to, err := os.Readlink(filepath.Join(back, "link")); err != nil || to != "deep/b" {
				t.Errorf("%s: the link: %q %v", name, to, err)
			}
			got := names(t, e.ok("cp", name+":/tmp/tree", "-"))
			slices.Sort(got)
			if strings.Join(got, " ") != "tree tree/a tree/deep tree/deep/b tree/link" {
				t.Errorf("%s: cp to -: %v", name, got)
			}
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			if err := errors.Join(w.WriteHeader(&tar.Header{Name: "piped", Mode: 0o600, Size: 2}), second(w.Write([]byte("hi"))), w.Close()); err != nil {
				t.Fatal(err)
			}
			if r := e.feed(b.Bytes(), "cp", "-", name+":/tmp"); r.code != 0 {
				t.Errorf("%s: cp from -: %+v", name, r)
			}
			if got := names(t, e.ok("cp", name+":/tmp/piped", "-")); len(got) != 1 || got[0] != "piped" {
				t.Errorf("%s: %v", name, got)
			}
			e.fails([]string{"cp", name + ":/no/such/file", e.home}, "no/such/file")
			e.fails([]string{"cp", filepath.Join(dir, "a"), name + ":/no/such/dir/"}, "")
			if r := e.feed([]byte("no archive at all"), "cp", "-", name+":/tmp"); r.code == 0 {
				t.Errorf("%s: nonsense is taken for an archive: %+v", name, r)
			}
		}
		e.says("content a0\n", "exec", "up", "sh", "-c", "cat /tmp/renamed; id -u")
		e.fails([]string{"cp", "no-such:/etc", e.home}, "o such container")
	})
}

func second(_ int, err error) error { return err }

// TestAPIImageOf: diff, export and commit: what a container has changed.
func TestAPIImageOf(t *testing.T) {
	eachBox(t, func(t *testing.T, e *engine) {
		e.ok("run", "--name", "changed", "-v", "/volume", "box", "sh", "-c", "echo new > /data/new; echo more >> /data/content; rm /data/no-program; touch /volume/outside")
		got := strings.Fields(e.ok("diff", "changed"))
		for _, want := range []string{"C /data", "A /data/new", "C /data/content", "D /data/no-program"} {
			if !strings.Contains(strings.Join(got, " "), want) {
				t.Errorf("diff: %q, without %s", got, want)
			}
		}
		if slices.Contains(got, "/volume/outside") {
			t.Errorf("diff: %q", got)
		}
		exported := names(t, e.ok("export", "changed"))
		for name, want := range map[string]bool{"bin/busybox": true, "data/new": true, "data/no-program": false, "volume/outside": false} {
			if slices.Contains(exported, name) != want {
				t.Errorf("export has %s: %v", name, !want)
			}
		}
		file := filepath.Join(e.home, "exported.tar")
		e.ok("export", "-o", file, "changed")
		e.ok("import", file, "again")
		e.says("new\n", "run", "--rm", "again", "cat", "/data/new")
		id := strings.TrimSpace(e.ok("commit", "-a", "me", "-m", "because", "-c", "ENV a=b", "-c", `CMD ["sh","-c","cat /data/new; echo $a"]`, "changed", "made:1"))
		e.says(id+" me because\n", "inspect", "-f", "{{.Id}} {{.Author}} {{.Comment}}", "made:1")
		e.says("new\nb\n", "run", "--rm", "made:1")
		e.sleeper("up")
		e.ok("commit", "up", "made:2") // is paused for it, and goes on
		e.says("running\n", "inspect", "-f", "{{.State.Status}}", "up")
		e.fails([]string{"commit", "-c", "RUN nonsense", "changed"}, "")
		e.fails([]string{"commit", "changed", "Not:A:Reference"}, "")
		e.fails([]string{"export", "no-such"}, "o such container")
		e.fails([]string{"rmi", "made:2", "box"}, "") // box has containers
	})
}
