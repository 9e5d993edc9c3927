// Package transport carries one request to a registry and its answer back, and bounds everything about it.
//
//	tr := transport.New(set, transport.Limits{})
//	resp, err := tr.Do(ctx, transport.Request{Method: "GET", URL: u, Header: h})    // close resp.Body
//	data, err := transport.ReadAll(resp, 4<<20)
//	err = transport.StatusError(resp)                                               // what an answer above 399 says, as an error with its kind
//
// It does what net/http's Client would do, and what that does not:
//
//   - It follows redirects itself, MaxRedirects at most, each asked of endpoint.Set.Check. Authorization goes to the origin of the request (scheme, host and
//     port) and nowhere else, whatever the redirect; there is no cookie and no Referer. What has a body is not led to another origin.
//   - A server has Limits.Answer to begin its answer after the last byte that it took, and in the body Limits.Stall for each MinProgress bytes. Only the time in which
//     we wait for the server counts; a slow reader harms nobody. What ReadAll reads has wholeFactor times as long for all of it.
//   - What broke on the way, 408, 429 and 5xx are tried again, Limits.Retries times, after a growing, random pause or what Retry-After says. One that
//     says more than Limits.MaxWait ends it at once.
//   - No content encoding is asked for, and an answer that has one is refused: a blob has the digest of its bytes as they are, and nobody can send a bomb.
//   - Where HTTPS is met with HTTP, plain HTTP is spoken if the host may (package endpoint), and never with a secret unless it is named.
//
// Security: errors have no query and no header in them, since those carry signatures and tokens. What a server says is quoted and cut.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
)

// MaxRedirects is how often a server may send us on.
const MaxRedirects = 5

// MinProgress is how many bytes of a body must come in Limits.Stall of waiting.
const MinProgress = 16 << 10

// wholeFactor times Limits.Stall is how long a document may take.
const wholeFactor = 4

// Limits bound a request. Zero fields mean the default.
type Limits struct {
	Answer  time.Duration // until the header of an answer is there; 30 s
	Stall   time.Duration // for MinProgress bytes of a body; 30 s
	MaxWait time.Duration // that a Retry-After may ask for; 60 s
	Pause   time.Duration // before the first retry; 250 ms
	Retries int           // after the first try; 4, negative: none
}

func (l Limits) filled() Limits {
	fill := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	fill(&l.Answer, 30*time.Second)
	fill(&l.Stall, 30*time.Second)
	fill(&l.MaxWait, 60*time.Second)
	fill(&l.Pause, 250*time.Millisecond)
	if l.Retries == 0 {
		l.Retries = 4
	}
	return l
}

// A Request is what is asked. It can be sent more than once.
type Request struct {
	Method string
	URL    *url.URL
	Chosen *url.URL // the registry that chose URL, nil if the user did
	Header http.Header

	Authorization string // for the origin of URL only
	Secret        bool   // Authorization or the body lets in whoever reads it

	Body   func() (io.ReadCloser, error) // opens the body anew; nil: none
	Size   int64                         // of the body
	Answer time.Duration                 // instead of Limits.Answer, when all of the body is sent
	Once   bool                          // no retries: the caller has a better way
}

// A Transport sends requests. It may be used from many goroutines.
type Transport struct {
	Set    *endpoint.Set
	limits Limits
}

// New makes a Transport.
func New(set *endpoint.Set, limits Limits) *Transport {
	return &Transport{Set: set, limits: limits.filled()}
}

// Do sends the request and returns the first answer that is neither a redirect nor one to try again after. Answers above 399 are no error: see StatusError.
func (t *Transport) Do(ctx context.Context, r Request) (*http.Response, error) {
	pause := t.limits.Pause
	for try := 0; ; try++ {
		resp, err := t.follow(ctx, r)
		if err == nil && !again(resp.StatusCode) {
			return resp, nil
		}
		last := r.Once || try >= t.limits.Retries
		var wait time.Duration
		if err == nil {
			after, said := retryAfter(resp)
			if said && after > t.limits.MaxWait {
				err := StatusError(resp)
				return nil, errdef.WithHint(errdef.Errorf(errdef.Unavailable, "%w: it wants %v to pass before the next try", err, after), "try again later")
			}
			if last {
				return resp, nil
			}
			wait = after
			discard(resp)
		} else if last || !transient(ctx, err) {
			return nil, err
		}
		if err := sleep(ctx, max(wait, jitter(pause))); err != nil {
			return nil, err
		}
		pause = min(2*pause, t.limits.MaxWait)
	}
}

// follow sends the request and goes where redirects lead.
func (t *Transport) follow(ctx context.Context, r Request) (*http.Response, error) {
	origin := *r.URL
	if origin.Scheme == "https" && t.Set.MayBePlain(origin.Host) {
		origin.Scheme = t.Set.Scheme(origin.Host)
	}
	at, from := &origin, r.Chosen
	for hops := 0; ; hops++ {
		header := r.Header.Clone()
		if header == nil {
			header = http.Header{}
		}
		header.Del("Authorization")
		if endpoint.SameOrigin(at, &origin) {
			if r.Secret {
				if err := t.Set.CheckSecret(at); err != nil {
					return nil, err
				}
			}
			if r.Authorization != "" {
				header.Set("Authorization", r.Authorization)
			}
		}
		resp, err := t.send(ctx, r, from, at, header)
		if err != nil && at.Scheme == "https" && t.speaksPlain(at, err) {
			t.Set.SetPlain(at.Host)
			at.Scheme = "http" // of origin too, where at is it
			continue
		}
		if err != nil {
			return nil, describe(r.Method, at, err)
		}
		next, err := location(r, resp, at)
		if next == nil || err != nil {
			return resp, err
		}
		discard(resp)
		if hops >= MaxRedirects {
			return nil, errdef.Errorf(errdef.Invalid, "%s %s: more than %d redirects", r.Method, clean(r.URL), MaxRedirects)
		}
		if err := t.Set.Check(at, next); err != nil {
			return nil, errdef.Errorf(errdef.KindOf(err), "%s %s: redirect refused: %w", r.Method, clean(r.URL), err)
		}
		from, at = at, next
	}
}

// speaksPlain reports whether the error says that the host speaks plain HTTP, and it may.
func (t *Transport) speaksPlain(at *url.URL, err error) bool {
	if !t.Set.MayBePlain(at.Host) {
		return false
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return string(record.RecordHeader[:]) == "HTTP/"
	}
	// Nobody at port 443: a host that is named may be at port 80.
	return at.Port() == "" && t.Set.Named(at.Host) && errors.Is(err, syscall.ECONNREFUSED)
}

// location returns where the answer sends us, nil if nowhere.
func location(r Request, resp *http.Response, at *url.URL) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	next, err := Location(resp, at)
	if err != nil {
		discard(resp)
		return nil, err
	}
	if reads := r.Method == http.MethodGet || r.Method == http.MethodHead; !reads {
		if resp.StatusCode < http.StatusTemporaryRedirect || !endpoint.SameOrigin(at, next) {
			discard(resp)
			return nil, errdef.Errorf(errdef.Denied, "%s %s: redirect refused: what is sent is not sent elsewhere, to %s", r.Method, clean(at), next.Host)
		}
	}
	return next, nil
}

// Location returns the Location of an answer to a request that went to at. It is not checked yet.
func Location(resp *http.Response, at *url.URL) (*url.URL, error) {
	text := resp.Header.Get("Location")
	if text == "" {
		return nil, errdef.Errorf(errdef.Invalid, "%s: the answer %d has no Location", clean(at), resp.StatusCode)
	}
	next, err := at.Parse(text)
	if err != nil {
		return nil, errdef.Errorf(errdef.Invalid, "%s: the Location of the answer is no URL", clean(at))
	}
	next.Fragment, next.RawFragment = "", ""
	return next, nil
}

// send makes one exchange.
func (t *Transport) send(ctx context.Context, r Request, from, at *url.URL, header http.Header) (*http.Response, error) {
	ctx, carrier, err := t.Set.RoundTripper(ctx, from, at)
	if err != nil {
		return nil, err
	}
	header.Set("Accept-Encoding", "identity")
	header.Set("User-Agent", "bulkhead")
	answer := t.limits.Answer
	if r.Answer > 0 {
		answer = r.Answer
	}
	first := answer
	if r.Size > 0 {
		first = t.limits.Answer
	}
	ctx, w := watched(ctx, first)
	req := (&http.Request{Method: r.Method, URL: at, Host: at.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if r.Body != nil && r.Size > 0 {
		opened, err := r.Body()
		if err != nil {
			w.end()
			return nil, err
		}
		req.Body, req.ContentLength = &sending{opened, w, answer}, r.Size
	} else if r.Body != nil {
		req.Body = http.NoBody
	}
	resp, err := carrier.RoundTrip(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		w.end()
		return nil, err
	}
	resp.Request = req
	resp.Body = &receiving{ctx: ctx, body: resp.Body, watch: w, stall: t.limits.Stall, at: at, method: r.Method}
	w.pause()
	if encoding := resp.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		resp.Body.Close()
		return nil, errdef.Errorf(errdef.Invalid, "the answer has the content encoding %q, which was not asked for", shorten(encoding))
	}
	return resp, nil
}

// transient reports whether an error, as describe makes it, may be gone at the next try.
func transient(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errdef.Is(err, errdef.Unavailable)
}
