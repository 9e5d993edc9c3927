// Package registry speaks with registries: it pulls and pushes manifests and blobs by the OCI distribution specification 1.1, which Docker's registries follow as well.
//
//	c, err := registry.New(registry.Options{Credentials: set})
//	desc, err := c.Head(ctx, ref)                     // one small request: has the tag moved?
//	desc, data, err := c.Resolve(ctx, ref)            // the index or manifest that the name stands for
//	data, err := c.Manifest(ctx, ref, child)          // one that an index names
//	blob, err := c.Blob(ctx, ref, layer, offset)      // a stream from offset on, resumed when the connection breaks
//	err = c.Push(ctx, ref, desc, store, registry.PushOptions{})
//	tags, err := c.Tags(ctx, ref)
//	list, err := c.Referrers(ctx, ref, desc.Digest, "")
//	report, err := c.Login(ctx, "quay.io", "alice", os.Stdin)
//
// It is four packages: endpoint knows hosts, TLS, proxies and what a registry may lead to; transport carries one request with bounds, deadlines, retries and redirects; auth
// answers challenges; this one knows the specification. docs/registries.md is the page for users, docs/adr/0009 says why no library does this.
//
// A pull asks the mirrors of a registry in their order and then the registry itself. Why a mirror did not do stands in the error if nobody did; one that
// could not be reached is left out for a minute. A push goes to the registry.
//
// Verification: what is fetched by digest is hashed here if it is a manifest; of a tag the digest is that of the bytes, and a Docker-Content-Digest that
// says otherwise is an error. The bytes of a blob are the caller's to hash (package store does); here they are exactly as many as the descriptor says, and Blob.Reject
// sets a mirror aside that sent wrong ones. Media types in header, descriptor and document must agree (package manifest).
//
// Security: every answer has a bound, every wait a deadline (package transport). Names and digests that come from a registry are checked before they are used. Errors
// name the registry, the object and the reason; they have a kind, and a hint where there is a way out.
package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/auth"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
)

// Options say how registries are reached. The zero value is anonymous and strict.
type Options struct {
	Endpoints   endpoint.Options
	Limits      transport.Limits
	Credentials *credential.Set
	// Lookup finds a credential when there are no Credentials: a caller that brought his own. Nil: anonymous.
	Lookup auth.Lookup
	// Chunk is how many bytes of a blob are sent in one request; 0 means all, and chunks of 32 MiB where the registry finds that too large.
	Chunk int64
}

// mirrorPause is how long a mirror is left alone that could not be reached.
const mirrorPause = time.Minute

// A Client speaks with registries. It may be used from many goroutines.
type Client struct {
	options   Options
	set       *endpoint.Set
	transport *transport.Transport
	auth      *auth.Authorizer

	mu   sync.Mutex
	away map[string]time.Time // mirrors by host: not to be asked until then
}

// New makes a client.
func New(o Options) (*Client, error) {
	set, err := endpoint.New(o.Endpoints)
	if err != nil {
		return nil, err
	}
	lookup := o.Lookup
	if o.Credentials != nil {
		lookup = o.Credentials.Lookup
	}
	t := transport.New(set, o.Limits)
	return &Client{options: o, set: set, transport: t, auth: auth.New(t, lookup), away: map[string]time.Time{}}, nil
}

// Close drops the idle connections.
func (c *Client) Close() { c.set.Close() }

// call is one request about a repository.
type call struct {
	method string
	rest   string // of the path, after the repository
	header http.Header
	query  string
}

// send makes the call at one endpoint, to pull.
func (c *Client) send(ctx context.Context, e endpoint.Endpoint, repository string, q call) (*http.Response, error) {
	u := e.URL(repository, q.rest)
	u.RawQuery = q.query
	target := auth.Target{Endpoint: e, Repository: repository, Actions: "pull"}
	return c.auth.Do(ctx, target, transport.Request{Method: q.method, URL: u, Header: q.header})
}

// pull lets try do its work at each endpoint of the reference's registry until it succeeds somewhere.
func (c *Client) pull(ctx context.Context, ref reference.Reference, try func(e endpoint.Endpoint) error) error {
	var reasons []error
	for _, e := range c.set.Pull(ref.Domain) {
		if e.Mirror && c.isAway(e.Host) {
			continue
		}
		err := try(e)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !e.Mirror {
			return combine(err, reasons)
		}
		if errdef.Is(err, errdef.Unavailable) || errdef.Is(err, errdef.Timeout) {
			c.setAway(e.Host, mirrorPause)
		}
		reasons = append(reasons, errdef.Errorf(errdef.KindOf(err), "mirror %s: %w", e.Host, err))
	}
	return combine(errdef.Errorf(errdef.Internal, "registry %s: no endpoint", ref.Domain), reasons)
}

// combine puts the reasons of the mirrors behind that of the registry, whose kind and hint count.
func combine(err error, reasons []error) error {
	if len(reasons) == 0 {
		return err
	}
	texts := make([]string, len(reasons))
	for i, reason := range reasons {
		texts[i] = reason.Error()
	}
	return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%w (before: %s)", err, strings.Join(texts, "; ")), errdef.Hint(err))
}

func (c *Client) isAway(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.away[host])
}

func (c *Client) setAway(host string, d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away[host] = time.Now().Add(d)
}

// about names the object in front of an error.
func about(err error, what string) error {
	if err == nil {
		return nil
	}
	return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s: %w", what, err), errdef.Hint(err))
}

// expect returns an error for any status but these, and closes the answer then.
func expect(resp *http.Response, statuses ...int) error {
	for _, status := range statuses {
		if resp.StatusCode == status {
			return nil
		}
	}
	return transport.StatusError(resp)
}

// errTooMany is a list that does not end.
var errTooMany = errors.New("the list is longer than is read")
