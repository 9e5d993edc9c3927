package inflate

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/wire"
)

// families are the media types of layers without the compression at their end.
var families = []string{
	"application/vnd.oci.image.layer.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.docker.image.rootfs.diff.tar",
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
}

// Compression returns "", "gzip" or "zstd" for the media type of a layer, and whether it is one.
func Compression(mediaType string) (string, bool) {
	for _, f := range families {
		if rest, ok := strings.CutPrefix(mediaType, f); ok {
			switch rest {
			case "", ".tar":
				return "", true
			case "+gzip", ".gzip":
				return "gzip", true
			case "+zstd", ".zstd":
				return "zstd", true
			}
		}
	}
	return "", false
}

// magics tell what a stream is by its first bytes. zstd's skippable frames may come before its others (RFC 8878, 3.1.2).
var magics = []struct{ name, bytes string }{
	{"gzip", "\x1f\x8b"},
	{"zstd", "\x28\xb5\x2f\xfd"},
	{"bzip2", "BZh"},
	{"xz", "\xfd7zXZ\x00"},
}

func sniff(head []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.bytes)) {
			return m.name
		}
	}
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")) {
		return "zstd"
	}
	return ""
}

// decoder returns the reader of the archive, and what frees it.
func decoder(in io.Reader, mediaType string, limits wire.Limits) (io.Reader, func(), error) {
	want, ok := Compression(mediaType)
	if !ok {
		return nil, nil, errdef.Errorf(errdef.Invalid, "media type %.100q is none of a layer that is known", mediaType)
	}
	buffered := bufio.NewReaderSize(in, chunkSize)
	head, err := buffered.Peek(6)
	if err != nil && err != io.EOF {
		return nil, nil, translate(err)
	}
	if got := sniff(head); got != want {
		return nil, nil, errdef.Errorf(errdef.Invalid, "the layer's media type says %s, and its bytes are %s", named(want), named(got))
	}
	switch want {
	case "gzip":
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, translate(err)
		}
		return z, nil, nil
	case "zstd":
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(limits.Window))
		if err != nil {
			return nil, nil, translate(err)
		}
		return z, z.Close, nil
	}
	return buffered, nil, nil
}

func named(compression string) string {
	if compression == "" {
		return "not compressed"
	}
	return compression
}

// translate gives the errors of decompressors words.
func translate(err error) error {
	switch {
	case errdef.KindOf(err) != errdef.Internal:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF:
		return errdef.Errorf(errdef.Invalid, "the layer's compressed stream is cut off")
	case errors.Is(err, gzip.ErrHeader):
		return errdef.Errorf(errdef.Invalid, "something that is no gzip stands in the layer's stream, or follows it")
	case errors.Is(err, zstd.ErrMagicMismatch):
		return errdef.Errorf(errdef.Invalid, "something that is no zstd stands in the layer's stream, or follows it")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, zstd.ErrCRCMismatch):
		return errdef.Errorf(errdef.Invalid, "the layer's compressed stream is damaged: a checksum does not match")
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return errdef.Errorf(errdef.Invalid, "the layer's zstd stream wants a window of more memory than it may have")
	}
	return errdef.Errorf(errdef.Invalid, "the layer's compressed stream is damaged: %w", err)
}
