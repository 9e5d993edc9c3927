package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/auth"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxNesting is how deep indexes may be in indexes.
const maxNesting = 4

// Source is where what is pushed comes from. Package store's Store is one.
type Source interface {
	// Bytes returns a whole content of at most most bytes, verified.
	Bytes(d digest.Digest, most int64) ([]byte, error)
	// Reader opens a content.
	Reader(d digest.Digest) (*os.File, error)
}

// PushOptions say how an image is pushed. The zero value will do.
type PushOptions struct {
	// Mount returns the repositories of the same registry that are known to have a blob.
	Mount func(d digest.Digest) []string
	// Parallel is how many blobs are sent at once; 0 means 4.
	Parallel int
	// Progress is told of each blob that has arrived and of each manifest. It is called by one goroutine at a time.
	Progress func(desc v1.Descriptor, outcome Outcome)
}

// Push brings an image, or an index with all that it names, into a repository and lets the name of ref stand for it. What is there already is not sent: not the blobs, and nothing of a manifest
// that is there. A push that was interrupted is repeated by the same call.
func (c *Client) Push(ctx context.Context, ref reference.Reference, desc v1.Descriptor, source Source, o PushOptions) error {
	p := &pushing{client: c, ref: ref, source: source, options: o, seen: map[digest.Digest]bool{}}
	if ref.Digest != "" && ref.Digest != desc.Digest {
		return errdef.Errorf(errdef.Invalid, "%s: the content to push has the digest %s", ref, desc.Digest)
	}
	if err := p.plan(ctx, desc, 0); err != nil {
		return about(err, ref.String())
	}
	if err := p.sendBlobs(ctx); err != nil {
		return err
	}
	for i, m := range p.manifests {
		to, err := ref.WithDigest(m.desc.Digest)
		if err != nil {
			return err
		}
		if i == len(p.manifests)-1 {
			to = ref
		}
		if err := c.PushManifest(ctx, to, m.desc, m.data); err != nil {
			return err
		}
		p.report(m.desc, Sent)
	}
	return nil
}

type document struct {
	desc v1.Descriptor
	data []byte
}

// pushing is a push: first all is listed, then it is sent.
type pushing struct {
	client    *Client
	ref       reference.Reference
	source    Source
	options   PushOptions
	seen      map[digest.Digest]bool
	blobs     []v1.Descriptor
	manifests []document // what an index names before the index

	mu sync.Mutex // serialises reports
}

// plan lists what desc needs in the registry. The root stands in the list in any case, since its name may be new.
func (p *pushing) plan(ctx context.Context, desc v1.Descriptor, depth int) error {
	if p.seen[desc.Digest] {
		return nil
	}
	p.seen[desc.Digest] = true
	if depth > maxNesting {
		return errdef.Errorf(errdef.Invalid, "indexes are nested more than %d deep", maxNesting)
	}
	data, err := p.source.Bytes(desc.Digest, manifest.MaxManifest)
	if errdef.Is(err, errdef.NotFound) {
		return errdef.WithHint(errdef.Errorf(errdef.NotFound, "%s, which the image needs, is not here: %w", desc.Digest, err), "pull all platforms of the image, or push the one that is here")
	}
	if err != nil {
		return err
	}
	there, err := p.client.hasManifest(ctx, p.ref, desc)
	if err != nil {
		return err
	}
	if there && depth > 0 {
		p.report(desc, Present)
		return nil
	}
	if !there {
		if err := p.planChildren(ctx, desc, data, depth); err != nil {
			return err
		}
	}
	p.manifests = append(p.manifests, document{desc, data})
	return nil
}

func (p *pushing) planChildren(ctx context.Context, desc v1.Descriptor, data []byte, depth int) error {
	if manifest.KindOf(desc.MediaType) == manifest.Index {
		index, err := manifest.DecodeIndex(data, desc)
		if err != nil {
			return err
		}
		for _, child := range index.Manifests {
			if err := p.plan(ctx, child, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	m, err := manifest.DecodeManifest(data, desc)
	if err != nil {
		return err
	}
	for _, blob := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if !p.seen[blob.Digest] {
			p.seen[blob.Digest] = true
			p.blobs = append(p.blobs, blob)
		}
	}
	return nil
}

// sendBlobs sends some at a time; the first error ends the others.
func (p *pushing) sendBlobs(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parallel := p.options.Parallel
	if parallel <= 0 {
		parallel = 4
	}
	queue := make(chan v1.Descriptor)
	var group sync.WaitGroup
	var once sync.Once
	var first error
	for range min(parallel, len(p.blobs)) {
		group.Go(func() {
			for desc := range queue {
				if err := p.sendBlob(ctx, desc); err != nil {
					once.Do(func() { first = err })
					cancel(err)
				}
			}
		})
	}
	for _, desc := range p.blobs {
		if ctx.Err() != nil {
			break
		}
		queue <- desc
	}
	close(queue)
	group.Wait()
	if first == nil && ctx.Err() != nil {
		return errdef.Errorf(errdef.Timeout, "push %s: %w", p.ref, context.Cause(ctx))
	}
	return first
}

func (p *pushing) sendBlob(ctx context.Context, desc v1.Descriptor) error {
	f, err := p.source.Reader(desc.Digest)
	if err != nil {
		return about(err, p.ref.String())
	}
	defer f.Close()
	var from []string
	if p.options.Mount != nil {
		from = p.options.Mount(desc.Digest)
	}
	outcome, err := p.client.PushBlob(ctx, p.ref, desc, f, from...)
	if err == nil {
		p.report(desc, outcome)
	}
	return err
}

func (p *pushing) report(desc v1.Descriptor, outcome Outcome) {
	if p.options.Progress != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.options.Progress(desc, outcome)
	}
}

// hasManifest reports whether the registry has a manifest in the repository, by its digest.
func (c *Client) hasManifest(ctx context.Context, ref reference.Reference, desc v1.Descriptor) (bool, error) {
	e := c.set.Registry(ref.Domain)
	target := auth.Target{Endpoint: e, Repository: ref.Path, Actions: "pull,push"}
	resp, err := c.auth.Do(ctx, target, transport.Request{Method: http.MethodHead, URL: e.URL(ref.Path, "manifests/"+desc.Digest.String()), Header: acceptManifests()})
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
	return true, nil
}

// PushManifest stores an index or manifest under the tag or digest of ref. All that it names must be in the repository. If it has a subject and the registry does not know
// referrers, the index under the tag that stands in for them is brought up to date (distribution-spec, "Referrers Tag Schema").
func (c *Client) PushManifest(ctx context.Context, ref reference.Reference, desc v1.Descriptor, data []byte) error {
	what := ref.String()
	if err := manifest.Verify(data, desc, manifest.MaxManifest); err != nil {
		return about(err, what)
	}
	subject, err := subjectOf(data, desc)
	if err != nil {
		return about(err, what)
	}
	knows, err := c.putManifest(ctx, ref, desc, data)
	if err != nil || subject == nil || knows {
		return about(err, what)
	}
	return about(c.attach(ctx, ref, subject.desc.Digest, subject.referrer), what)
}

// putManifest reports whether the registry has understood the subject.
func (c *Client) putManifest(ctx context.Context, ref reference.Reference, desc v1.Descriptor, data []byte) (bool, error) {
	e := c.set.Registry(ref.Domain)
	target := auth.Target{Endpoint: e, Repository: ref.Path, Actions: "pull,push"}
	resp, err := c.auth.Do(ctx, target, transport.Request{
		Method: http.MethodPut, URL: e.URL(ref.Path, "manifests/"+ref.Identifier()), Answer: settleTimeout,
		Header: http.Header{"Content-Type": {desc.MediaType}}, Size: int64(len(data)),
		Body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	})
	if err != nil {
		return false, err
	}
	if err := expect(resp, http.StatusCreated, http.StatusOK, http.StatusAccepted); err != nil {
		return false, err
	}
	resp.Body.Close()
	if said := resp.Header.Get(contentDigest); said != "" && said != desc.Digest.String() {
		return false, errdef.Errorf(errdef.Invalid, "sent %s, the registry says that it has got %q", desc.Digest, shorten(said))
	}
	return resp.Header.Get("OCI-Subject") != "", nil
}
