package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/bulkhead-engine/bulkhead/test/need"
)

// rootfs is an archive with busybox and files of random content.
func rootfs(t testing.TB, seed uint64, size int) []byte {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		need.Program(t, "busybox")
	}
	box, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(noise)
	return archive(t, file{"bin/busybox", 0o755, box}, file{"data/noise", 0o644, noise})
}

type file struct {
	name string
	mode int64
	data []byte
}

func archive(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write(f.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A layout is an OCI image layout that is being written.
type layout struct {
	testing.TB
	dir   string
	index v1.Index
}

func newLayout(t testing.TB) *layout {
	l := &layout{TB: t, dir: t.TempDir()}
	l.index.Versioned, l.index.MediaType = specs.Versioned{SchemaVersion: 2}, v1.MediaTypeImageIndex
	if err := os.MkdirAll(filepath.Join(l.dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *layout) blob(mediaType string, data []byte) v1.Descriptor {
	l.Helper()
	d := digest.FromBytes(data)
	if err := os.WriteFile(filepath.Join(l.dir, "blobs", "sha256", d.Encoded()), data, 0o644); err != nil {
		l.Fatal(err)
	}
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (l *layout) document(mediaType string, v any) v1.Descriptor {
	l.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		l.Fatal(err)
	}
	return l.blob(mediaType, data)
}

// image adds an image with the layers, which are archives.
func (l *layout) image(config v1.Image, layers ...[]byte) v1.Descriptor {
	l.Helper()
	m := v1.Manifest{Versioned: l.index.Versioned, MediaType: v1.MediaTypeImageManifest}
	if config.OS == "" {
		config.Platform = v1.Platform{OS: "linux", Architecture: "amd64"}
	}
	if config.Created == nil {
		at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
		config.Created = &at
	}
	config.RootFS = v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}
	for _, data := range layers {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(data)
		if err := z.Close(); err != nil {
			l.Fatal(err)
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(data))
		m.Layers = append(m.Layers, l.blob(v1.MediaTypeImageLayerGzip, b.Bytes()))
	}
	m.Config = l.document(v1.MediaTypeImageConfig, config)
	return l.document(m.MediaType, m)
}

// platforms adds an index of images, one per platform of the host's system.
func (l *layout) platforms(architectures ...string) v1.Descriptor {
	l.Helper()
	index := v1.Index{Versioned: l.index.Versioned, MediaType: v1.MediaTypeImageIndex}
	for _, a := range architectures {
		p := v1.Platform{OS: "linux", Architecture: a}
		d := l.image(v1.Image{Platform: p}, archive(l, file{"arch", 0o644, []byte(a)}))
		d.Platform = &p
		index.Manifests = append(index.Manifests, d)
	}
	return l.document(index.MediaType, index)
}

// write finishes the layout, with one image in it.
func (l *layout) write(d v1.Descriptor) {
	l.Helper()
	l.index.Manifests = []v1.Descriptor{d}
	data, err := json.Marshal(l.index)
	if err == nil {
		err = os.WriteFile(filepath.Join(l.dir, "index.json"), data, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(l.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
	}
	if err != nil {
		l.Fatal(err)
	}
}

// publish brings an image of the layout into a registry, with skopeo.
func (l *layout) publish(d v1.Descriptor, name string) {
	l.Helper()
	l.write(d)
	skopeo(l, "copy", "-q", "--all", "--dest-tls-verify=false", "oci:"+l.dir, "docker://"+name)
}
