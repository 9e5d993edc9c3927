package store

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
)

// tool returns the path of a program that the test needs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("BULKHEAD_TEST_STRICT") != "" && os.Getenv("BULKHEAD_TEST_VM") == "" {
			t.Fatalf("%s is not installed: test/install does that", name)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

// TestSkopeo lets skopeo read what we wrote, and write what we read, in one directory.
func TestSkopeo(t *testing.T) {
	skopeo := tool(t, "skopeo")
	ctx := context.Background()
	root := filepath.Join(t.TempDir(), "store")
	s := openStore(t, root)
	run := func(args ...string) string {
		t.Helper()
		args = append([]string{"--insecure-policy", "--tmpdir", t.TempDir()}, args...)
		limited, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		out, err := exec.CommandContext(limited, skopeo, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	im := newImage("docker.io/library/ours:1.0", 1, 70_000, 10)
	if err := im.pull(ctx, s, nothing); err != nil {
		t.Fatal(err)
	}
	raw := run("inspect", "--raw", "oci:"+root+":"+im.name)
	if raw != string(im.manifest) {
		t.Errorf("skopeo reads %q", raw)
	}
	// Out: into another layout, with the same digest there.
	elsewhere := filepath.Join(t.TempDir(), "other")
	run("copy", "--preserve-digests", "oci:"+root+":"+im.name, "oci:"+elsewhere+":theirs")
	other := openStore(t, elsewhere)
	if got, err := other.Lookup("theirs"); err != nil || got.Descriptor.Digest != im.desc.Digest {
		t.Errorf("in the layout that skopeo made: %+v, %v", got, err)
	}
	clean(t, other)
	if err := other.Tag(ctx, "docker.io/library/ours:2.0", im.desc, Event{Action: "tag"}); err != nil {
		t.Error(err)
	}
	// Out, as Docker's: what skopeo makes of it, package manifest reads.
	converted := filepath.Join(t.TempDir(), "docker")
	run("copy", "--format", "v2s2", "oci:"+root+":"+im.name, "dir:"+converted)
	data, err := os.ReadFile(filepath.Join(converted, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := manifest.DecodeManifest(data, describe(manifest.DockerManifest, data)); err != nil || manifest.CheckImage(m) != nil || len(m.Layers) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	// In: a name of its own, and one of ours that it moves.
	second := newImage("second", 40, 5000)
	if err := second.pull(ctx, other, nothing); err != nil {
		t.Fatal(err)
	}
	run("copy", "--preserve-digests", "oci:"+elsewhere+":second", "oci:"+root+":short")
	run("copy", "--preserve-digests", "oci:"+elsewhere+":second", "oci:"+root+":"+im.name)
	for _, name := range []string{"short", im.name} {
		if got, err := s.Lookup(name); err != nil || got.Descriptor.Digest != second.desc.Digest {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	history(t, s, im.name, "pull "+short(im.desc.Digest), "found "+short(second.desc.Digest))
	if err := s.Tag(ctx, im.name, im.desc, Event{Action: "tag"}); err != nil {
		t.Fatal(err)
	}
	history(t, s, im.name, "pull "+short(im.desc.Digest), "found "+short(second.desc.Digest), "tag "+short(im.desc.Digest))
	tags, err := s.Tags()
	if err != nil || len(tags) != 2 {
		t.Errorf("%+v, %v", tags, err)
	}
	if raw := run("inspect", "--raw", "oci:"+root+":short"); digest.FromString(raw) != second.desc.Digest {
		t.Errorf("skopeo's own image after our change: %q", raw)
	}
	if r, err := s.GC(ctx, Roots{Grace: -1, PartialGrace: -1}); err != nil || len(r.Removed) != 0 || r.Detached != 1 {
		t.Errorf("gc: %+v, %v", r, err)
	}
	clean(t, s)
	// When the last name of ours has moved, GC takes what it was: the entry that skopeo leaves behind is no root.
	run("copy", "--preserve-digests", "oci:"+elsewhere+":second", "oci:"+root+":"+im.name)
	if r, err := s.GC(ctx, Roots{Grace: -1}); err != nil || len(r.Removed) != 4 {
		t.Errorf("gc: %+v, %v", r, err)
	}
	if raw := run("inspect", "--raw", "oci:"+root+":"+im.name); digest.FromString(raw) != second.desc.Digest {
		t.Errorf("skopeo's own image after our collection: %q", raw)
	}
	clean(t, s)
}

// TestOrder watches a pull with strace: what is synced, and in which order, as the package comment says.
func TestOrder(t *testing.T) {
	strace := tool(t, "strace")
	root := t.TempDir()
	_ = openStore(t, root)
	log := filepath.Join(t.TempDir(), "log")
	cmd := player(t, "pull", root)
	cmd.Args = append([]string{strace, "-f", "-qq", "-y", "-o", log, "-e", "trace=fsync,fdatasync,syncfs,sync,renameat,renameat2,linkat", "-e", "signal=none"}, cmd.Path)
	cmd.Path = strace
	if out, err := cmd.Output(); err != nil {
		t.Skipf("strace cannot trace here: %v, %s", err, out)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), root, "")
	var got []string
	for _, m := range regexp.MustCompile(`(fsync|fdatasync|syncfs|sync|renameat2?|linkat)\((.*)\) += (.*)`).FindAllStringSubmatch(text, -1) {
		args := regexp.MustCompile(`\d+<([^>]*)>`).ReplaceAllString(m[2], "$1")
		args = regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAllString(args, "HEX")
		args = regexp.MustCompile(`\.index\.json\.\w+`).ReplaceAllString(args, "TMP")
		got = append(got, m[1]+" "+args)
	}
	blob := []string{`fsync /bulkhead/ingest/sha256-HEX`, `renameat /bulkhead/ingest, "sha256-HEX", /blobs/sha256, "HEX"`}
	want := append(append(append([]string(nil), blob...), blob...), blob...)
	want = append(want, `fsync /blobs/sha256`, `fsync /blobs/sha512`, `fdatasync /bulkhead/tags/HEX`, `fsync /bulkhead/tags`, `fsync /TMP`,
		`renameat , "TMP", , "index.json"`, `fsync `)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
