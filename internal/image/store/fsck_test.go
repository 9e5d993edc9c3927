package store

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// TestFsck breaks a store in each way that a disk or a person can, and wants each found, named, and repaired without loss of what is
// whole.
func TestFsck(t *testing.T) {
	ctx := context.Background()
	good, bad := newImage("good:1", 1, 10, 20), newImage("bad:1", 50, 1000, 2000)
	layer := digest.FromBytes(bad.layers[1])
	flip := func(path string) error {
		data, err := os.ReadFile(path)
		if err == nil {
			data[len(data)/2] ^= 1
			err = os.WriteFile(path, data, 0o600)
		}
		return err
	}
	journal := func(root, name string) string { return filepath.Join(root, stateDir, tagsDir, journalName(name)) }
	for _, c := range []struct {
		what   string
		break_ func(root string) error
		want   []string // the beginnings of the problems
		lost   bool     // the name bad:1 is gone after the repair
	}{
		{"nothing", func(string) error { return nil }, nil, false},
		{
			"a bit of a layer", func(r string) error { return flip(blobPath(r, layer)) },
			[]string{"blob " + string(layer) + ": the content, 2000 bytes, has the digest sha256:", `name "bad:1": blob ` + string(layer) + ": no such file"},
			true,
		},
		{
			"a bit of a manifest", func(r string) error { return flip(blobPath(r, bad.desc.Digest)) },
			[]string{"blob " + string(bad.desc.Digest), `name "bad:1": blob ` + string(bad.desc.Digest)},
			true,
		},
		{
			"a layer cut short", func(r string) error { return os.Truncate(blobPath(r, layer), 5) },
			[]string{"blob " + string(layer) + ": the content, 5 bytes", `name "bad:1"`},
			true,
		},
		{"a layer gone", func(r string) error { return os.Remove(blobPath(r, layer)) }, []string{`name "bad:1": blob ` + string(layer) + ": no such file"}, true},
		{"a manifest gone", func(r string) error { return os.Remove(blobPath(r, bad.desc.Digest)) }, []string{`name "bad:1": blob ` + string(bad.desc.Digest)}, true},
		{
			"something among the blobs", func(r string) error { return os.WriteFile(r+"/blobs/sha256/letter", []byte("x"), 0o600) },
			[]string{`blobs/sha256/"letter": a file that is no blob`},
			false,
		},
		{
			"something among the partial blobs", func(r string) error { return os.WriteFile(r+"/bulkhead/ingest/letter", []byte("x"), 0o600) },
			[]string{`bulkhead/ingest/"letter": no partial blob`},
			false,
		},
		{
			"something among the journals", func(r string) error { return os.WriteFile(r+"/bulkhead/tags/letter", []byte("x"), 0o600) },
			[]string{`bulkhead/tags/"letter": no journal`},
			false,
		},
		{"half a line of a journal", func(r string) error {
			f, err := os.OpenFile(journal(r, "good:1"), os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString(`{"name":"good:1","when":"2026`)
				_ = f.Close()
			}
			return err
		}, []string{"bulkhead/tags/\"" + journalName("good:1") + "\": 1 of 2 lines are no records"}, false},
		{
			"a journal of another name", func(r string) error { return os.Rename(journal(r, "good:1"), journal(r, "other")) },
			[]string{"bulkhead/tags/\"" + journalName("other") + "\": 1 of 1 lines"},
			false,
		},
		{"index.json", func(r string) error { return os.Truncate(r+"/index.json", 100) }, []string{"index.json: "}, false},
		{"the place of index.json", func(r string) error {
			_ = os.Remove(r + "/index.json")
			return os.Symlink("/etc/passwd", r+"/index.json")
		}, []string{"index.json: "}, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			root := t.TempDir()
			s := openStore(t, root)
			for _, im := range []image{good, bad} {
				if err := im.pull(ctx, s, nothing); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.break_(root); err != nil {
				t.Fatal(err)
			}
			if len(c.want) == 0 {
				clean(t, s)
				return
			}
			look, err := s.Fsck(ctx, FsckOptions{})
			if err != nil || len(look.Problems) == 0 {
				t.Fatalf("found nothing: %v", err)
			}
			var done, total int64
			report, err := s.Fsck(ctx, FsckOptions{Repair: true, Progress: func(d, n int64) { done, total = d, n }})
			if err != nil || len(report.Problems) != len(c.want) {
				t.Fatalf("%v, %v, want %q", report.Problems, err, c.want)
			}
			if done == 0 || done != total {
				t.Errorf("progress: %d of %d", done, total)
			}
			for i, p := range report.Problems {
				if !p.Repaired || !strings.HasPrefix(p.String(), c.want[i]) || look.Problems[0].Repaired {
					t.Errorf("%s, want %s", p, c.want[i])
				}
			}
			clean(t, s)
			if _, err := s.Lookup("good:1"); err != nil {
				t.Errorf("the whole image: %v", err)
			}
			if _, err := s.Lookup("bad:1"); (err != nil) != c.lost {
				t.Errorf("the broken image: %v", err)
			}
			if err := bad.pull(ctx, s, nothing); err != nil {
				t.Errorf("another pull: %v", err)
			}
			clean(t, s)
			if c.lost {
				history(t, s, "bad:1", "pull "+short(bad.desc.Digest), "fsck "+short(bad.desc.Digest), "pull "+short(bad.desc.Digest))
			}
		})
	}
}

// TestGCRefuses: of a manifest that is broken it is not known what it names, so nothing is removed.
func TestGCRefuses(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	s := openStore(t, root)
	im := newImage("x", 1, 10)
	if err := im.pull(ctx, s, nothing); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blobPath(root, im.desc.Digest), im.manifest[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := s.GC(ctx, Roots{Grace: -1})
	if !errdef.Is(err, errdef.Conflict) || len(r.Removed) != 0 || errdef.Hint(err) == "" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := s.Stat(im.digests()[2]); err != nil {
		t.Error(err)
	}
	double := []byte(strings.Replace(string(im.manifest), `{`, `{"layers":[],`, 1))
	desc, err := s.Put(ctx, v1.MediaTypeImageManifest, double)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(ctx, "x", desc, Event{}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.GC(ctx, Roots{Grace: -1}); err == nil || !strings.Contains(err.Error(), "twice") || len(r.Removed) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestIngestErrors: what a registry can do wrong, and a caller.
func TestIngestErrors(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	s := openStore(t, root)
	data := content(1, 2_000_000)
	desc := describe("", data)
	begin := func(d v1.Descriptor) *Ingest {
		t.Helper()
		in, err := s.Ingest(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	is := func(what string, err error, kind errdef.Kind, want string) {
		t.Helper()
		if err == nil || !errdef.Is(err, kind) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v (%v), want %q", what, err, errdef.KindOf(err), want)
		}
	}
	in := begin(desc)
	n, err := io.Copy(in, io.MultiReader(strings.NewReader(string(data[:700_001])), iotest.ErrReader(errors.New("connection reset"))))
	if n != 700_001 || err == nil || in.Offset() != 700_001 {
		t.Errorf("a body that breaks off: %d, %v", n, err)
	}
	is("a commit too early", in.Commit(ctx), errdef.Invalid, "ends after 700001 of 2000000 bytes")
	is("a second commit", in.Commit(ctx), errdef.Conflict, "after its end")
	if _, err := in.Write(data); err == nil {
		t.Error("written to after the end")
	}
	in = begin(desc)
	if in.Offset() != 700_001 {
		t.Errorf("resumed at %d", in.Offset())
	}
	n, err = io.Copy(in, iotest.OneByteReader(strings.NewReader(string(data[700_001:800_000]))))
	if n != 99_999 || err != nil {
		t.Errorf("byte by byte: %d, %v", n, err)
	}
	n, err = io.Copy(in, onlyReader{strings.NewReader(string(data))}) // an endless body
	is("too much", err, errdef.Invalid, "more than the 2000000 bytes")
	if in.Offset() != 800_000+n || n > 1_200_000 || n == 0 {
		t.Errorf("%d bytes of too many are taken, offset %d", n, in.Offset())
	}
	if _, err := io.Copy(in, strings.NewReader(string(data[in.Offset():]))); err != nil {
		t.Fatal(err)
	}
	is("other content", in.Commit(ctx), errdef.Invalid, "the content has the digest sha256:")
	in = begin(desc)
	if in.Offset() != 0 {
		t.Error("wrong content was kept")
	}
	stopped, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = in.Write(data)
	is("cancelled", in.Commit(stopped), errdef.Timeout, "commit")
	in = begin(desc)
	if in.Offset() != desc.Size {
		t.Errorf("a whole partial blob: %d", in.Offset())
	}
	if err := in.Commit(ctx); err != nil {
		t.Error(err)
	}
	_, err = s.Ingest(ctx, desc)
	is("again", err, errdef.Exists, "is there")
	_, err = s.Ingest(ctx, v1.Descriptor{Digest: "sha256:../../x", Size: 1})
	is("a hostile digest", err, errdef.Invalid, "digits")
	_, err = s.Ingest(ctx, v1.Descriptor{Digest: desc.Digest, Size: -1})
	is("a negative size", err, errdef.Invalid, "a size of -1")
	_, err = s.Ingest(stopped, describe("", []byte("x")))
	is("cancelled before", err, errdef.Timeout, "begin")
	_, err = s.Stat("md5:9e107d9d372bb6826bd81d3542a419d6")
	is("md5", err, errdef.Unsupported, "neither sha256 nor sha512")
	empty := begin(describe("", nil))
	if err := empty.Commit(ctx); err != nil {
		t.Error(err)
	}
	in = begin(describe("", []byte("x")))
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if names, _ := os.ReadDir(root + "/bulkhead/ingest"); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	if r := clean(t, s); r.Blobs != 2 {
		t.Errorf("%d blobs", r.Blobs)
	}
}

// TestNested: an index in an index in an index, forty deep, and one with a thousand manifests: marked without recursion.
func TestNested(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	im := newImage("x", 1, 10)
	if err := im.pull(ctx, s, nothing); err != nil {
		t.Fatal(err)
	}
	desc := im.desc
	for range 40 {
		data, _ := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{desc, desc}})
		var err error
		if desc, err = s.Put(ctx, v1.MediaTypeImageIndex, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(ctx, "x", desc, Event{}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.GC(ctx, Roots{Grace: -1}); err != nil || r.Live != 43 || len(r.Removed) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	clean(t, s)
}
