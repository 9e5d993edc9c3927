package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
)

// archive makes a tar archive of files in this order.
func archive(t testing.TB, files ...any) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		var data []byte
		switch x := files[i+1].(type) {
		case []byte:
			data = x
		case string:
			data = []byte(x)
		default:
			var err error
			if data, err = json.Marshal(x); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: files[i].(string), Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// TestLoadStealsNoDigest: an archive cannot give its image the name of another content, by which that is asked for so that nothing else comes.
func TestLoadStealsNoDigest(t *testing.T) {
	ctx, s := context.Background(), open(t, "")
	good, err := s.Import(ctx, bytes.NewReader(rootfs(t, 1, 1, 10)), "good", image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	evil, err := s.Import(ctx, bytes.NewReader(rootfs(t, 2, 1, 10)), "evil", image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pinned := "good@" + good.Target.Digest.String()
	m := evil.Target
	m.Annotations = map[string]string{"io.containerd.image.name": pinned}
	docker := map[string]any{"Config": "c", "RepoTags": []string{pinned}, "Layers": []string{}}
	for what, a := range map[string]*bytes.Buffer{
		"index":  archive(t, "index.json", map[string]any{"schemaVersion": 2, "manifests": []any{m}}),
		"docker": archive(t, "manifest.json", []any{docker}, "c", `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`),
	} {
		if _, err := s.Load(ctx, a, nil); !errdef.Is(err, errdef.Invalid) || !strings.Contains(err.Error(), "another content") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Nor is a name believed that another tool has put into the directory.
	if err := s.Store().Tag(ctx, "docker.io/library/"+pinned, evil.Target, store.Event{Action: "tag"}); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []image.Policy{image.Missing, image.Never} {
		if got, err := s.Pull(ctx, pinned, image.PullOptions{Policy: policy}); err != nil || got.ID != good.ID {
			t.Errorf("%s is %v, %v", pinned, got, err)
		}
	}
}

// TestLoadTakesNames: a name that an archive takes from another image is said.
func TestLoadTakesNames(t *testing.T) {
	ctx, a, b := context.Background(), open(t, ""), open(t, "")
	var old *image.Image
	for i, s := range []*image.Service{a, b} {
		var err error
		if old, err = s.Import(ctx, bytes.NewReader(rootfs(t, uint64(i), 1, 10)), "app:1", image.ImportOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var saved bytes.Buffer
	if err := a.Save(ctx, []string{"app:1"}, &saved); err != nil {
		t.Fatal(err)
	}
	data := saved.Bytes()
	for again := range 2 {
		words := ""
		if _, err := b.Load(ctx, bytes.NewReader(data), func(p image.Progress) { words += p.Action + "\n" }); err != nil {
			t.Fatal(err)
		}
		said := strings.Contains(words, "The image app:1 already exists, renaming the old one with ID "+old.ID.String())
		if said != (again == 0) {
			t.Errorf("load %d: %s", again, words)
		}
	}
}

// TestLoadBounds: an archive of few bytes cannot keep a load for hours, and what is wrong in one of its files is said with the name of the file.
func TestLoadBounds(t *testing.T) {
	ctx, s := context.Background(), open(t, "")
	var names []string
	for i := range 50_000 {
		names = append(names, "n"+strconv.Itoa(i)+":1")
	}
	config := `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`
	for want, a := range map[string]*bytes.Buffer{
		"more than 1000 names":     archive(t, "c", config, "manifest.json", []any{map[string]any{"Config": "c", "RepoTags": names, "Layers": []string{}}}),
		`"index.json": byte 32`:    archive(t, "index.json", strings.Repeat("[", 1000)),
		`"manifest.json": byte 32`: archive(t, "manifest.json", strings.Repeat("[", 1000)),
	} {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		_, err := s.Load(ctx, a, nil)
		cancel()
		if !errdef.Is(err, errdef.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestManyLayers: an image of more layers than can be mounted is refused at once; one that is just small enough is unpacked and mounted.
func TestManyLayers(t *testing.T) {
	ctx, s := context.Background(), open(t, "")
	load := func(n int) error {
		files := []any{"l", make([]byte, 1024)} // an archive without files
		var layers, ids []string
		sum := sha256.Sum256(make([]byte, 1024))
		for range n {
			layers, ids = append(layers, "l"), append(ids, "sha256:"+hex.EncodeToString(sum[:]))
		}
		config := map[string]any{"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}}
		manifest := []any{map[string]any{"Config": "c", "RepoTags": []string{"many:" + strconv.Itoa(n)}, "Layers": layers}}
		_, err := s.Load(ctx, archive(t, append(files, "c", config, "manifest.json", manifest)...), nil)
		return err
	}
	if err := load(500); err != nil {
		t.Fatal(err)
	}
	m, err := s.Mount(ctx, "many:500")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unmount(m.Image.String()); err != nil {
		t.Error(err)
	}
	if err := load(501); !errdef.Is(err, errdef.Unsupported) || !strings.Contains(err.Error(), "501 layers") {
		t.Errorf("%v", err)
	}
}

// TestImportNames: an import takes no name of a digest, and none with a configuration that nobody could read.
func TestImportNames(t *testing.T) {
	ctx, s := context.Background(), open(t, "")
	good, err := s.Import(ctx, bytes.NewReader(rootfs(t, 1, 1, 10)), "app", image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Import(ctx, bytes.NewReader(rootfs(t, 2, 1, 10)), "app@"+good.Target.Digest.String(), image.ImportOptions{}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("a digest: %v", err)
	}
	if _, err := s.Import(ctx, bytes.NewReader(rootfs(t, 2, 1, 10)), "app", image.ImportOptions{Changes: []string{"STOPSIGNAL \x00"}}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("a zero byte: %v", err)
	}
	if got, err := s.Find("app", nil); err != nil || got.ID != good.ID || len(got.Names) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// endless gives zeros for ever.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestCancelled: what has no end is ended by the context, and leaves nothing.
func TestCancelled(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	s := open(t, root)
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "x", Mode: 0o644, Size: 1 << 36}); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func(context.Context) error{
		"load": func(ctx context.Context) error {
			_, err := s.Load(ctx, io.MultiReader(&head, endless{}), nil)
			return err
		},
		"import": func(ctx context.Context) error {
			_, err := s.Import(ctx, endless{}, "x", image.ImportOptions{})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		done := make(chan error, 1)
		go func() { done <- do(ctx) }()
		select {
		case err := <-done:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s does not end with its context", what)
		}
		cancel()
	}
	if left := glob(t, root+"/load-*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
