package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// serveHTTP serves on loopback until the test ends, and returns the address.
func serveHTTP(t testing.TB, h http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { _ = server.Serve(listener); close(done) }()
	t.Cleanup(func() { server.Close(); <-done })
	return listener.Addr().String()
}

func parse(t testing.TB, name string) reference.Reference {
	t.Helper()
	ref, err := reference.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func openStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *store.Store, mediaType string, data []byte) v1.Descriptor {
	t.Helper()
	desc, err := s.Put(t.Context(), mediaType, data)
	if err != nil && !errdef.Is(err, errdef.Exists) {
		t.Fatal(err)
	}
	desc.MediaType, desc.Digest, desc.Size = mediaType, digest.FromBytes(data), int64(len(data))
	return desc
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// layer makes a layer with one file of random bytes, which do not get smaller, and returns it with its diff id.
func layer(t testing.TB, seed uint64, size int) ([]byte, digest.Digest) {
	t.Helper()
	content := make([]byte, size)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = source.Read(content)
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file-%d", seed), Mode: 0o644, Size: int64(size), ModTime: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes(), digest.FromBytes(plain.Bytes())
}

// form is in which dialect an image is described.
type form struct{ index, manifest, config, layer string }

var forms = map[string]form{
	"oci":    {v1.MediaTypeImageIndex, v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, v1.MediaTypeImageLayerGzip},
	"docker": {manifest.DockerIndex, manifest.DockerManifest, manifest.DockerConfig, manifest.DockerLayerGzip},
}

// image puts an image of some layers into a store.
func image(t testing.TB, s *store.Store, f form, seed uint64, sizes ...int) v1.Descriptor {
	t.Helper()
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: f.manifest}
	config := v1.Image{Platform: manifest.Host(), RootFS: v1.RootFS{Type: "layers"}}
	for i, size := range sizes {
		data, diff := layer(t, seed+uint64(i), size)
		m.Layers = append(m.Layers, put(t, s, f.layer, data))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diff)
	}
	m.Config = put(t, s, f.config, encode(t, config))
	return put(t, s, f.manifest, encode(t, m))
}

// index puts an index of two images into a store.
func index(t testing.TB, s *store.Store, f form, seed uint64) v1.Descriptor {
	t.Helper()
	host := manifest.Host()
	other := v1.Platform{OS: "linux", Architecture: "s390x"}
	a, b := image(t, s, f, seed, 3000), image(t, s, f, seed+1, 4000)
	a.Platform, b.Platform = &host, &other
	return put(t, s, f.index, encode(t, v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: f.index, Manifests: []v1.Descriptor{b, a}}))
}

// pull fetches what a name stands for, as the image service will: all that is not there, blobs at once, resumed.
func pull(ctx context.Context, c *registry.Client, ref reference.Reference, s *store.Store) (v1.Descriptor, error) {
	if tagged, err := s.Lookup(ref.String()); err == nil {
		desc, err := c.Head(ctx, ref)
		if err != nil {
			return desc, err
		}
		if desc.Digest == tagged.Descriptor.Digest {
			return desc, nil
		}
	}
	desc, data, err := c.Resolve(ctx, ref)
	if err != nil {
		return desc, err
	}
	if err := fetchTree(ctx, c, ref, s, desc, data); err != nil {
		return desc, err
	}
	return desc, s.Tag(ctx, ref.String(), desc, store.Event{})
}

func fetchTree(ctx context.Context, c *registry.Client, ref reference.Reference, s *store.Store, desc v1.Descriptor, data []byte) error {
	if manifest.KindOf(desc.MediaType) == manifest.Index {
		index, err := manifest.DecodeIndex(data, desc)
		if err != nil {
			return err
		}
		for _, child := range index.Manifests {
			body, err := c.Manifest(ctx, ref, child)
			if err != nil {
				return err
			}
			if err := fetchTree(ctx, c, ref, s, child, body); err != nil {
				return err
			}
		}
	} else {
		m, err := manifest.DecodeManifest(data, desc)
		if err != nil {
			return err
		}
		blobs := append([]v1.Descriptor{m.Config}, m.Layers...)
		done := make(chan error)
		for _, blob := range blobs {
			go func() { done <- fetchBlob(ctx, c, ref, s, blob) }()
		}
		for range blobs {
			if e := <-done; e != nil {
				err = e
			}
		}
		if err != nil {
			return err
		}
	}
	_, err := s.Put(ctx, desc.MediaType, data)
	if errdef.Is(err, errdef.Exists) {
		err = nil
	}
	return err
}

func fetchBlob(ctx context.Context, c *registry.Client, ref reference.Reference, s *store.Store, desc v1.Descriptor) error {
	in, err := s.Ingest(ctx, desc)
	if errdef.Is(err, errdef.Exists) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	blob, err := c.Blob(ctx, ref, desc, in.Offset())
	if err != nil {
		return err
	}
	defer blob.Close()
	if _, err := io.Copy(in, blob); err != nil {
		return err
	}
	return in.Commit(ctx)
}

// whole checks that the store has all that desc needs, each with its digest.
func whole(t testing.TB, s *store.Store, desc v1.Descriptor) {
	t.Helper()
	data, err := s.Bytes(desc.Digest, 1<<30)
	if err != nil {
		t.Fatalf("%s: %v", desc.Digest, err)
	}
	if kind := manifest.KindOf(desc.MediaType); kind != manifest.Index && kind != manifest.Manifest {
		return
	}
	links, err := manifest.Links(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		whole(t, s, link)
	}
}

// layers returns the layers of an image.
func layers(t testing.TB, s *store.Store, desc v1.Descriptor) []v1.Descriptor {
	t.Helper()
	data, err := s.Bytes(desc.Digest, manifest.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.DecodeManifest(data, desc)
	if err != nil {
		t.Fatal(err)
	}
	return m.Layers
}
