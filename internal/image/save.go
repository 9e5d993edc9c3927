package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"io"
	"path"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// containerdName is the annotation that holds the whole name in an index.json of containerd's and Docker's; ref.name holds the tag alone.
const containerdName = "io.containerd.image.name"

// dockerEntry is one image of manifest.json in what `docker save` writes.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Save writes images as one archive: an OCI image layout, with Docker's manifest.json beside, as `docker save` writes it since version 25. The bytes of
// every content are those of the store, so digests stay.
func (s *Service) Save(ctx context.Context, names []string, w io.Writer) error {
	lease, err := s.store.Lease(ctx, "save")
	if err != nil {
		return err
	}
	defer lease.Close()
	a := &archive{Service: s, w: tar.NewWriter(w), done: map[digest.Digest]bool{}}
	if err := a.directory("blobs/"); err != nil {
		return err
	}
	if err := a.directory("blobs/sha256/"); err != nil {
		return err
	}
	var index v1.Index
	var entries []dockerEntry
	for _, name := range names {
		img, err := s.Find(name, nil)
		if err != nil {
			return err
		}
		if err := lease.Add(ctx, img.Target.Digest, img.Manifest.Digest); err != nil {
			return err
		}
		target := v1.Descriptor{MediaType: img.Target.MediaType, Digest: img.Target.Digest, Size: img.Target.Size}
		if !s.whole(target, 0) {
			target = v1.Descriptor{MediaType: img.Manifest.MediaType, Digest: img.Manifest.Digest, Size: img.Manifest.Size}
		}
		if err := a.tree(ctx, target, 0); err != nil {
			return err
		}
		entry := dockerEntry{Config: blobPath(img.ID)}
		for _, l := range img.Layers {
			entry.Layers = append(entry.Layers, blobPath(l.Digest))
		}
		if ref, err := reference.Parse(name); err == nil && ref.Tag != "" && ref.Digest == "" && contains(img.Names, ref.String()) {
			target.Annotations = map[string]string{containerdName: ref.String(), v1.AnnotationRefName: ref.Tag}
			entry.RepoTags = []string{ref.Familiar()}
		}
		index.Manifests, entries = append(index.Manifests, target), append(entries, entry)
	}
	index.Versioned, index.MediaType = specs.Versioned{SchemaVersion: 2}, v1.MediaTypeImageIndex
	return a.finish(index, merge(entries))
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// merge joins entries of one image, for tools that take a configuration once.
func merge(entries []dockerEntry) []dockerEntry {
	var out []dockerEntry
	at := map[string]int{}
	for _, e := range entries {
		if i, ok := at[e.Config]; ok {
			out[i].RepoTags = append(out[i].RepoTags, e.RepoTags...)
			continue
		}
		at[e.Config] = len(out)
		out = append(out, e)
	}
	return out
}

func blobPath(d digest.Digest) string {
	return path.Join("blobs", d.Algorithm().String(), d.Encoded())
}

// An archive is one that is being written.
type archive struct {
	*Service
	w    *tar.Writer
	done map[digest.Digest]bool
}

// epoch is the time of all entries, so that the same images make the same archive.
var epoch = time.Unix(0, 0)

func (a *archive) directory(name string) error {
	return a.w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: epoch})
}

// tree writes a content and what it names.
func (a *archive) tree(ctx context.Context, desc v1.Descriptor, depth int) error {
	if a.done[desc.Digest] {
		return nil
	}
	a.done[desc.Digest] = true
	if err := ctx.Err(); err != nil {
		return err
	}
	if kind := manifest.KindOf(desc.MediaType); kind == manifest.Index || kind == manifest.Manifest {
		data, err := a.store.Bytes(desc.Digest, manifest.MaxManifest)
		if err != nil {
			return err
		}
		links, err := manifest.Links(data)
		if err != nil {
			return err
		}
		if depth > 4 {
			return errdef.Errorf(errdef.Invalid, "index %s: indexes more than four deep", desc.Digest)
		}
		for _, l := range links {
			if err := a.tree(ctx, l, depth+1); err != nil {
				return err
			}
		}
		return a.file(blobPath(desc.Digest), data)
	}
	return a.blob(desc)
}

// blob copies a content and verifies it on the way: an archive is what others are given.
func (a *archive) blob(desc v1.Descriptor) error {
	f, err := a.store.Reader(desc.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := a.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: blobPath(desc.Digest), Mode: 0o644, Size: desc.Size, ModTime: epoch}); err != nil {
		return err
	}
	verify := desc.Digest.Verifier()
	if _, err := io.CopyN(io.MultiWriter(a.w, verify), f, desc.Size); err != nil {
		return errdef.Errorf(errdef.Internal, "save %s: %w", desc.Digest, err)
	}
	if !verify.Verified() {
		err := errdef.Errorf(errdef.Internal, "save %s: what is stored under this digest has another", desc.Digest)
		return errdef.WithHint(err, "bulkhead image fsck --repair")
	}
	return nil
}

func (a *archive) file(name string, data []byte) error {
	if err := a.w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: epoch}); err != nil {
		return err
	}
	_, err := a.w.Write(data)
	return err
}

// finish writes what says which images there are.
func (a *archive) finish(index v1.Index, entries []dockerEntry) error {
	for _, f := range []struct {
		name string
		what any
	}{{"index.json", index}, {"manifest.json", entries}, {v1.ImageLayoutFile, v1.ImageLayout{Version: v1.ImageLayoutVersion}}} {
		data, err := json.Marshal(f.what)
		if err != nil {
			return err
		}
		if err := a.file(f.name, data); err != nil {
			return err
		}
	}
	return a.w.Close()
}
