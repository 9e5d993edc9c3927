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
	d, err := digest.FromReader(f)
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
	var out []Loaded
	for _, t := range targets {
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
		if len(t.names) == 0 { // without a name it would be garbage at once
			t.names = []string{"localhost/loaded@" + t.desc.Digest.String()}
		}
		for _, n := range t.names {
			ref, err := reference.Parse(n)
			if err != nil {
				return out, errdef.Errorf(errdef.Invalid, "archive: %w", err)
			}
			by := store.Event{Action: "load", Digest: t.desc.Digest}
			if err := l.store.Tag(ctx, ref.String(), t.desc, by); err != nil {
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
