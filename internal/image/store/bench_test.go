package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// thousand fills a store with as many images, without the syncing that a pull has.
func thousand(tb testing.TB, root string, n int) []image {
	tb.Helper()
	s := openStore(tb, root)
	x := &index{}
	var images []image
	for i := range n {
		im := newImage(fmt.Sprintf("registry.example.org/team/image-%d:latest", i), uint64(i), 100+i)
		for _, data := range append([][]byte{im.manifest, im.config}, im.layers...) {
			if err := os.WriteFile(blobPath(root, digest.FromBytes(data)), data, 0o600); err != nil {
				tb.Fatal(err)
			}
		}
		if err := x.set(im.name, im.desc); err != nil {
			tb.Fatal(err)
		}
		images = append(images, im)
	}
	if err := s.writeIndex(x); err != nil {
		tb.Fatal(err)
	}
	return images
}

// BenchmarkOpen opens a store of 1000 images.
func BenchmarkOpen(b *testing.B) {
	root := b.TempDir()
	thousand(b, root, 1000)
	for b.Loop() {
		s, err := Open(root)
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

// BenchmarkPresent is what the second pull of an image does here: open, lease, name, blobs, tag.
func BenchmarkPresent(b *testing.B) {
	ctx := context.Background()
	root := b.TempDir()
	images := thousand(b, root, 1000)
	for i := 0; b.Loop(); i++ {
		im := images[i%len(images)]
		s, err := Open(root)
		if err != nil {
			b.Fatal(err)
		}
		steps := 0
		if err := im.pull(ctx, s, func() { steps++ }); err != nil || steps != 1 {
			b.Fatal("something was written", steps, err)
		}
		_ = s.Close()
	}
}

// BenchmarkTag moves one name of 1000, synced.
func BenchmarkTag(b *testing.B) {
	ctx := context.Background()
	root := b.TempDir()
	images := thousand(b, root, 1000)
	s := openStore(b, root)
	for i := 0; b.Loop(); i++ {
		if err := s.Tag(ctx, images[0].name, images[1+i%2].desc, Event{Action: "tag"}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGC marks 1000 images.
func BenchmarkGC(b *testing.B) {
	ctx := context.Background()
	root := b.TempDir()
	thousand(b, root, 1000)
	s := openStore(b, root)
	for b.Loop() {
		if r, err := s.GC(ctx, Roots{Grace: -1}); err != nil || len(r.Removed) != 0 {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkIngest stores a blob of 1 GiB that comes from memory; BenchmarkCopy writes the same with a plain loop and hashes it after.
func BenchmarkIngest(b *testing.B) {
	ctx := context.Background()
	s := openStore(b, b.TempDir())
	source, desc := gigabyte()
	b.SetBytes(desc.Size)
	for b.Loop() {
		in, err := s.Ingest(ctx, desc)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(in, source()); err != nil {
			b.Fatal(err)
		}
		if err := in.Commit(ctx); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = os.Remove(blobPath(s.path, desc.Digest))
		b.StartTimer()
	}
}

func BenchmarkCopy(b *testing.B) {
	name := filepath.Join(b.TempDir(), "copy")
	source, desc := gigabyte()
	b.SetBytes(desc.Size)
	for b.Loop() {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(onlyWriter{f}, onlyReader{source()}, make([]byte, chunk)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		_, _ = f.Seek(0, io.SeekStart)
		sum := digest.SHA256.Hash()
		if _, err := io.CopyBuffer(onlyWriter{sum}, onlyReader{f}, make([]byte, chunk)); err != nil {
			b.Fatal(err)
		}
		_ = f.Close()
		b.StopTimer()
		_ = os.Remove(name)
		b.StartTimer()
	}
}

// gigabyte returns a stream of 1 GiB and its descriptor.
func gigabyte() (func() io.Reader, v1.Descriptor) {
	block := content(1, 1<<20)
	source := func() io.Reader {
		var all []io.Reader
		for range 1024 {
			all = append(all, bytes.NewReader(block))
		}
		return onlyReader{io.MultiReader(all...)}
	}
	d, _ := digest.FromReader(source())
	return source, v1.Descriptor{Digest: d, Size: 1 << 30}
}

// BenchmarkHash is the floor: the hash of 1 GiB in memory.
func BenchmarkHash(b *testing.B) {
	block := content(1, 1<<20)
	b.SetBytes(1 << 30)
	for b.Loop() {
		h := digest.SHA256.Hash()
		for range 1024 {
			h.Write(block)
		}
	}
}
