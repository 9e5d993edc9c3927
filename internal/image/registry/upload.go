package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/auth"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Habits of uploads.
const (
	uploadTries   = 3
	defaultChunk  = 32 << 20        // where a registry, or what stands in front of it, finds a whole blob too large
	maxChunk      = 1 << 30         // that a registry may want at least
	settleTimeout = 5 * time.Minute // a registry hashes or moves the blob before it answers
	cancelTimeout = 5 * time.Second
)

// Outcome is how a blob came to be in a repository.
type Outcome uint8

// The outcomes.
const (
	Present Outcome = iota // it was there
	Mounted                // taken from another repository of the registry
	Sent
)

var outcomeNames = [...]string{"present", "mounted", "sent"}

// String returns the outcome in a word.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[Sent]
}

// PushBlob sees to it that a blob is in the repository: it looks, tries to mount it from one of the other repositories, and sends it. content has desc.Size bytes.
func (c *Client) PushBlob(ctx context.Context, ref reference.Reference, desc v1.Descriptor, content io.ReaderAt, from ...string) (Outcome, error) {
	what := ref.Repository() + "@" + desc.Digest.String()
	if err := reference.CheckDigest(desc.Digest); err != nil {
		return Sent, err
	}
	u := &upload{client: c, ref: ref, desc: desc, content: content}
	u.target = auth.Target{Endpoint: c.set.Registry(ref.Domain), Repository: ref.Path, Actions: "pull,push"}
	there, err := u.exists(ctx)
	if there || err != nil {
		return Present, about(err, what)
	}
	for _, other := range from {
		if other == ref.Path {
			continue
		}
		mounted, err := u.mount(ctx, other)
		if mounted || err != nil {
			return Mounted, about(err, what)
		}
	}
	return Sent, about(u.send(ctx), what)
}

// An upload brings one blob into one repository.
type upload struct {
	client  *Client
	target  auth.Target
	ref     reference.Reference
	desc    v1.Descriptor
	content io.ReaderAt

	at    *url.URL // where to go on, nil: nowhere yet
	from  *url.URL // who said so
	chunk int64
}

// begin makes a request below /v2/REPOSITORY.
func (u *upload) begin(ctx context.Context, method, rest, query string, target auth.Target) (*http.Response, error) {
	address := u.target.Endpoint.URL(u.ref.Path, rest)
	address.RawQuery = query
	return u.client.auth.Do(ctx, target, transport.Request{Method: method, URL: address})
}

func (u *upload) exists(ctx context.Context) (bool, error) {
	resp, err := u.begin(ctx, http.MethodHead, "blobs/"+u.desc.Digest.String(), "", u.target)
	if err != nil {
		return false, err
	}
	if resp.StatusCode == http.StatusNotFound {
		resp.Body.Close()
		return false, nil
	}
	if err := expect(resp, http.StatusOK); err != nil {
		return false, err
	}
	resp.Body.Close()
	if resp.ContentLength >= 0 && resp.ContentLength != u.desc.Size {
		return false, errdef.Errorf(errdef.Invalid, "the registry has %d bytes of it, it has %d", resp.ContentLength, u.desc.Size)
	}
	return true, nil
}

// mount asks for the blob from another repository. A registry that does not do it, or not for us, begins an upload or says no; neither is an error.
func (u *upload) mount(ctx context.Context, other string) (bool, error) {
	target := u.target
	target.From = []string{other}
	query := url.Values{"mount": {u.desc.Digest.String()}, "from": {other}}
	resp, err := u.begin(ctx, http.MethodPost, "blobs/uploads/", query.Encode(), target)
	if errdef.Is(err, errdef.Denied) {
		return false, nil // of the other repository, perhaps: sending will show
	}
	if err != nil {
		return false, err
	}
	switch resp.StatusCode {
	case http.StatusCreated:
		resp.Body.Close()
		return true, nil
	case http.StatusAccepted:
		u.cancel(ctx) // of a former try
		return false, u.moved(resp)
	}
	resp.Body.Close()
	return false, nil
}

// moved takes the place to go on at from an answer, and closes it.
func (u *upload) moved(resp *http.Response) error {
	resp.Body.Close()
	at := resp.Request.URL
	next, err := transport.Location(resp, at)
	if err != nil {
		return err
	}
	if err := u.client.set.Check(at, next); err != nil {
		return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "place to upload to refused: %w", err),
			"a registry behind a proxy that ends TLS must be told so: X-Forwarded-Proto, or relative URLs")
	}
	if least, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil && u.chunk > 0 {
		u.chunk = max(u.chunk, min(least, maxChunk))
	}
	u.at, u.from = next, at
	return nil
}

// send brings the content in, with a new session for each try.
func (u *upload) send(ctx context.Context) (err error) {
	u.chunk = u.client.options.Chunk
	defer func() {
		if err != nil {
			u.cancel(ctx)
		}
	}()
	for try := 1; ; try++ {
		err = u.session(ctx)
		switch {
		case err == nil, ctx.Err() != nil, try == uploadTries:
			return err
		case errors.Is(err, errTooLarge) && u.chunk == 0:
			u.chunk = defaultChunk
		case !errdef.Is(err, errdef.Unavailable) && !errdef.Is(err, errdef.Timeout):
			return err
		}
		u.cancel(ctx)
		if err := u.client.transport.Pause(ctx, try); err != nil {
			return err
		}
	}
}

// errTooLarge is an answer 413.
var errTooLarge = errdef.Errorf(errdef.Invalid, "too large for one request")

// session is one try.
func (u *upload) session(ctx context.Context) error {
	if u.at == nil {
		resp, err := u.begin(ctx, http.MethodPost, "blobs/uploads/", "", u.target)
		if err != nil {
			return err
		}
		if err := expect(resp, http.StatusAccepted); err != nil {
			return err
		}
		if err := u.moved(resp); err != nil {
			return err
		}
	}
	if u.chunk > 0 && u.desc.Size > u.chunk {
		if err := u.chunks(ctx); err != nil {
			return err
		}
		return u.finish(ctx, u.desc.Size)
	}
	return u.finish(ctx, 0)
}

// finish sends the rest from offset on and ends the upload.
func (u *upload) finish(ctx context.Context, offset int64) error {
	place := *u.at
	if place.RawQuery != "" {
		place.RawQuery += "&" // the rest of the query is the registry's, and may be signed as it stands
	}
	place.RawQuery += "digest=" + url.QueryEscape(u.desc.Digest.String())
	resp, err := u.part(ctx, http.MethodPut, &place, offset, u.desc.Size)
	if err != nil {
		return err
	}
	if err := expect(resp, http.StatusCreated, http.StatusNoContent, http.StatusOK); err != nil {
		return err
	}
	resp.Body.Close()
	u.at = nil
	if said := resp.Header.Get(contentDigest); said != "" && said != u.desc.Digest.String() {
		return errdef.Errorf(errdef.Invalid, "the registry says that it has got %q", shorten(said))
	}
	return nil
}

// chunks sends the content piece by piece. After a break the registry is asked what it has.
func (u *upload) chunks(ctx context.Context) error {
	breaks := 0
	for offset := int64(0); offset < u.desc.Size; {
		end := min(offset+u.chunk, u.desc.Size)
		resp, err := u.part(ctx, http.MethodPatch, u.at, offset, end)
		if err == nil && resp.StatusCode == http.StatusAccepted {
			if offset, err = u.received(resp, offset, end); err != nil {
				return err
			}
			breaks = 0
			continue
		}
		if err == nil {
			err = expect(resp)
		}
		breaks++
		if ctx.Err() != nil || breaks > maxResumes || errdef.Is(err, errdef.Denied) {
			return err
		}
		if err := u.client.transport.Pause(ctx, breaks); err != nil {
			return err
		}
		there, lost := u.status(ctx)
		if lost != nil { // Docker's registry cannot go on with an upload of which a part of a chunk has arrived
			return errdef.Errorf(errdef.Unavailable, "the upload is lost: %w", err)
		}
		offset = there
	}
	return nil
}

// received reads how far the registry is after a chunk.
func (u *upload) received(resp *http.Response, offset, end int64) (int64, error) {
	there, ok := uploadRange(resp.Header.Get("Range"))
	if err := u.moved(resp); err != nil {
		return 0, err
	}
	if !ok {
		return end, nil // it says nothing; what it took shows at the end
	}
	if there <= offset || there > end {
		return 0, errdef.Errorf(errdef.Invalid, "sent the bytes %d to %d, the registry says that it has %d", offset, end-1, there)
	}
	return there, nil
}

// status asks how many bytes have arrived (distribution-spec, "Pushing a blob in chunks").
func (u *upload) status(ctx context.Context) (int64, error) {
	resp, err := u.client.auth.Do(ctx, u.target, transport.Request{Method: http.MethodGet, URL: u.at, Chosen: u.from})
	if err != nil {
		return 0, err
	}
	if err := expect(resp, http.StatusNoContent, http.StatusOK, http.StatusAccepted); err != nil {
		return 0, err
	}
	there, ok := uploadRange(resp.Header.Get("Range"))
	if !ok || there > u.desc.Size {
		resp.Body.Close()
		return 0, errdef.Errorf(errdef.Invalid, "the registry does not say how much it has")
	}
	return there, u.moved(resp)
}

// uploadRange reads 0-LAST and returns how many bytes that are. What has not begun is 0-0 with many registries, which is no other answer than one byte; chunks are never
// that small.
func uploadRange(s string) (int64, bool) {
	last, ok := strings.CutPrefix(strings.TrimPrefix(s, "bytes="), "0-")
	n, err := strconv.ParseInt(last, 10, 62)
	if !ok || err != nil || n < 0 {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// part sends the bytes from first to before end.
func (u *upload) part(ctx context.Context, method string, place *url.URL, first, end int64) (*http.Response, error) {
	r := transport.Request{
		Method: method, URL: place, Chosen: u.from, Once: true, Answer: settleTimeout, Size: end - first,
		Header: http.Header{"Content-Type": {"application/octet-stream"}},
		Body: func() (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(u.content, first, end-first)), nil
		},
	}
	if method == http.MethodPatch {
		r.Header.Set("Content-Range", fmt.Sprintf("%d-%d", first, end-1))
	}
	resp, err := u.client.auth.Do(ctx, u.target, r)
	if err == nil && resp.StatusCode == http.StatusRequestEntityTooLarge {
		return nil, errdef.Errorf(errdef.Invalid, "%w: %w", errTooLarge, transport.StatusError(resp))
	}
	return resp, err
}

// cancel tells the registry that nothing more comes. It is a courtesy: registries remove what is old.
func (u *upload) cancel(ctx context.Context) {
	if u.at == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	resp, err := u.client.auth.Do(ctx, u.target, transport.Request{Method: http.MethodDelete, URL: u.at, Chosen: u.from, Once: true})
	if err == nil {
		resp.Body.Close()
	}
	u.at = nil
}
