package tarstream

import (
	"io"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// A Source gives the bytes of an archive piece by piece. A piece stays as it is until the next call.
type Source interface {
	// Chunk returns the next piece, which is not empty, or an error; io.EOF after the last.
	Chunk() ([]byte, error)
}

// Limits bound what one entry may cost. Zero means the default.
type Limits struct {
	Headers   int64 // bytes of PAX and long-name headers that belong to one entry; 1 MiB, as archive/tar has it for each
	Fragments int   // of a sparse file; 65,536
}

const (
	defaultHeaders   = 1 << 20
	defaultFragments = 1 << 16
)

// A Reader reads one archive.
type Reader struct {
	src    Source
	limits Limits
	chunk  []byte // not read yet
	block  [blockSize]byte
	offset int64 // of the next byte in the archive
	left   int64 // stored bytes of the entry that are not read yet
	pad    int64 // and what fills their last block
	err    error
	ended  bool
}

// NewReader returns a reader of src.
func NewReader(src Source, limits Limits) *Reader {
	if limits.Headers == 0 {
		limits.Headers = defaultHeaders
	}
	if limits.Fragments == 0 {
		limits.Fragments = defaultFragments
	}
	return &Reader{src: src, limits: limits}
}

// invalid makes an error about what was read last.
func (r *Reader) invalid(format string, args ...any) error {
	return errdef.Errorf(errdef.Invalid, "tar, near byte %d: "+format, append([]any{r.offset}, args...)...)
}

// fill makes chunk not empty.
func (r *Reader) fill() error {
	for len(r.chunk) == 0 {
		var err error
		if r.chunk, err = r.src.Chunk(); err != nil {
			return err
		}
	}
	return nil
}

// take returns the next block, which stays as it is until the next call of anything. io.EOF: there is not a single byte more.
func (r *Reader) take() ([]byte, error) {
	if len(r.chunk) >= blockSize {
		b := r.chunk[:blockSize]
		r.chunk = r.chunk[blockSize:]
		r.offset += blockSize
		return b, nil
	}
	have := 0
	for have < blockSize {
		if err := r.fill(); err != nil {
			if err == io.EOF && have > 0 {
				err = r.invalid("the archive ends in the middle of a block")
			}
			return nil, err
		}
		n := copy(r.block[have:], r.chunk)
		r.chunk = r.chunk[n:]
		r.offset += int64(n)
		have += n
	}
	return r.block[:], nil
}

// inside is take where the archive may not end.
func (r *Reader) inside() ([]byte, error) {
	b, err := r.take()
	if err == io.EOF {
		err = r.invalid("the archive ends in the middle of an entry")
	}
	return b, err
}

// Next goes to the next entry, over what is left of this one.
func (r *Reader) Next() (*Header, error) {
	if r.err != nil {
		return nil, r.err
	}
	h, err := r.next()
	if err != nil {
		r.err = err
		return nil, err
	}
	return h, nil
}

// extensions are the headers that come before the one they belong to.
type extensions struct {
	pax        *pax
	name, link string
	used       int64
}

func (r *Reader) next() (*Header, error) {
	var ext extensions
	for {
		if err := r.skip(); err != nil {
			return nil, err
		}
		b, err := r.head(&ext)
		if err != nil {
			return nil, err
		}
		h := &Header{}
		if wrong := h.parse(b); wrong != "" {
			return nil, r.invalid("the field %s is no number", wrong)
		}
		switch h.Type {
		case paxLocal, paxGlobal, gnuName, gnuLink:
			if err := r.extend(&ext, h); err != nil {
				return nil, err
			}
		default:
			return h, r.finish(h, &ext, b)
		}
	}
}

// head returns the next header block. Two blocks of zeros, or the end of the bytes between two entries, are the end of the archive.
func (r *Reader) head(ext *extensions) ([]byte, error) {
	b, err := r.take()
	if err != nil {
		if err == io.EOF && ext.used > 0 {
			err = r.invalid("the archive ends between an extended header and its entry")
		}
		r.ended = err == io.EOF
		return nil, err
	}
	if zeros(b) {
		b, err = r.take()
		if err != nil && err != io.EOF {
			return nil, err
		}
		if err == nil && !zeros(b) {
			return nil, r.invalid("a single block of zeros, and then something else")
		}
		if ext.used > 0 {
			return nil, r.invalid("the archive ends between an extended header and its entry")
		}
		r.ended = true
		return nil, io.EOF
	}
	if !checksumOK(b) {
		return nil, r.invalid("a header with a wrong checksum")
	}
	return b, nil
}

// extend reads a header that extends the next one.
func (r *Reader) extend(ext *extensions, h *Header) error {
	if h.Stored < 0 || h.Stored > r.limits.Headers-ext.used {
		return r.invalid("extended headers of %d bytes for one entry; the bound is %d", h.Stored+ext.used, r.limits.Headers)
	}
	ext.used += h.Stored + 1 // an empty one counts, or a row of them would not end
	data, err := r.bytes(h.Stored)
	if err != nil {
		return err
	}
	switch h.Type {
	case gnuName:
		ext.name = text(data)
	case gnuLink:
		ext.link = text(data)
	case paxLocal, paxGlobal:
		p, wrong := parsePAX(string(data), r.limits.Fragments)
		if wrong != "" {
			return r.invalid("a PAX header is malformed: %s", wrong)
		}
		if h.Type == paxLocal {
			ext.pax = p
		}
	}
	if h.Type == paxGlobal {
		ext.used -= h.Stored // it belongs to no entry
	}
	return nil
}

// bytes reads n stored bytes and what fills their last block.
func (r *Reader) bytes(n int64) ([]byte, error) {
	data := make([]byte, 0, n)
	for n > 0 {
		b, err := r.inside()
		if err != nil {
			return nil, err
		}
		b = b[:min(n, blockSize)]
		data = append(data, b...)
		n -= int64(len(b))
	}
	return data, nil
}

// finish completes an entry with what came before it.
func (r *Reader) finish(h *Header, ext *extensions, b []byte) error {
	if h.Type == oldFile || h.Type == contiguous {
		h.Type = File
	}
	sparse := h.Type == gnuSparse
	var head [blockSize]byte
	if sparse {
		copy(head[:], b) // b may be gone after the next read
	}
	if ext.pax != nil {
		if wrong := ext.pax.apply(h); wrong != "" {
			return r.invalid("a PAX header is malformed: %s", wrong)
		}
	}
	if ext.name != "" {
		h.Name = ext.name
	}
	if ext.link != "" {
		h.Link = ext.link
	}
	switch h.Type {
	case Link, Symlink, Char, Block, Dir, FIFO:
		h.Stored, h.Size = 0, 0
	}
	if h.Stored < 0 {
		return r.invalid("an entry of %d bytes", h.Stored)
	}
	if h.Stored > 1<<62 {
		return r.invalid("an entry of %d bytes; the bound is 2^62", h.Stored)
	}
	r.left, r.pad = h.Stored, -h.Stored&(blockSize-1)
	if sparse {
		return r.oldSparse(h, head[:])
	}
	if ext.pax != nil {
		if err := r.paxSparse(h, ext.pax); err != nil {
			return err
		}
	}
	if h.Type == File && strings.HasSuffix(h.Name, "/") && b[atType] == oldFile {
		h.Type, h.Size, h.Stored = Dir, 0, 0 // before there were types; its data is skipped
	}
	return nil
}

// Data returns a piece of the entry's stored bytes, valid until the next call, and io.EOF after the last.
func (r *Reader) Data() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.left == 0 {
		return nil, io.EOF
	}
	if err := r.fill(); err != nil {
		if err == io.EOF {
			err = r.invalid("the archive ends in the middle of an entry")
		}
		r.err = err
		return nil, err
	}
	n := min(int64(len(r.chunk)), r.left)
	b := r.chunk[:n]
	r.chunk = r.chunk[n:]
	r.offset += n
	r.left -= n
	return b, nil
}

// skip goes over what is left of the entry.
func (r *Reader) skip() error {
	left := r.left + r.pad
	r.left, r.pad = 0, 0
	for left > 0 {
		if err := r.fill(); err != nil {
			if err == io.EOF {
				err = r.invalid("the archive ends in the middle of an entry")
			}
			return err
		}
		n := min(int64(len(r.chunk)), left)
		r.chunk = r.chunk[n:]
		r.offset += n
		left -= n
	}
	return nil
}

// Drain reads what follows the archive's end, which must be zeros: bytes that this reader does not show and another one does are a way to
// show two people two different archives.
func (r *Reader) Drain() error {
	if !r.ended {
		return errdef.Errorf(errdef.Internal, "tar: drained before its end")
	}
	for {
		for len(r.chunk) > 0 {
			b := r.chunk[:min(len(r.chunk), blockSize)]
			if !zeros(b) {
				return r.invalid("something follows the end of the archive that is not zeros")
			}
			r.chunk = r.chunk[len(b):]
			r.offset += int64(len(b))
		}
		if err := r.fill(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

var zeroBlock [blockSize]byte

func zeros(b []byte) bool { return string(b) == string(zeroBlock[:len(b)]) }
