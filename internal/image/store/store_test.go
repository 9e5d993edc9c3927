package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// TestMain lets this program play the processes that the tests kill and let loose on each other, and fails on descriptors left open.
func TestMain(m *testing.M) {
	if role := os.Getenv("STORE_TEST_ROLE"); role != "" {
		os.Exit(play(role, os.Getenv("STORE_TEST_ROOT")))
	}
	if r, w, err := os.Pipe(); err == nil { // package os opens its poller for the first pipe, and keeps it
		_, _ = r.Close(), w.Close()
	}
	before := descriptors()
	code := m.Run()
	if after := descriptors(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d descriptors before the tests, %d after\n", before, after)
		code = 1
	}
	os.Exit(code)
}

func descriptors() int {
	names, _ := os.ReadDir("/proc/self/fd")
	return len(names)
}

func openStore(t testing.TB, root string) *Store {
	t.Helper()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// clean fails unless the store is valid.
func clean(t testing.TB, s *Store) FsckReport {
	t.Helper()
	report, err := s.Fsck(context.Background(), FsckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		t.Errorf("fsck: %s", p)
	}
	return report
}

// content is the same for the same seed.
func content(seed uint64, size int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), 1})
	data := make([]byte, size)
	_, _ = r.Read(data)
	return data
}

func describe(mediaType string, data []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// image is one that pull stores: layers, configuration, manifest.
type image struct {
	name     string
	layers   [][]byte
	config   []byte
	manifest []byte
	desc     v1.Descriptor
}

func newImage(name string, seed uint64, sizes ...int) image {
	im := image{name: name}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	c := v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers"}, Author: fmt.Sprint(seed)}
	for i, size := range sizes {
		layer := content(seed+uint64(i), size)
		im.layers = append(im.layers, layer)
		m.Layers = append(m.Layers, describe(v1.MediaTypeImageLayer, layer))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(layer))
	}
	im.config, _ = json.Marshal(c)
	m.Config = describe(v1.MediaTypeImageConfig, im.config)
	im.manifest, _ = json.Marshal(m)
	im.desc = describe(v1.MediaTypeImageManifest, im.manifest)
	return im
}

func (im image) digests() []digest.Digest {
	out := []digest.Digest{im.desc.Digest, digest.FromBytes(im.config)}
	for _, l := range im.layers {
		out = append(out, digest.FromBytes(l))
	}
	return out
}

// pull stores the image as the service does: lease, manifest, blobs with resume, name. step is called between any two writes.
func (im image) pull(ctx context.Context, s *Store, step func()) error {
	lease, err := s.Lease(ctx, "pull "+im.name)
	if err != nil {
		return err
	}
	defer lease.Close()
	if err := lease.Add(ctx, im.digests()...); err != nil {
		return err
	}
	for _, layer := range append([][]byte{im.manifest, im.config}, im.layers...) {
		if err := ingest(ctx, s, layer, step); err != nil {
			return err
		}
	}
	step()
	return s.Tag(ctx, im.name, im.desc, Event{Action: "pull", Source: im.name})
}

func ingest(ctx context.Context, s *Store, data []byte, step func()) error {
	in, err := s.Ingest(ctx, describe("", data))
	if errdef.Is(err, errdef.Exists) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	for rest := data[in.Offset():]; len(rest) > 0; {
		n := min(len(rest), 70_000)
		step()
		if _, err := in.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	step()
	return in.Commit(ctx)
}

func nothing() {}

func TestLife(t *testing.T) {
	ctx := context.Background()
	root := filepath.Join(t.TempDir(), "a", "b")
	s := openStore(t, root)
	im := newImage("docker.io/library/x:latest", 1, 300_000, 0, 5)
	if _, err := s.Lookup(im.name); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a name in an empty store: %v", err)
	}
	if err := im.pull(ctx, s, nothing); err != nil {
		t.Fatal(err)
	}
	got, err := s.Lookup(im.name)
	if err != nil || got.Descriptor.Digest != im.desc.Digest || got.Descriptor.Size != im.desc.Size {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, d := range im.digests()[2:] {
		if size, err := s.Stat(d); err != nil || size != int64(len(im.layers[i])) {
			t.Errorf("layer %d: %d, %v", i, size, err)
		}
		data, err := s.Bytes(d, 1<<20)
		if err != nil || string(data) != string(im.layers[i]) {
			t.Errorf("layer %d: %d bytes, %v", i, len(data), err)
		}
		f, err := s.Reader(d)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, f); err != nil || n != int64(len(im.layers[i])) {
			t.Errorf("layer %d read: %d, %v", i, n, err)
		}
		_ = f.Close()
	}
	if _, err := s.Bytes(im.digests()[2], 10); err == nil || !strings.Contains(err.Error(), "has 300000 bytes, at most 10") {
		t.Errorf("a bound: %v", err)
	}
	modes(t, root)
	if r := clean(t, s); r.Blobs != 5 || r.Names != 1 || len(r.Partials) != 0 {
		t.Errorf("report %+v", r)
	}
	r, err := s.GC(ctx, Roots{Grace: -1, PartialGrace: -1})
	if err != nil || len(r.Removed) != 0 || r.Live != 5 {
		t.Errorf("gc took %+v, %v", r, err)
	}
	was, err := s.Untag(ctx, im.name, Event{})
	if err != nil || was.Digest != im.desc.Digest {
		t.Fatal(err)
	}
	if r, err := s.GC(ctx, Roots{}); err != nil || len(r.Removed) != 0 || r.Fresh != 5 {
		t.Errorf("gc without grace: %+v, %v", r, err)
	}
	if r, err := s.GC(ctx, Roots{Dropped: []v1.Descriptor{was}, DryRun: true}); err != nil || len(r.Removed) != 5 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	if r, err := s.GC(ctx, Roots{Dropped: []v1.Descriptor{was}}); err != nil || len(r.Removed) != 5 || r.Bytes < 300_005 || r.Live != 0 {
		t.Errorf("gc: %+v, %v", r, err)
	}
	if r := clean(t, s); r.Blobs != 0 {
		t.Errorf("%d blobs are left", r.Blobs)
	}
	for _, dir := range []string{"bulkhead/ingest", "bulkhead/leases", "bulkhead/trash"} {
		if names, _ := os.ReadDir(filepath.Join(root, dir)); len(names) != 0 {
			t.Errorf("%s has %v", dir, names)
		}
	}
	history(t, s, im.name, "pull "+short(im.desc.Digest), "untag "+short(im.desc.Digest))
}

// modes wants all of the store closed to others.
func modes(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func short(d digest.Digest) string { return d.Encoded()[:8] }

func history(t *testing.T, s *Store, name string, want ...string) {
	t.Helper()
	events, err := s.History(name)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var last time.Time
	for _, e := range events {
		got = append(got, e.Action+" "+short(e.Digest))
		if e.When.Before(last.Add(-time.Second)) || time.Since(e.When) > time.Hour {
			t.Errorf("%s at %v, after %v", e.Action, e.When, last)
		}
		last = e.When
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("history of %s: %v, want %v", name, got, want)
	}
}

func TestTags(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	a, b := newImage("a", 10, 10), newImage("b", 20, 20)
	for _, im := range []image{a, b} {
		if err := im.pull(ctx, s, nothing); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Tag(ctx, "a", b.desc, Event{Action: "tag", Source: "b"}); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(s.path, indexFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(ctx, "a", b.desc, Event{Action: "pull"}); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(filepath.Join(s.path, indexFile)); !os.SameFile(before, after) {
		t.Error("a name that points there already costs a write")
	}
	history(t, s, "a", "pull "+short(a.desc.Digest), "tag "+short(b.desc.Digest))
	tags, err := s.Tags()
	if err != nil || len(tags) != 2 || tags[0].Name != "a" || tags[1].Name != "b" || tags[0].Descriptor.Digest != b.desc.Digest {
		t.Errorf("%+v, %v", tags, err)
	}
	missing := a.desc
	missing.Digest = digest.FromString("nowhere")
	if err := s.Tag(ctx, "c", missing, Event{}); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a tag of nothing: %v", err)
	}
	wrong := a.desc
	wrong.Size++
	if err := s.Tag(ctx, "c", wrong, Event{}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("a tag with a wrong size: %v", err)
	}
	if _, err := s.Untag(ctx, "c", Event{}); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("untag of nothing: %v", err)
	}
	for _, name := range []string{"", "../x", "a/../b", "/etc", "a//b", "x\n", "x y", "\x1b[31m", "ä", strings.Repeat("a", 513), "-x", ".x", "a/."} {
		if err := s.Tag(ctx, name, a.desc, Event{}); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	for _, name := range []string{"[::1]:5000/x:y", "x@" + string(a.desc.Digest), "latest", "A/b"} {
		if err := s.Tag(ctx, name, a.desc, Event{Action: strings.Repeat("x", 9999), Source: strings.Repeat("\n", 9999)}); err != nil {
			t.Errorf("the name %q: %v", name, err)
		}
		if _, err := s.Lookup(name); err != nil {
			t.Error(err)
		}
	}
	clean(t, s)
}

func TestAttach(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	im := newImage("x", 1, 10)
	if err := im.pull(ctx, s, nothing); err != nil {
		t.Fatal(err)
	}
	var attached []v1.Descriptor
	subject := im.desc
	for i := range 3 { // a signature of a signature of a signature
		m := v1.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: v1.DescriptorEmptyJSON,
			Layers: []v1.Descriptor{describe("application/x", []byte{byte(i)})}, Subject: &subject,
		}
		data, _ := json.Marshal(m)
		for _, d := range [][]byte{{byte(i)}, []byte("{}"), data} {
			if err := ingest(ctx, s, d, nothing); err != nil {
				t.Fatal(err)
			}
		}
		desc := describe(v1.MediaTypeImageManifest, data)
		for range 2 {
			if err := s.Attach(ctx, subject.Digest, desc); err != nil {
				t.Fatal(err)
			}
		}
		attached = append(attached, desc)
		got, err := s.Referrers(subject.Digest)
		if err != nil || len(got) != 1 || got[0].Digest != desc.Digest {
			t.Errorf("%d: %+v, %v", i, got, err)
		}
		subject = desc
	}
	if r, err := s.GC(ctx, Roots{Grace: -1}); err != nil || len(r.Removed) != 0 || r.Detached != 0 {
		t.Errorf("gc took %+v, %v", r, err)
	}
	clean(t, s)
	if _, err := s.Untag(ctx, "x", Event{}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.GC(ctx, Roots{Grace: -1}); err != nil || r.Live != 0 || r.Detached != 3 {
		t.Errorf("gc left %+v, %v", r, err)
	}
	if got, err := s.Referrers(attached[0].Digest); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	clean(t, s)
}

// TestLease: what a lease names stays, with all that a manifest in it names, until its owner ends it.
func TestLease(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	im := newImage("x", 1, 10, 20)
	if err := im.pull(ctx, s, nothing); err != nil {
		t.Fatal(err)
	}
	lease, err := s.Lease(ctx, "a container\nwith a line")
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Add(ctx, im.desc.Digest); err != nil {
		t.Fatal(err)
	}
	if err := lease.Add(ctx, "sha256:x"); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("no digest: %v", err)
	}
	if _, err := s.Untag(ctx, "x", Event{}); err != nil {
		t.Fatal(err)
	}
	all := Roots{Grace: -1, PartialGrace: -1}
	if r, err := s.GC(ctx, all); err != nil || len(r.Removed) != 0 {
		t.Errorf("gc took %+v, %v", r, err)
	}
	if err := lease.Close(); err != nil {
		t.Error(err)
	}
	if err := lease.Add(ctx, im.desc.Digest); err == nil {
		t.Error("a lease that has ended takes something")
	}
	keep := all
	keep.Keep = func() ([]digest.Digest, error) { return []digest.Digest{im.desc.Digest}, nil }
	if r, err := s.GC(ctx, keep); err != nil || len(r.Removed) != 0 {
		t.Errorf("gc took %+v, %v", r, err)
	}
	keep.Keep = func() ([]digest.Digest, error) { return nil, errors.New("unreadable") }
	if r, err := s.GC(ctx, keep); err == nil || len(r.Removed) != 0 {
		t.Errorf("gc without knowing what is kept: %+v, %v", r, err)
	}
	if r, err := s.GC(ctx, all); err != nil || len(r.Removed) != 4 {
		t.Errorf("gc left %+v, %v", r, err)
	}
}

// TestSparse: an index of which one platform is here is whole, and what is here of it stays.
func TestSparse(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	im := newImage("x", 1, 10)
	if err := im.pull(ctx, s, nothing); err != nil {
		t.Fatal(err)
	}
	other := newImage("y", 2, 10)
	data, _ := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{other.desc, im.desc}})
	desc, err := s.Put(ctx, v1.MediaTypeImageIndex, data)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(ctx, "x", desc, Event{}); err != nil {
		t.Fatal(err)
	}
	if r, err := s.GC(ctx, Roots{Grace: -1}); err != nil || r.Live != 4 || len(r.Removed) != 0 {
		t.Errorf("gc: %+v, %v", r, err)
	}
	clean(t, s)
}
