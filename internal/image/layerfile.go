package image

import (
	"bytes"
	"context"
	"io"
	"os"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func itoa(n int) string { return strconv.Itoa(n) }

// describeLayer says of a file what a manifest says of a layer; the media type is what its first bytes are.
func describeLayer(f *os.File, d digest.Digest) (v1.Descriptor, error) {
	st, err := f.Stat()
	if err != nil {
		return v1.Descriptor{}, errdef.Errorf(errdef.Internal, "layer: %w", err)
	}
	head := make([]byte, 4)
	n, _ := f.ReadAt(head, 0)
	mediaType := v1.MediaTypeImageLayer
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		mediaType = v1.MediaTypeImageLayerGzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		mediaType = v1.MediaTypeImageLayerZstd
	}
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: st.Size()}, nil
}

// storeFile stores a layer that is in a file.
func (l *loading) storeFile(ctx context.Context, f *os.File) (v1.Descriptor, error) {
	d, err := digest.FromReader(until{f, ctx})
	if err != nil {
		return v1.Descriptor{}, errdef.Errorf(errdef.Unavailable, "layer: %w", err)
	}
	desc, err := describeLayer(f, d)
	if err != nil {
		return desc, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return desc, errdef.Errorf(errdef.Internal, "layer: %w", err)
	}
	return desc, l.ingest(ctx, desc, f)
}

// name unpacks what was loaded and gives the names.
func (l *loading) name(ctx context.Context, targets []target, progress func(Progress)) ([]Loaded, error) {
	refs := make([][]reference.Reference, len(targets))
	n := 0
	for i, t := range targets {
		var err error
		if refs[i], err = t.references(); err != nil {
			return nil, err
		}
		if n += len(refs[i]); n > maxLoadNames {
			return nil, errdef.Errorf(errdef.Invalid, "archive: it gives more than %d names", maxLoadNames)
		}
	}
	var out []Loaded
	for i, t := range targets {
		if err := l.lease.Add(ctx, t.desc.Digest); err != nil {
			return out, err
		}
		img, err := l.open(t.desc, nil)
		if err != nil {
			return out, err
		}
		if err := l.Unpack(ctx, img, progress); err != nil {
			return out, err
		}
		for _, ref := range refs[i] {
			if err := l.give(ctx, ref, t.desc, progress); err != nil {
				return out, err
			}
			one := Loaded{Image: img}
			if ref.Tag != "" {
				one.Name = ref.Familiar()
			}
			out = append(out, one)
		}
	}
	return out, nil
}

// references reads the names of a target. Whoever asks for a digest wants this content and no other, so the name of another digest is refused. Without a name
// the image would be garbage at once: it gets that of its digest.
func (t *target) references() ([]reference.Reference, error) {
	if len(t.names) == 0 {
		return []reference.Reference{{Domain: "localhost", Path: "loaded", Digest: t.desc.Digest}}, nil
	}
	var out []reference.Reference
	for _, n := range t.names {
		ref, err := reference.Parse(n)
		if err != nil {
			return nil, errdef.Errorf(errdef.Invalid, "archive: %w", err)
		}
		if ref.Digest != "" && ref.Digest != t.desc.Digest {
			return nil, errdef.Errorf(errdef.Invalid, "archive: the name %s is of another content: the image has digest %s", ref.Familiar(), t.desc.Digest)
		}
		if ref.Tag != "" {
			ref.Digest = ""
		}
		out = append(out, ref)
	}
	return out, nil
}

// give gives a name, and says from whom it took it.
func (l *loading) give(ctx context.Context, ref reference.Reference, desc v1.Descriptor, progress func(Progress)) error {
	if old, err := l.store.Lookup(ref.String()); err == nil && old.Descriptor.Digest != desc.Digest {
		id := old.Descriptor.Digest
		if img, err := l.open(old.Descriptor, nil); err == nil {
			id = img.ID
		}
		tell(progress, Progress{Action: "The image " + ref.Familiar() + " already exists, renaming the old one with ID " + id.String() + " to empty string"})
	}
	return l.store.Tag(ctx, ref.String(), desc, store.Event{Action: "load", Digest: desc.Digest})
}
