package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func blobPath(root string, d digest.Digest) string {
	return filepath.Join(root, "blobs", d.Algorithm().String(), d.Encoded())
}

// TestHostileBlobs puts all sorts of things where a blob should be. None is followed, none blocks, Fsck takes each away, and the blob can
// be fetched then.
func TestHostileBlobs(t *testing.T) {
	ctx := context.Background()
	secret := filepath.Join(t.TempDir(), "secret")
	data := []byte("the content")
	d := digest.FromBytes(data)
	if err := os.WriteFile(secret, data, 0o600); err != nil { // even with the right content
		t.Fatal(err)
	}
	for what, plant := range map[string]func(path string) error{
		"a symbolic link": func(p string) error { return os.Symlink(secret, p) },
		"a FIFO":          func(p string) error { return unix.Mkfifo(p, 0o600) },
		"a directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"a device or a socket": func(p string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Bind(fd, &unix.SockaddrUnix{Name: p})
		},
		"a file that everybody can write": func(p string) error {
			return shell("printf 'the content' > %s && chmod 0666 %s", p, p)
		},
		"a file of another user": func(p string) error {
			return shell("printf 'the content' > %s && chown 4242 %s", p, p)
		},
	} {
		t.Run(what, func(t *testing.T) {
			if what == "a file of another user" && os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			root := shortDir(t)
			s := openStore(t, root)
			if err := plant(blobPath(root, d)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Stat(d); err == nil || !strings.Contains(err.Error(), what) || errdef.Hint(err) == "" {
				t.Errorf("stat: %v", err)
			}
			if s.Has(describe("", data)) {
				t.Error("it is taken for the blob")
			}
			if f, err := s.Reader(d); err == nil {
				_ = f.Close()
				t.Error("it is opened")
			}
			if _, err := s.Bytes(d, 100); err == nil {
				t.Error("it is read")
			}
			report, err := s.Fsck(ctx, FsckOptions{Repair: true})
			if err != nil || len(report.Problems) != 1 || !report.Problems[0].Repaired || !strings.Contains(report.Problems[0].Text, what) {
				t.Errorf("fsck: %v, %v", report.Problems, err)
			}
			clean(t, s)
			if err := ingest(ctx, s, data, nothing); err != nil {
				t.Error(err)
			}
			if got, err := s.Bytes(d, 100); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func shell(format string, args ...any) error {
	out, err := exec.Command("sh", "-c", fmt.Sprintf(format, args...)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// shortDir is short enough for the name of a socket below it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestHostileFiles does the same to the other files of the store.
func TestHostileFiles(t *testing.T) {
	ctx := context.Background()
	elsewhere := t.TempDir()
	victim := filepath.Join(elsewhere, "victim")
	im := newImage("x", 1, 10)
	for _, c := range []struct{ what, path, want string }{
		{"link", indexFile, "index.json"},
		{"fifo", indexFile, "a FIFO stands in its place"},
		{"huge", indexFile, "at most 33554432 are read"},
		{"garbage", indexFile, "where a value should stand"},
		{"list", indexFile, "no object"},
		{"link", "bulkhead/tags/" + journalName("x"), "journal"},
		{"fifo", "bulkhead/tags/" + journalName("x"), "journal"},
		{"link", "bulkhead/ingest/" + blobName(digest.FromBytes(im.layers[0])), "too many levels of symbolic links"},
		{"fifo", "bulkhead/ingest/" + blobName(digest.FromBytes(im.layers[0])), "a FIFO stands in the place"},
		{"link", "bulkhead/gc.lock", "open gc.lock"},
		{"link", "bulkhead/index.lock", "open index.lock"},
	} {
		t.Run(c.what+" "+c.path, func(t *testing.T) {
			if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
				t.Fatal(err)
			}
			root := t.TempDir()
			s := openStore(t, root)
			path := filepath.Join(root, c.path)
			var err error
			switch c.what {
			case "link":
				err = os.Symlink(victim, path)
			case "fifo":
				err = unix.Mkfifo(path, 0o600)
			case "huge":
				if err = os.WriteFile(path, nil, 0o600); err == nil {
					err = os.Truncate(path, 1<<40)
				}
			case "garbage":
				err = os.WriteFile(path, []byte("garbage"), 0o600)
			case "list":
				err = os.WriteFile(path, []byte("[]"), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			err = im.pull(ctx, s, nothing)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("pull: %v, want %q", err, c.want)
			}
			if strings.Contains(c.path, "lock") {
				return // whoever can do that can do more
			}
			report, err := s.Fsck(ctx, FsckOptions{Repair: true})
			if err != nil || len(report.Problems) == 0 {
				t.Errorf("fsck: %v, %v", report.Problems, err)
			}
			for _, p := range report.Problems {
				if !p.Repaired {
					t.Errorf("not repaired: %s", p)
				}
			}
			clean(t, s)
			if err := im.pull(ctx, s, nothing); err != nil {
				t.Errorf("after the repair: %v", err)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
			if got, _ := os.ReadFile(victim); string(got) != "untouched" {
				t.Errorf("what is elsewhere is now %q", got)
			}
		})
	}
}

// TestRoot: what is no store, or not closed, is not opened as one.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	check := func(what, path, want string, kind errdef.Kind) {
		t.Helper()
		s, err := Open(path)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !errdef.Is(err, kind) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	make := func(name string, mode os.FileMode, files ...string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, mode); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(files); i += 2 {
			if err := os.WriteFile(filepath.Join(path, files[i]), []byte(files[i+1]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	check("a home", make("home", 0o700, "letter.txt", "x"), `not empty: it has "letter.txt"`, errdef.Conflict)
	check("open to the group", make("group", 0o770), "others can write it (mode 0770)", errdef.Denied)
	check("open to all", make("all", 0o777), "others can write it (mode 0777)", errdef.Denied)
	check("a later version", make("later", 0o700, "oci-layout", `{"imageLayoutVersion":"2.0.0"}`), `version "2.0.0"`, errdef.Unsupported)
	check("no layout", make("none", 0o700, "oci-layout", `x`), "where a value should stand", errdef.Conflict)
	check("twice", make("twice", 0o700, "oci-layout", `{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"2"}`), "twice", errdef.Conflict)
	check("a file", filepath.Join(dir, "home", "letter.txt"), "not a directory", errdef.Conflict)
	linked := make("linked", 0o700)
	if err := os.Symlink("/tmp", filepath.Join(linked, "blobs")); err != nil {
		t.Fatal(err)
	}
	check("blobs elsewhere", linked, `"blobs`, errdef.Conflict)
	if os.Geteuid() == 0 {
		path := make("other", 0o700)
		if err := os.Chown(path, 4242, 4242); err != nil {
			t.Fatal(err)
		}
		check("another user's", path, "belongs to user 4242", errdef.Denied)
	}
	readable := make("readable", 0o755)
	s := openStore(t, readable)
	if st, err := os.Stat(readable); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", st.Mode())
	}
	clean(t, s)
}

// TestForeignIndex: what other tools, or an attacker, wrote into index.json. Usable names are found, the rest is kept and does no harm.
func TestForeignIndex(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	s := openStore(t, root)
	im := newImage("good:1", 1, 10)
	if err := im.pull(ctx, s, nothing); err != nil {
		t.Fatal(err)
	}
	entry := func(annotations string) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%s},"future":[1,2]}`, im.desc.MediaType, im.desc.Digest, im.desc.Size, annotations)
	}
	const ref, full = "org.opencontainers.image.ref.name", "io.containerd.image.name"
	elements := []string{
		entry(`"` + ref + `":"../../../etc/passwd"`), entry(`"` + ref + `":"/etc/passwd"`), entry(`"` + ref + `":"\u001b[31mred"`),
		entry(`"` + ref + `":"` + strings.Repeat("a", 600) + `"`), entry(`"` + ref + `":"escap\u0065d"`), entry(`"` + ref + `":"plain"`), entry(`"` + ref + `":"plain"`),
		entry(`"` + ref + `":"1.0","` + full + `":"docker.io/library/whole:1.0"`), entry(`"` + ref + `":"a","` + full + `":"docker.io/library/lie:b"`),
		entry(`"x":"no name"`), `{"mediaType":"x/y","digest":"sha256:../x","size":1}`, `{"digest":7}`, `"text"`, `null`,
	}
	text := `{ "schemaVersion": 2, "annotations": {"of":"somebody"}, "manifests": [ ` + strings.Join(elements, " , ") + ` ], "future": {"x": 1} }`
	if err := os.WriteFile(filepath.Join(root, indexFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	tags, err := s.Tags()
	var names []string
	for _, tag := range tags {
		names = append(names, tag.Name)
	}
	if err != nil || strings.Join(names, " ") != "a docker.io/library/whole:1.0 escaped plain" {
		t.Errorf("names %q, %v", names, err)
	}
	for _, name := range names {
		if _, err := s.Lookup(name); err != nil {
			t.Error(err)
		}
	}
	if err := s.Tag(ctx, "mine", im.desc, Event{Action: "tag"}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, indexFile))
	if err != nil || !json.Valid(data) {
		t.Fatalf("%v: %s", err, data)
	}
	for _, want := range append(elements, `"of":"somebody"`, `"future":{"x": 1}`, `"schemaVersion":2`) {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("%s was not kept", want)
		}
	}
	history(t, s, "good:1", "pull "+short(im.desc.Digest), "lost "+short(im.desc.Digest))
	history(t, s, "plain", "found "+short(im.desc.Digest))
	if _, err := s.Untag(ctx, "plain", Event{}); err != nil {
		t.Error(err)
	}
	history(t, s, "plain", "found "+short(im.desc.Digest), "untag "+short(im.desc.Digest))
	if _, err := s.Lookup("plain"); err == nil {
		t.Error("the second entry of the name is still there")
	}
	if r, err := s.GC(ctx, Roots{Grace: -1}); err != nil || len(r.Removed) != 0 {
		t.Errorf("gc: %+v, %v", r, err)
	}
	report, err := s.Fsck(ctx, FsckOptions{Repair: true})
	if err != nil || len(report.Problems) != 8 {
		t.Errorf("%v, %v", report.Problems, err)
	}
	for _, p := range report.Problems {
		if strings.ContainsAny(p.String(), "\x1b\n") {
			t.Errorf("not for a terminal: %q", p)
		}
	}
	clean(t, s)
	if files, _ := filepath.Glob(filepath.Join(root, "bulkhead/tags/*")); len(files) == 0 {
		t.Error("no journals")
	} else {
		for _, f := range files {
			if len(filepath.Base(f)) != 64 {
				t.Errorf("journal %s", f)
			}
		}
	}
}

// FuzzIndex reads, changes and writes any index.json: what comes out is one that we read again, with the change in it.
func FuzzIndex(f *testing.F) {
	d := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1}
	x := &index{}
	_ = x.set("docker.io/library/x:latest", d)
	f.Add(x.bytes(), "y")
	f.Add([]byte(`{"manifests":[{"digest":"`+string(d.Digest)+`","annotations":{"org.opencontainers.image.ref.name":"\u0061"}},null,7],"x":[{}]}`), "a")
	f.Add([]byte(`{"manifests":null}`), "docker.io/x/y:z")
	f.Add([]byte(`{"schemaVersion":2}`), "[::1]:5000/a")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		x, err := parseIndex(data)
		if err != nil {
			return
		}
		before := len(x.entries)
		tags := len(x.all())
		if CheckName(name) != nil {
			return
		}
		if err := x.set(name, d); err != nil {
			t.Fatal(err)
		}
		y, err := parseIndex(x.bytes())
		if err != nil {
			t.Fatalf("%q became %q: %v", data, x.bytes(), err)
		}
		if e, _, ok := y.named(name); !ok || e.desc.Digest != d.Digest || len(y.entries) > before+1 || len(y.all()) > tags+1 {
			t.Fatalf("%q became %q", data, x.bytes())
		}
		y.drop(name)
		if _, _, ok := y.named(name); ok {
			t.Fatalf("%q is not gone from %q", name, x.bytes())
		}
	})
}
