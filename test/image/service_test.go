package image

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
)

// TestRoundTrip: what is imported, pushed, pulled, saved and loaded is the same image, and files are there.
func TestRoundTrip(t *testing.T) {
	ctx, host := context.Background(), registry(t)
	a := open(t, "")
	name := host + "/team/app:1"
	made, err := a.Import(ctx, bytes.NewReader(rootfs(t, 1, 20, 1000)), name, image.ImportOptions{
		Changes: []string{`CMD ["/bin/busybox", "true"]`, "ENV A=b c", "LABEL x=y", "EXPOSE 80", "VOLUME /v /w", "USER 1000", "WORKDIR /data"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := made.Config.Config; fmt.Sprint(c.Cmd, c.Env, c.Labels, c.ExposedPorts, c.Volumes)+c.User+c.WorkingDir !=
		"[/bin/busybox true] [A=b c] map[x:y] map[80/tcp:{}] map[/v:{} /w:{}]1000/data" {
		t.Errorf("%+v", c)
	}
	pushed, err := a.Push(ctx, name, image.PushOptions{})
	if err != nil || pushed.Target.Digest != made.Target.Digest {
		t.Fatalf("%+v, %v", pushed, err)
	}
	b := open(t, "")
	var words []string
	got, err := b.Pull(ctx, name, image.PullOptions{Progress: func(p image.Progress) { words = append(words, p.Action) }})
	if err != nil || got.ID != made.ID || got.Target.Digest != made.Target.Digest {
		t.Fatalf("%+v, %v", got, err)
	}
	if all := strings.Join(words, "\n"); !strings.Contains(all, "Pull complete") || !strings.Contains(all, "Digest: "+made.Target.Digest.String()) {
		t.Errorf("progress: %s", all)
	}
	m, err := b.Mount(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(glob(t, m.Target+"/data/*/*")); n != 20 {
		t.Errorf("%d files", n)
	}
	if err := os.WriteFile(m.Target+"/new", nil, 0o600); err == nil {
		t.Error("a mounted image can be written")
	}
	if r, err := b.Prune(ctx, image.PruneOptions{All: true}); err != nil || len(r.Untagged) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if n := len(glob(t, m.Target+"/data/*/*")); n != 20 {
		t.Errorf("pruned under a mount: %d files", n)
	}
	if _, err := b.Unmount(m.Image.String()); err != nil {
		t.Error(err)
	}
	var archive bytes.Buffer
	if err := a.Save(ctx, []string{name}, &archive); err != nil {
		t.Fatal(err)
	}
	loaded, err := b.Load(ctx, &archive, nil)
	if err != nil || len(loaded) != 1 || loaded[0].Image.ID != made.ID || loaded[0].Name != name {
		t.Errorf("%+v, %v", loaded, err)
	}
	clean(t, a)
	clean(t, b)
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestSecondPull: an image that is here costs one request and nothing is fetched or unpacked; a tag that moved is fetched, and its history says so.
func TestSecondPull(t *testing.T) {
	ctx, host := context.Background(), registry(t)
	a, b := open(t, ""), open(t, "")
	name := host + "/app:latest"
	var ids []string
	for i := range 2 {
		img, err := a.Import(ctx, bytes.NewReader(rootfs(t, uint64(i), 3, 100)), name, image.ImportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Push(ctx, name, image.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		for again := range 2 {
			var words string
			got, err := b.Pull(ctx, name, image.PullOptions{Progress: func(p image.Progress) { words += p.Action + "\n" }})
			if err != nil || got.ID != img.ID {
				t.Fatalf("%v, %v", got, err)
			}
			if (again == 1) != strings.Contains(words, "up to date") || (again == 0) != strings.Contains(words, "Pull complete") {
				t.Errorf("pull %d of %d: %s", again, i, words)
			}
		}
		ids = append(ids, img.Target.Digest.String())
	}
	events, err := b.Store().History(name)
	var seen []string
	for _, e := range events {
		seen = append(seen, e.Digest.String())
	}
	if err != nil || strings.Join(seen, " ") != strings.Join(ids, " ") {
		t.Errorf("history %v, want %v: %v", seen, ids, err)
	}
	if r, err := b.Prune(ctx, image.PruneOptions{}); err != nil || len(r.Deleted) < 3 {
		t.Errorf("the image that lost its name stays: %+v, %v", r, err)
	}
	if _, err := b.Pull(ctx, name, image.PullOptions{Policy: image.Never}); err != nil {
		t.Error(err)
	}
	clean(t, b)
}

// TestNames: find by name, digest, id; remove a name, an image; what is not here is said so.
func TestNames(t *testing.T) {
	ctx, s := context.Background(), open(t, "")
	img, err := s.Import(ctx, bytes.NewReader(rootfs(t, 7, 1, 10)), "one", image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(ctx, "one", "localhost:5000/two:x"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "one:latest", "docker.io/library/one", "localhost:5000/two:x", img.ID.String(), img.ID.Encoded()[:12], "one@" + img.Target.Digest.String()} {
		got, err := s.Find(name, nil)
		if err != nil || got.ID != img.ID || len(got.Names) != 2 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if _, err := s.Find("three", nil); !errdef.Is(err, errdef.NotFound) || errdef.Hint(err) == "" {
		t.Errorf("%v", err)
	}
	if _, err := s.Remove(ctx, img.ID.Encoded()[:8], image.RemoveOptions{}); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("an id with two names was removed: %v", err)
	}
	if r, err := s.Remove(ctx, "one", image.RemoveOptions{}); err != nil || len(r.Untagged) != 1 || len(r.Deleted) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := s.Remove(ctx, "localhost:5000/two:x", image.RemoveOptions{}); err != nil || len(r.Deleted) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	clean(t, s)
}

// TestPeers: skopeo and Podman read what we push and save, and we read what they push and save, with the same digests and ids.
func TestPeers(t *testing.T) {
	ctx, host, s := context.Background(), registry(t), open(t, "")
	name := host + "/app:1"
	img, err := s.Import(ctx, bytes.NewReader(rootfs(t, 5, 5, 1000)), name, image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(ctx, name, image.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run(t, "skopeo", "copy", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+name, "docker://"+host+"/copy:1")
	copied, err := s.Pull(ctx, host+"/copy:1", image.PullOptions{})
	if err != nil || copied.Target.Digest != img.Target.Digest {
		t.Errorf("skopeo's copy: %+v, %v", copied, err)
	}
	podman := []string{"podman", "--root", filepath.Join(dir, "podman"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs"}
	p := func(args ...string) string { return run(t, append(append([]string{}, podman...), args...)...) }
	p("pull", "-q", "--tls-verify=false", name)
	if id := strings.TrimSpace(p("image", "inspect", "--format", "{{.Id}}", name)); id != img.ID.Encoded() {
		t.Errorf("podman has id %s, we %s", id, img.ID)
	}
	for _, format := range []string{"docker-archive", "oci-archive"} {
		file := filepath.Join(dir, format)
		p("save", "-q", "--format", format, "-o", file, name)
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		other := open(t, "")
		loaded, err := other.Load(ctx, f, nil)
		_ = f.Close()
		if err != nil || len(loaded) != 1 || loaded[0].Image.Config.RootFS.DiffIDs[0] != img.Config.RootFS.DiffIDs[0] {
			t.Errorf("%s: %+v, %v", format, loaded, err)
		}
		clean(t, other)
	}
	p("tag", name, host+"/podman:1")
	for _, format := range []string{"oci", "v2s2"} {
		p("push", "-q", "--tls-verify=false", "--format", format, host+"/podman:1")
		got, err := s.Pull(ctx, host+"/podman:1", image.PullOptions{})
		if err != nil {
			t.Errorf("podman's push as %s: %v", format, err)
			continue
		}
		want := run(t, "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+host+"/podman:1")
		if got.Target.Digest.String() != strings.TrimSpace(want) {
			t.Errorf("podman's push as %s: digest %s, skopeo says %s", format, got.Target.Digest, want)
		}
	}
	file := filepath.Join(dir, "ours.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(ctx, []string{name}, f); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	p("rmi", "-f", name)
	if out := p("load", "-i", file); !strings.Contains(out, name) {
		t.Errorf("podman load: %s", out)
	}
	for _, from := range []string{"docker-archive:" + file, "oci-archive:" + file} {
		run(t, "skopeo", "copy", from, "dir:"+filepath.Join(dir, "skopeo"))
	}
	clean(t, s)
}
