package store

import (
	"context"
	"os"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// place returns the directory and the file name of a blob.
func (s *Store) place(d digest.Digest) (int, string, error) {
	if err := reference.CheckDigest(d); err != nil {
		return -1, "", err
	}
	if d.Algorithm() == digest.SHA512 {
		return s.sha512, d.Encoded(), nil
	}
	return s.sha256, d.Encoded(), nil
}

// Stat returns the size of a blob in bytes, of kind NotFound if it is not there. It is one system call and does not look at the content.
func (s *Store) Stat(d digest.Digest) (int64, error) {
	dir, name, err := s.place(d)
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, errdef.Errorf(kindOf(err), "blob %s: %w", d, err)
	}
	if what := s.trouble(&st); what != "" {
		return 0, errdef.WithHint(errdef.Errorf(errdef.Conflict, "blob %s: %s stands in its place", d, what), repairHint)
	}
	return st.Size, nil
}

const repairHint = "`image fsck --repair` takes what is wrong out of the way"

// Has reports whether the blob is there with the size of the descriptor.
func (s *Store) Has(desc v1.Descriptor) bool {
	size, err := s.Stat(desc.Digest)
	return err == nil && size == desc.Size
}

// Reader opens a blob. The content is not verified: whoever uses it hashes it on the way, or takes Bytes.
func (s *Store) Reader(d digest.Digest) (*os.File, error) {
	f, _, err := s.openBlob(d)
	return f, err
}

func (s *Store) openBlob(d digest.Digest) (*os.File, int64, error) {
	dir, name, err := s.place(d)
	if err != nil {
		return nil, 0, err
	}
	f, size, err := s.openFile(dir, name)
	if err != nil {
		kind := errdef.KindOf(err)
		err = errdef.Errorf(kind, "blob %s: %w", d, err)
		if kind == errdef.Conflict {
			err = errdef.WithHint(err, repairHint)
		}
		return nil, 0, err
	}
	return f, size, nil
}

// Bytes returns the content of a blob of at most most bytes, verified.
func (s *Store) Bytes(d digest.Digest, most int64) ([]byte, error) {
	f, size, err := s.openBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readAll(f, d.String(), size, most)
	if err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "blob: %w", err)
	}
	if got := d.Algorithm().FromBytes(data); got != d {
		return nil, errdef.WithHint(errdef.Errorf(errdef.Conflict, "blob %s: the content on the disk has the digest %s", d, got), repairHint)
	}
	return data, nil
}

// Put stores a small content, such as a manifest that is in memory, and returns its descriptor.
func (s *Store) Put(ctx context.Context, mediaType string, data []byte) (v1.Descriptor, error) {
	desc := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	in, err := s.Ingest(ctx, desc)
	if errdef.Is(err, errdef.Exists) {
		return desc, nil
	}
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer in.Close()
	if in.Offset() > 0 { // of a killed writer: not worth keeping
		if err := in.restart(); err != nil {
			return v1.Descriptor{}, err
		}
	}
	if _, err := in.Write(data); err != nil {
		_ = in.Abort()
		return v1.Descriptor{}, err
	}
	return desc, in.Commit(ctx)
}

// blobName is the file name of a digest where all algorithms share a directory.
func blobName(d digest.Digest) string { return d.Algorithm().String() + "-" + d.Encoded() }

// parseBlobName reads what blobName made.
func parseBlobName(name string) (digest.Digest, bool) {
	algorithm, encoded, cut := strings.Cut(name, "-")
	d := digest.Digest(algorithm + ":" + encoded)
	return d, cut && reference.CheckDigest(d) == nil
}
