package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds of an archive of images.
const (
	maxLoadEntries = 100_000
	maxLoadJSON    = manifest.MaxConfig
	maxLoadBytes   = 1 << 40
	maxLoadNames   = 1000 // each is a change of index.json, which is written and synced
)

// Loaded is an image of an archive: a name, or, without one, its id.
type Loaded struct {
	Name  string // as people write it; "": none
	Image *Image
}

// Load takes the images of an archive: what `docker save`, `podman save` and skopeo write (docker-archive, oci-archive), plain or compressed with gzip or
// zstd. Names in it are given; a name that stood for another image moves, which progress tells.
func (s *Service) Load(ctx context.Context, r io.Reader, progress func(Progress)) ([]Loaded, error) {
	lease, err := s.store.Lease(ctx, "load")
	if err != nil {
		return nil, err
	}
	defer lease.Close()
	dir, remove, err := s.scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	plain, done, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer done()
	l := &loading{Service: s, lease: lease, dir: dir, files: map[string]string{}, links: map[string]string{}}
	if err := l.read(ctx, until{plain, ctx}); err != nil {
		return nil, err
	}
	targets, err := l.targets(ctx)
	if err != nil {
		return nil, err
	}
	return l.name(ctx, targets, serial(progress))
}

// decompress looks at the first bytes.
func decompress(r io.Reader) (io.Reader, func(), error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, _ := b.Peek(6)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, errdef.Errorf(errdef.Invalid, "archive: gzip: %w", err)
		}
		return z, func() { _ = z.Close() }, nil
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nil, errdef.Errorf(errdef.Invalid, "archive: zstd: %w", err)
		}
		return z, z.Close, nil
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")), bytes.HasPrefix(head, []byte("BZh")):
		err := errdef.Errorf(errdef.Unsupported, "archive: compressed with xz or bzip2")
		return nil, nil, errdef.WithHint(err, "decompress it first: xz -dc FILE | bulkhead load")
	}
	return b, func() {}, nil
}

// A loading is an archive on its way in.
type loading struct {
	*Service
	lease *store.Lease
	dir   string            // for files that are no contents by digest
	files map[string]string // by name in the archive: a path below dir
	links map[string]string // by name in the archive: another one
	n     int
}

// read takes every entry: contents by digest go to the store, links are remembered, and all else to files whose names are numbers.
func (l *loading) read(ctx context.Context, r io.Reader) error {
	t := tar.NewReader(io.LimitReader(r, maxLoadBytes))
	for entries := 0; ; entries++ {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if ctx.Err() != nil {
			return errdef.Errorf(errdef.KindOf(context.Cause(ctx)), "archive: %w", context.Cause(ctx))
		}
		if err != nil {
			return errdef.WithHint(errdef.Errorf(errdef.Invalid, "archive: %w", err), "load wants what `save` writes; a root file system is imported")
		}
		if entries == maxLoadEntries {
			return errdef.Errorf(errdef.Invalid, "archive: more than %d entries", maxLoadEntries)
		}
		name := path.Clean("/" + h.Name)[1:]
		if _, twice := l.files[name]; twice {
			return errdef.Errorf(errdef.Invalid, "archive: %.256q is in it twice", name)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			if err := l.regular(ctx, name, h.Size, t); err != nil {
				return err
			}
		case tar.TypeSymlink: // what Docker before 25 does with layers that are there twice
			l.links[name] = path.Clean("/" + path.Join(path.Dir(name), h.Linkname))[1:]
		case tar.TypeLink:
			l.links[name] = path.Clean("/" + h.Linkname)[1:]
		case tar.TypeDir, tar.TypeXGlobalHeader:
		default:
			return errdef.Errorf(errdef.Invalid, "archive: %.256q: an entry of type %q", name, h.Typeflag)
		}
	}
}

func (l *loading) regular(ctx context.Context, name string, size int64, r io.Reader) error {
	if parts := strings.Split(name, "/"); len(parts) == 3 && parts[0] == "blobs" {
		d := digest.Digest(parts[1] + ":" + parts[2])
		if reference.CheckDigest(d) != nil {
			return errdef.Errorf(errdef.Invalid, "archive: %.256q is no digest", name)
		}
		if err := l.ingest(ctx, v1.Descriptor{Digest: d, Size: size}, r); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "archive: %s: %w", name, err)
		}
		l.files[name] = ""
		return nil
	}
	l.n++
	file := filepath.Join(l.dir, "f"+itoa(l.n))
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "archive: %w", err)
	}
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return errdef.Errorf(errdef.Invalid, "archive: %.256q: %w", name, err)
	}
	l.files[name] = file
	return nil
}

// ingest stores a content of a known digest.
func (l *loading) ingest(ctx context.Context, desc v1.Descriptor, r io.Reader) error {
	if err := l.lease.Add(ctx, desc.Digest); err != nil {
		return err
	}
	in, err := l.store.Ingest(ctx, desc)
	if errdef.Is(err, errdef.Exists) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	if off := in.Offset(); off > 0 {
		if _, err := io.CopyN(io.Discard, r, off); err != nil {
			return err
		}
	}
	if _, err := io.Copy(in, r); err != nil {
		return err
	}
	return in.Commit(ctx)
}

// A target is an image of the archive, with the names that it has there.
type target struct {
	desc  v1.Descriptor
	names []string
}

// targets reads which images there are: an OCI layout says it in index.json, and Docker in manifest.json; of both the first counts if it has names or the
// second none.
func (l *loading) targets(ctx context.Context) ([]target, error) {
	index, err := l.index()
	if err != nil {
		return nil, err
	}
	docker, err := l.docker(ctx)
	if err != nil {
		return nil, err
	}
	named := func(list []target) bool {
		for _, t := range list {
			if len(t.names) > 0 {
				return true
			}
		}
		return false
	}
	switch {
	case len(index) > 0 && (named(index) || !named(docker)):
		return index, nil
	case len(docker) > 0:
		return docker, nil
	}
	err = errdef.Errorf(errdef.Invalid, "archive: there is no image in it: no index.json and no manifest.json")
	return nil, errdef.WithHint(err, "load wants what `save` writes; a root file system is imported")
}

// document reads one of the small files.
func (l *loading) document(name string) ([]byte, error) {
	for range 8 {
		to, ok := l.links[name]
		if !ok {
			break
		}
		name = to
	}
	file, ok := l.files[name]
	if !ok {
		return nil, nil
	}
	if file == "" { // a content by digest
		_, rest, _ := strings.Cut(name, "/")
		return l.store.Bytes(digest.Digest(strings.Replace(rest, "/", ":", 1)), maxLoadJSON)
	}
	st, err := os.Stat(file)
	if err == nil && st.Size() > maxLoadJSON {
		return nil, errdef.Errorf(errdef.Invalid, "archive: %.256q: %d bytes, more than %d", name, st.Size(), maxLoadJSON)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "archive: %.256q: %w", name, err)
	}
	if err := strictjson.Check(data, strictjson.Limits{Bytes: maxLoadJSON, Depth: manifest.MaxDepth, Values: manifest.MaxValues}); err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "archive: %.256q: %w", name, err)
	}
	return data, nil
}

func (l *loading) index() ([]target, error) {
	data, err := l.document("index.json")
	if data == nil || err != nil {
		return nil, err
	}
	var index v1.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "archive: index.json: %w", err)
	}
	var out []target
	for _, m := range index.Manifests {
		if reference.CheckDigest(m.Digest) != nil {
			return nil, errdef.Errorf(errdef.Invalid, "archive: index.json: %.100q is no digest", m.Digest)
		}
		t := target{desc: v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}}
		for _, key := range []string{containerdName, v1.AnnotationRefName} {
			// ref.name may be a tag alone, which names nothing.
			if n := m.Annotations[key]; n != "" && (key == containerdName || strings.ContainsAny(n, ":/")) {
				t.names = append(t.names, n)
				break
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// docker makes manifests for what manifest.json lists: the configuration stays as it is, byte by byte, and with it the id.
func (l *loading) docker(ctx context.Context) ([]target, error) {
	data, err := l.document("manifest.json")
	if data == nil || err != nil {
		return nil, err
	}
	var entries []dockerEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "archive: manifest.json: %w", err)
	}
	var out []target
	for _, e := range entries {
		config, err := l.document(path.Clean("/" + e.Config)[1:])
		if err != nil {
			return nil, err
		}
		if config == nil {
			return nil, errdef.Errorf(errdef.Invalid, "archive: manifest.json: configuration %.256q is not in it", e.Config)
		}
		m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
		if m.Config, err = l.put(ctx, v1.MediaTypeImageConfig, config); err != nil {
			return nil, err
		}
		for _, name := range e.Layers {
			desc, err := l.layer(ctx, path.Clean("/" + name)[1:])
			if err != nil {
				return nil, err
			}
			m.Layers = append(m.Layers, desc)
		}
		data, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		desc, err := l.put(ctx, m.MediaType, data)
		if err != nil {
			return nil, err
		}
		out = append(out, target{desc, e.RepoTags})
	}
	return out, nil
}

// put stores a small content under the lease.
func (l *loading) put(ctx context.Context, mediaType string, data []byte) (v1.Descriptor, error) {
	if err := l.lease.Add(ctx, digest.FromBytes(data)); err != nil {
		return v1.Descriptor{}, err
	}
	return l.store.Put(ctx, mediaType, data)
}

// layer stores an archive of a layer, found by its name, and says what it is.
func (l *loading) layer(ctx context.Context, name string) (v1.Descriptor, error) {
	for range 8 {
		to, ok := l.links[name]
		if !ok {
			break
		}
		name = to
	}
	file, ok := l.files[name]
	if !ok {
		return v1.Descriptor{}, errdef.Errorf(errdef.Invalid, "archive: manifest.json: layer %.256q is not in it", name)
	}
	if file == "" {
		_, rest, _ := strings.Cut(name, "/")
		d := digest.Digest(strings.Replace(rest, "/", ":", 1))
		f, err := l.store.Reader(d)
		if err != nil {
			return v1.Descriptor{}, err
		}
		defer f.Close()
		return describeLayer(f, d)
	}
	f, err := os.Open(file)
	if err != nil {
		return v1.Descriptor{}, errdef.Errorf(errdef.Unavailable, "archive: %w", err)
	}
	defer f.Close()
	return l.storeFile(ctx, f)
}
