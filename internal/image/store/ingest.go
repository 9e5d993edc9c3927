package store

import (
	"context"
	"errors"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const (
	chunk         = 512 << 10 // bytes: what ReadFrom hands on at once
	parallelFrom  = 64 << 10  // bytes: from here on hashing beside writing is worth a goroutine
	writebackStep = 16 << 20  // bytes: after so many the kernel is asked to begin writing, so that the fsync at the end is short
	reserveFrom   = 1 << 20   // bytes: a blob of this size or more gets its room on the disk before the first byte
)

// Ingest is a blob on its way in. It has one user, who must end it with Commit, Close or Abort; what comes after the first of them does
// nothing. Write and ReadFrom append; hashing runs beside writing.
type Ingest struct {
	s      *Store
	desc   v1.Descriptor
	file   *os.File // nil when ended
	sum    hash.Hash
	at     int64 // bytes in the file, all of them hashed
	synced int64 // up to where writeback was asked for
	broken error // after it the file does not have what was hashed
}

// Ingest begins, or resumes, a blob. Somebody else who is writing the same one is waited for until ctx ends. If the blob is there, then
// or now, the error is of kind Exists.
func (s *Store) Ingest(ctx context.Context, desc v1.Descriptor) (*Ingest, error) {
	if err := reference.CheckDigest(desc.Digest); err != nil {
		return nil, err
	}
	if desc.Size < 0 {
		return nil, errdef.Errorf(errdef.Invalid, "blob %s: a size of %d bytes", desc.Digest, desc.Size)
	}
	for {
		if s.Has(desc) {
			return nil, errdef.Errorf(errdef.Exists, "blob %s: is there", desc.Digest)
		}
		if ctx.Err() != nil {
			return nil, errdef.Errorf(errdef.Timeout, "blob %s: begin: %w", desc.Digest, context.Cause(ctx))
		}
		f, err := s.partial(ctx, desc.Digest)
		if err != nil {
			return nil, errdef.Errorf(errdef.KindOf(err), "blob %s: %w", desc.Digest, err)
		}
		if f == nil || s.Has(desc) { // it was committed or removed while this one waited
			if f != nil {
				_ = unix.Unlinkat(s.ingest, blobName(desc.Digest), 0) // still ours, and of no use
				_ = f.Close()
			}
			continue
		}
		in := &Ingest{s: s, desc: desc, file: f, sum: desc.Digest.Algorithm().Hash()}
		if err := in.resume(); err != nil {
			_ = in.Close()
			return nil, errdef.Errorf(errdef.KindOf(err), "blob %s: %w", desc.Digest, err)
		}
		return in, nil
	}
}

// partial opens and locks the file of a blob that is coming. It returns nil if that file lost its name in the meantime.
func (s *Store) partial(ctx context.Context, d digest.Digest) (*os.File, error) {
	name := blobName(d)
	fd, err := unix.Openat(s.ingest, name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, errdef.Errorf(kindOf(err), "open its partial file: %w", err)
	}
	var opened, named unix.Stat_t
	if err = unix.Fstat(fd, &opened); err == nil {
		if what := s.trouble(&opened); what != "" {
			err = errdef.WithHint(errdef.Errorf(errdef.Conflict, "%s stands in the place of its partial file", what), repairHint)
		} else {
			err = atomicfile.Flock(ctx, fd, atomicfile.Exclusive)
		}
	}
	if err == nil {
		err = unix.Fstatat(s.ingest, name, &named, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT || err == nil && (named.Ino != opened.Ino || named.Dev != opened.Dev) {
			_ = unix.Close(fd)
			return nil, nil
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// resume hashes what is in the file and reserves room for the rest.
func (in *Ingest) resume() error {
	size, err := in.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if size > in.desc.Size {
		return in.restart()
	}
	if size > 0 {
		if _, err := in.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if in.at, err = io.CopyBuffer(onlyWriter{in.sum}, io.LimitReader(onlyReader{in.file}, size), make([]byte, chunk)); err != nil || in.at != size {
			return errdef.Errorf(errdef.Internal, "read its partial file: %w", err)
		}
	}
	if in.desc.Size-in.at < reserveFrom {
		return nil
	}
	// Without KEEP_SIZE the offset of a killed writer would be lost.
	err = unix.Fallocate(int(in.file.Fd()), unix.FALLOC_FL_KEEP_SIZE, in.at, in.desc.Size-in.at)
	if err == unix.ENOSPC || err == unix.EDQUOT || err == unix.EFBIG {
		return diskFull(errdef.Errorf(errdef.Unavailable, "%d more bytes have no room: %w", in.desc.Size-in.at, err))
	}
	return nil // a file system that cannot reserve shows later what does not fit
}

func diskFull(err error) error {
	return errdef.WithHint(err, "make room, `image prune` may help; what is here already is kept, and the next pull goes on from there")
}

// onlyWriter and onlyReader hide what else a type can do: io.Copy would find ways around the buffer.
type (
	onlyWriter struct{ io.Writer }
	onlyReader struct{ io.Reader }
)

// restart begins with nothing.
func (in *Ingest) restart() error {
	if err := in.file.Truncate(0); err != nil {
		return err
	}
	_, err := in.file.Seek(0, io.SeekStart)
	in.sum.Reset()
	in.at, in.synced = 0, 0
	return err
}

// Offset returns how many bytes are there. After Ingest it is what a former writer left; the caller goes on from there.
func (in *Ingest) Offset() int64 { return in.at }

// Reader opens what is there so far, from the beginning: for whoever unpacks a blob that is resumed, or while it comes. It may be read
// while others write, ends where they are, and stays good after Commit. The content is not verified before that.
func (in *Ingest) Reader() (*os.File, error) {
	if in.file == nil {
		return nil, errdef.Errorf(errdef.Conflict, "blob %s: opened after its end", in.desc.Digest)
	}
	f, _, err := in.s.openFile(in.s.ingest, blobName(in.desc.Digest)) // nobody takes its name away while it is locked
	if err != nil {
		return nil, errdef.Errorf(errdef.KindOf(err), "blob %s: open what is there: %w", in.desc.Digest, err)
	}
	return f, nil
}

// Write appends. More bytes than the descriptor has are refused before they are written.
func (in *Ingest) Write(p []byte) (int, error) {
	if in.file == nil {
		return 0, errdef.Errorf(errdef.Conflict, "blob %s: written to after its end", in.desc.Digest)
	}
	if in.broken != nil {
		return 0, in.broken
	}
	if in.at+int64(len(p)) > in.desc.Size {
		return 0, errdef.Errorf(errdef.Invalid, "blob %s: more than the %d bytes that were announced", in.desc.Digest, in.desc.Size)
	}
	var hashing sync.WaitGroup
	if len(p) >= parallelFrom {
		hashing.Go(func() { in.sum.Write(p) })
	} else {
		in.sum.Write(p)
	}
	n, err := in.file.Write(p)
	hashing.Wait()
	if err != nil {
		// The hash is ahead of the file now. Of what was written a later Ingest makes use.
		in.at += int64(n)
		in.broken = in.writeError(err)
		return n, in.broken
	}
	in.at += int64(n)
	if in.at-in.synced >= writebackStep {
		_ = unix.SyncFileRange(int(in.file.Fd()), in.synced, in.at-in.synced, unix.SYNC_FILE_RANGE_WRITE)
		in.synced = in.at
	}
	return n, nil
}

func (in *Ingest) writeError(err error) error {
	kind := errdef.Internal
	if errno := unix.Errno(0); errors.As(err, &errno) {
		kind, err = kindOf(errno), errno
	}
	err = errdef.Errorf(kind, "blob %s: write at byte %d: %w", in.desc.Digest, in.at, err)
	if kind == errdef.Unavailable {
		err = diskFull(err)
	}
	return err
}

// ReadFrom appends what r gives until its end: io.Copy calls it. Reading runs beside writing and hashing. What was read before an error
// of r is kept.
func (in *Ingest) ReadFrom(r io.Reader) (int64, error) {
	type piece struct {
		buffer []byte
		n      int
	}
	begin := in.at
	full, free := make(chan piece), make(chan []byte, 2)
	size := min(chunk, max(in.desc.Size-in.at, 4096)) // not two big buffers for a small blob
	free <- make([]byte, size)
	free <- make([]byte, size)
	var writeErr error
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range full {
			if writeErr == nil {
				_, writeErr = in.Write(p.buffer[:p.n])
			}
			if writeErr != nil {
				close(free)
				for range full { // let the reader see that free is closed
				}
				return
			}
			free <- p.buffer
		}
	})
	var readErr error
	for readErr == nil {
		buffer, ok := <-free
		if !ok {
			break
		}
		var n int
		n, readErr = io.ReadFull(r, buffer)
		if n > 0 {
			full <- piece{buffer, n}
		}
	}
	close(full)
	writer.Wait()
	if writeErr != nil {
		return in.at - begin, writeErr
	}
	if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
		readErr = nil // the end; whether it came too early is for Commit to see
	}
	return in.at - begin, readErr
}

// Commit ends the ingest: the content is checked, synced, and gets its place. Too few bytes leave the partial file for a resume, of kind
// Invalid; a wrong digest removes it, of kind Invalid too.
func (in *Ingest) Commit(ctx context.Context) error {
	if in.file == nil {
		return errdef.Errorf(errdef.Conflict, "blob %s: committed after its end", in.desc.Digest)
	}
	if in.broken != nil {
		_ = in.Close()
		return in.broken
	}
	if err := ctx.Err(); err != nil {
		_ = in.Close()
		return errdef.Errorf(errdef.Timeout, "blob %s: commit: %w", in.desc.Digest, context.Cause(ctx))
	}
	if in.at != in.desc.Size {
		_ = in.Close()
		return errdef.Errorf(errdef.Invalid, "blob %s: ends after %d of %d bytes", in.desc.Digest, in.at, in.desc.Size)
	}
	if got := digest.NewDigest(in.desc.Digest.Algorithm(), in.sum); got != in.desc.Digest {
		_ = in.Abort()
		return errdef.Errorf(errdef.Invalid, "blob %s: the content has the digest %s", in.desc.Digest, got)
	}
	if err := in.file.Sync(); err != nil {
		_ = in.Abort() // which pages are on the disk is unknown from now on: fsync(2) reports an error once
		return errdef.Errorf(errdef.Internal, "blob %s: sync: %w", in.desc.Digest, err)
	}
	if err := in.place(ctx); err != nil {
		_ = in.Close()
		return errdef.Errorf(errdef.KindOf(err), "blob %s: give it its place: %w", in.desc.Digest, err)
	}
	return in.end()
}

// place moves the file among the blobs, where it may replace one that was found to be wrong: GC must not be about to remove that.
func (in *Ingest) place(ctx context.Context) error {
	unlock, err := in.s.lock(ctx, gcLock, atomicfile.Shared)
	if err != nil {
		return err
	}
	defer unlock()
	dir, name, err := in.s.place(in.desc.Digest)
	if err != nil {
		return err
	}
	if err := unix.Renameat(in.s.ingest, blobName(in.desc.Digest), dir, name); err != nil {
		return errdef.Errorf(kindOf(err), "%w", err)
	}
	return nil
}

// Close ends the ingest and keeps what there is for a later one.
func (in *Ingest) Close() error {
	if in.file == nil {
		return nil
	}
	if in.at == 0 {
		return in.Abort()
	}
	if in.at < in.desc.Size {
		_ = in.file.Truncate(in.at) // gives the reserved room back
	}
	return in.end()
}

// Abort ends the ingest and removes what there is.
func (in *Ingest) Abort() error {
	if in.file == nil {
		return nil
	}
	err := unix.Unlinkat(in.s.ingest, blobName(in.desc.Digest), 0) // while it is locked: nobody else has this file
	if cerr := in.end(); err == nil {
		err = cerr
	}
	if err != nil && err != unix.ENOENT {
		return errdef.Errorf(errdef.Internal, "blob %s: remove its partial file: %w", in.desc.Digest, err)
	}
	return nil
}

func (in *Ingest) end() error {
	err := in.file.Close()
	in.file = nil
	if err != nil {
		return errdef.Errorf(errdef.Internal, "blob %s: close: %w", in.desc.Digest, err)
	}
	return nil
}
