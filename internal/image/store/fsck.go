package store

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// FsckOptions say what Fsck does besides looking.
type FsckOptions struct {
	// Repair moves what is wrong into bulkhead/quarantine, takes names away that point to nothing whole, and makes an index.json that
	// cannot be read anew from the journals. It deletes no content.
	Repair bool
	// Quick looks at places, sizes and names, and hashes nothing.
	Quick bool
	// Progress is called now and then, from one goroutine at a time, with the bytes that are hashed and those there are.
	Progress func(done, total int64)
}

// Problem is something that is not as it should be.
type Problem struct {
	Object   string // blob sha256:..., name "...", journal ..., index.json
	Text     string
	Repaired bool
}

// String returns the problem in one sentence.
func (p Problem) String() string {
	if p.Repaired {
		return p.Object + ": " + p.Text + " (repaired)"
	}
	return p.Object + ": " + p.Text
}

// Partial is a blob that is not here whole: a pull is fetching it, or was stopped.
type Partial struct {
	Digest digest.Digest
	Size   int64 // so far
}

// FsckReport is what Fsck found. A store without problems is valid, whatever happened to those who wrote it.
type FsckReport struct {
	Blobs    int
	Bytes    int64
	Names    int
	Partials []Partial
	Problems []Problem
}

// Fsck hashes every blob, unless it is to be quick, and checks that every name points to something whole. It may run beside all other work.
func (s *Store) Fsck(ctx context.Context, o FsckOptions) (FsckReport, error) {
	f := &checker{s: s, o: o}
	for _, step := range []func(context.Context) error{f.blobs, f.ingests, f.journals, f.index, f.names} {
		if err := step(ctx); err != nil {
			return f.report, errdef.Errorf(errdef.KindOf(err), "check of the image store: %w", err)
		}
	}
	slices.SortStableFunc(f.report.Problems, func(a, b Problem) int { return strings.Compare(a.Object, b.Object) })
	return f.report, nil
}

type checker struct {
	s *Store
	o FsckOptions

	mu     sync.Mutex // guards the rest while blobs are hashed
	report FsckReport
	done   int64
	total  int64
}

func (f *checker) problem(object, format string, args ...any) {
	f.report.Problems = append(f.report.Problems, Problem{Object: object, Text: fmt.Sprintf(format, args...)})
}

// repaired runs the repair of the last problem, when repairs are asked for.
func (f *checker) repaired(repair func() error) error {
	if !f.o.Repair {
		return nil
	}
	if err := repair(); err != nil {
		return err
	}
	f.report.Problems[len(f.report.Problems)-1].Repaired = true
	return nil
}

// blobs hashes all there is below blobs.
func (f *checker) blobs(ctx context.Context) error {
	type blob struct {
		digest digest.Digest
		size   int64
	}
	var all []blob
	for _, d := range []struct {
		fd        int
		algorithm digest.Algorithm
	}{{f.s.sha256, digest.SHA256}, {f.s.sha512, digest.SHA512}} {
		names, err := readDir(d.fd)
		if err != nil {
			return err
		}
		for _, name := range names {
			sum := digest.NewDigestFromEncoded(d.algorithm, name)
			size, err := f.blob(ctx, d.fd, name, sum)
			if err != nil {
				return err
			}
			if size >= 0 {
				all = append(all, blob{sum, size})
				f.total += size
			}
		}
	}
	if f.o.Quick {
		f.report.Blobs, f.report.Bytes = len(all), f.total
		return nil
	}
	todo := make(chan blob)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 8) {
		workers.Go(func() {
			buffer := make([]byte, chunk)
			for b := range todo {
				f.hash(ctx, b.digest, buffer)
			}
		})
	}
	for _, b := range all {
		if ctx.Err() != nil {
			break
		}
		todo <- b
	}
	close(todo)
	workers.Wait()
	if err := ctx.Err(); err != nil {
		return errdef.Errorf(errdef.Timeout, "hash: %w", context.Cause(ctx))
	}
	return f.quarantineBlobs(ctx)
}

// blob looks at what stands among the blobs and returns its size, or -1 for something that is none.
func (f *checker) blob(ctx context.Context, dir int, name string, sum digest.Digest) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return -1, nil // collected in the meantime
	}
	what := f.s.trouble(&st)
	if what == "" && reference.CheckDigest(sum) == nil {
		return st.Size, nil
	}
	if what == "" {
		what = "a file"
	}
	f.problem(fmt.Sprintf("blobs/%s/%q", sum.Algorithm(), name), "%s that is no blob", what)
	return -1, f.repaired(func() error { return f.s.quarantine(ctx, dir, name) })
}

// hash reads one blob.
func (f *checker) hash(ctx context.Context, d digest.Digest, buffer []byte) {
	file, size, err := f.s.openBlob(d)
	if errdef.Is(err, errdef.NotFound) {
		return
	}
	sum := d.Algorithm().Hash()
	var n int64
	if err == nil {
		n, err = io.CopyBuffer(onlyWriter{sum}, progress{ctx, file, f}, buffer)
		_ = file.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report.Blobs++
	f.report.Bytes += size
	switch got := digest.NewDigest(d.Algorithm(), sum); {
	case ctx.Err() != nil:
	case err != nil:
		f.problem("blob "+string(d), "%s", strings.TrimPrefix(err.Error(), "blob "+string(d)+": "))
	case got != d:
		f.problem("blob "+string(d), "the content, %d bytes, has the digest %s", n, got)
	}
}

// progress is a file that counts, and ends with the context.
type progress struct {
	ctx  context.Context
	file *os.File
	f    *checker
}

func (p progress) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.file.Read(b)
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	p.f.done += int64(n)
	if p.f.o.Progress != nil && n > 0 {
		p.f.o.Progress(p.f.done, max(p.f.total, p.f.done))
	}
	return n, err
}

// ingests looks at the partial blobs.
func (f *checker) ingests(ctx context.Context) error {
	names, err := readDir(f.s.ingest)
	if err != nil {
		return err
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(f.s.ingest, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue
		}
		d, ok := parseBlobName(name)
		if what := f.s.trouble(&st); ok && what == "" {
			f.report.Partials = append(f.report.Partials, Partial{d, st.Size})
			continue
		}
		f.problem(fmt.Sprintf("%s/%s/%q", stateDir, ingestDir, name), "no partial blob")
		if err := f.repaired(func() error { return f.s.quarantine(ctx, f.s.ingest, name) }); err != nil {
			return err
		}
	}
	return nil
}

// whole returns what is missing below a descriptor, "" if nothing is. Of an index, other platforms' manifests may be.
func (f *checker) whole(d v1.Descriptor, seen map[digest.Digest]string) string {
	if text, ok := seen[d.Digest]; ok {
		return text
	}
	seen[d.Digest] = "" // what names itself cannot be: a digest has no cycle
	text := f.wholeOnce(d, seen)
	seen[d.Digest] = text
	return text
}
