package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxResumes is how often in a row a blob may break off without resumeProgress bytes in between.
const maxResumes = 5

// resumeProgress is what has to come for the count of breaks to begin anew.
const resumeProgress = 64 << 10

// rejected is how long a mirror is left alone that sent wrong bytes.
const rejected = time.Hour

// Blob is the stream of a blob. When the connection breaks, Read goes on where it was, by a Range. It ends after as many bytes as the descriptor
// says; a registry that sends fewer or more is an error. It has one user.
type Blob struct {
	ctx    context.Context // it is a stream: the context of its beginning is that of its reads
	client *Client
	ref    reference.Reference
	desc   v1.Descriptor

	offset int64 // of the next byte
	body   io.ReadCloser
	source endpoint.Endpoint
	breaks int
	since  int64 // bytes since the last break
	err    error
}

// Blob opens a blob of the repository at an offset, which may be its end. The bytes are the caller's to verify.
func (c *Client) Blob(ctx context.Context, ref reference.Reference, desc v1.Descriptor, offset int64) (*Blob, error) {
	if err := reference.CheckDigest(desc.Digest); err != nil {
		return nil, err
	}
	what := ref.Repository() + "@" + desc.Digest.String()
	if len(desc.URLs) > 0 {
		return nil, errdef.Errorf(errdef.Unsupported, "%s: is to be fetched from %q: content from outside of the registry is not supported", what, shorten(desc.URLs[0]))
	}
	if desc.Size < 0 || desc.Size > manifest.MaxBlob || offset < 0 || offset > desc.Size {
		return nil, errdef.Errorf(errdef.Invalid, "%s: offset %d of %d bytes", what, offset, desc.Size)
	}
	b := &Blob{ctx: ctx, client: c, ref: ref, desc: desc, offset: offset}
	if offset == desc.Size {
		b.body = io.NopCloser(strings.NewReader(""))
		return b, nil
	}
	if err := b.open(); err != nil {
		return nil, about(err, what)
	}
	return b, nil
}

// open asks for what is missing.
func (b *Blob) open() error {
	return b.client.pull(b.ctx, b.ref, func(e endpoint.Endpoint) error {
		header := http.Header{}
		if b.offset > 0 {
			header.Set("Range", fmt.Sprintf("bytes=%d-", b.offset))
		}
		resp, err := b.client.send(b.ctx, e, b.ref.Path, call{method: http.MethodGet, rest: "blobs/" + b.desc.Digest.String(), header: header})
		if err != nil {
			return err
		}
		if err := expect(resp, http.StatusOK, http.StatusPartialContent); err != nil {
			return err
		}
		if err := b.begin(resp); err != nil {
			resp.Body.Close()
			return err
		}
		b.body, b.source = resp.Body, e
		return nil
	})
}

// begin checks that the answer is what was asked for, and reads over what we have if the registry knows no ranges.
func (b *Blob) begin(resp *http.Response) error {
	start := int64(0)
	if resp.StatusCode == http.StatusPartialContent {
		first, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || first != b.offset || total >= 0 && total != b.desc.Size {
			return errdef.Errorf(errdef.Invalid, "asked for the bytes from %d of %d, the registry sends %q", b.offset, b.desc.Size, shorten(resp.Header.Get("Content-Range")))
		}
		start = first
	}
	if resp.ContentLength >= 0 && resp.ContentLength != b.desc.Size-start {
		return errdef.Errorf(errdef.Invalid, "the registry has %d bytes, %d were announced", resp.ContentLength+start, b.desc.Size)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, b.offset-start); err != nil {
		kind := errdef.KindOf(err)
		if kind == errdef.Internal { // it ended
			kind = errdef.Unavailable
		}
		return errdef.Errorf(kind, "read over the first %d bytes, since the registry knows no ranges: %w", b.offset, err)
	}
	return nil
}

// contentRange reads `bytes FIRST-LAST/TOTAL`; a total of * is -1.
func contentRange(s string) (first, total int64, ok bool) {
	rest, cut := strings.CutPrefix(s, "bytes ")
	span, all, slash := strings.Cut(rest, "/")
	from, _, dash := strings.Cut(span, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if !cut || !slash || !dash || err != nil || first < 0 {
		return 0, 0, false
	}
	if all == "*" {
		return first, -1, true
	}
	total, err = strconv.ParseInt(all, 10, 64)
	return first, total, err == nil && total >= 0
}

// Offset returns where in the blob the next byte is.
func (b *Blob) Offset() int64 { return b.offset }

// Read is io.Reader's.
func (b *Blob) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	for len(p) > 0 {
		left := b.desc.Size - b.offset
		if left == 0 {
			b.err = b.end()
			return 0, b.err
		}
		n, err := b.body.Read(p[:min(int64(len(p)), left)])
		b.offset += int64(n)
		b.since += int64(n)
		if n > 0 {
			return n, nil // an error comes again, or a short body is met by the next Read
		}
		if err == nil {
			continue
		}
		if err := b.resume(err); err != nil {
			b.err = about(err, b.ref.Repository()+"@"+b.desc.Digest.String())
			return 0, b.err
		}
	}
	return 0, nil
}

// end wants the body to be over.
func (b *Blob) end() error {
	var one [1]byte
	if n, _ := b.body.Read(one[:]); n > 0 {
		return errdef.Errorf(errdef.Invalid, "%s@%s: the registry sends more than the %d bytes that were announced", b.ref.Repository(), b.desc.Digest, b.desc.Size)
	}
	return io.EOF
}

// resume opens the rest after a break. A registry that is away for a while is waited for.
func (b *Blob) resume(why error) error {
	b.body.Close()
	if why == io.EOF {
		why = io.ErrUnexpectedEOF
	}
	if b.since >= resumeProgress {
		b.breaks = 0
	}
	b.since = 0
	first := why.Error()
	for {
		if b.ctx.Err() != nil {
			return errdef.Errorf(errdef.Timeout, "at byte %d of %d: %w", b.offset, b.desc.Size, context.Cause(b.ctx))
		}
		b.breaks++
		if b.breaks > maxResumes {
			kind := errdef.KindOf(why)
			if kind == errdef.Internal {
				kind = errdef.Unavailable
			}
			return errdef.WithHint(errdef.Errorf(kind, "broke off %d times, at last at byte %d of %d: %w", b.breaks, b.offset, b.desc.Size, why), "pull again: what is there is kept")
		}
		if err := b.client.transport.Pause(b.ctx, b.breaks); err != nil {
			continue // the context is over
		}
		err := b.open()
		if err == nil {
			return nil
		}
		why = errdef.Errorf(errdef.KindOf(err), "resume at byte %d of %d after %q: %w", b.offset, b.desc.Size, first, err)
		if !errdef.Is(err, errdef.Unavailable) && !errdef.Is(err, errdef.Timeout) {
			return why
		}
	}
}

// Reject says that the bytes were not those of the digest. A mirror that sent them is left alone from now on, so that the next try goes elsewhere; it reports
// whether there is such an elsewhere.
func (b *Blob) Reject() bool {
	if b.source.Mirror {
		b.client.setAway(b.source.Host, rejected)
	}
	return b.source.Mirror
}

// Close is io.Closer's.
func (b *Blob) Close() error {
	if b.err == nil {
		b.err = errdef.Errorf(errdef.Internal, "the blob is closed")
	}
	return b.body.Close()
}
