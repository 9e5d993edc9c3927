package inflate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer/wire"
)

// Buffers on their way: chunkSize is large enough for few system calls and small enough for the processor's cache.
const (
	chunkSize = 256 << 10
	chunks    = 8
)

// A Stream is an archive that comes out of a layer's stream.
type Stream struct {
	in     *input
	limits wire.Limits
	close  func()
	free   chan []byte
	hashed chan piece // what the caller takes
	stop   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
	last   []byte
	err    error
	sum    hash.Hash
	total  int64
}

type piece struct {
	data []byte
	err  error
}

// Open begins to read the stream behind fd, which stays the caller's and may be closed after Close only. A media type that is no layer's, and
// first bytes that are not what it says, are errors of kind Invalid.
func Open(ctx context.Context, fd int, mediaType string, limits wire.Limits) (*Stream, error) {
	limits = limits.Default()
	in, err := newInput(ctx, fd)
	if err != nil {
		return nil, err
	}
	r, closer, err := decoder(in, mediaType, limits)
	if err != nil {
		in.close()
		return nil, err
	}
	s := &Stream{
		in: in, limits: limits, close: closer, free: make(chan []byte, chunks), hashed: make(chan piece, chunks), stop: make(chan struct{}), sum: sha256.New(),
	}
	for range chunks {
		s.free <- nil
	}
	raw := make(chan piece, chunks)
	s.wg.Go(func() { s.decompress(r, raw) })
	s.wg.Go(func() { s.digest(raw) })
	return s, nil
}

// decompress fills buffers until the end, an error, or stop.
func (s *Stream) decompress(r io.Reader, out chan<- piece) {
	defer close(out)
	for {
		var b []byte
		select {
		case b = <-s.free:
		case <-s.stop:
			return
		}
		if b == nil {
			b = make([]byte, chunkSize)
		}
		n, err := io.ReadFull(r, b[:chunkSize])
		if err == io.ErrUnexpectedEOF && n > 0 {
			// Either the end, or a stream that is cut off: the reader says so when it is asked again.
			if _, err = r.Read(b[n:chunkSize:chunkSize]); err == nil {
				err = io.ErrNoProgress
			}
		}
		s.total += int64(n)
		if err == nil || err == io.EOF {
			if bound := s.bound(); bound != nil {
				err = bound
			}
		} else {
			err = translate(err)
		}
		if n > 0 {
			out <- piece{data: b[:n]}
		}
		if err != nil {
			out <- piece{err: err}
			return
		}
	}
}

// bound checks what has come out so far.
func (s *Stream) bound() error {
	if s.total > s.limits.Bytes {
		return errdef.Errorf(errdef.Invalid, "the layer has more than %d bytes uncompressed", s.limits.Bytes)
	}
	if read := s.in.read.Load(); s.total > s.limits.FreeBytes && s.total/s.limits.Ratio > read {
		return errdef.Errorf(errdef.Invalid, "the layer is a compression bomb: %d bytes made %d; the bound is %d for each", read, s.total, s.limits.Ratio)
	}
	return nil
}

// digest hashes buffers on their way to the caller.
func (s *Stream) digest(in <-chan piece) {
	defer close(s.hashed)
	for p := range in {
		_, _ = s.sum.Write(p.data) // hash.Hash never returns an error
		select {
		case s.hashed <- p:
		case <-s.stop:
		}
	}
}

// Chunk returns the next piece, valid until the next call.
func (s *Stream) Chunk() ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	if s.last != nil {
		s.free <- s.last
		s.last = nil
	}
	p, ok := <-s.hashed
	if !ok {
		p.err = io.ErrClosedPipe
	}
	if p.err != nil {
		s.err = p.err
		return nil, p.err
	}
	s.last = p.data
	return p.data, nil
}

// Digest is the sha256 of the archive; only after io.EOF.
func (s *Stream) Digest() string { return "sha256:" + hex.EncodeToString(s.sum.Sum(nil)) }

// Bytes is the size of the archive; only after io.EOF.
func (s *Stream) Bytes() int64 { return s.total }

// Read is how many bytes of the stream were read.
func (s *Stream) Read() int64 { return s.in.read.Load() }

// Close ends the goroutines and frees what they have.
func (s *Stream) Close() {
	s.once.Do(func() {
		close(s.stop)
		s.in.cancel()
		s.wg.Wait()
		if s.close != nil {
			s.close()
		}
		s.in.close()
	})
}
