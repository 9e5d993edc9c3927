package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// contentDigest is the header in which a registry says what it believes to send.
const contentDigest = "Docker-Content-Digest"

func acceptManifests() http.Header {
	return http.Header{"Accept": {strings.Join(manifest.Accept(), ", ")}}
}

// Head asks what a name stands for, without fetching it: one request that registries do not count against limits. What it returns is the registry's word; it
// is good for one thing, to find out that what the name stood for before is what it stands for now. A registry that does not say is asked with Resolve.
func (c *Client) Head(ctx context.Context, ref reference.Reference) (v1.Descriptor, error) {
	var desc v1.Descriptor
	err := c.pull(ctx, ref, func(e endpoint.Endpoint) error {
		resp, err := c.send(ctx, e, ref.Path, call{method: http.MethodHead, rest: "manifests/" + ref.Identifier(), header: acceptManifests()})
		if err != nil {
			return err
		}
		if err := expect(resp, http.StatusOK); err != nil {
			return err
		}
		resp.Body.Close()
		said := digest.Digest(resp.Header.Get(contentDigest))
		if said == "" {
			return errNoDigest
		}
		if err := reference.CheckDigest(said); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "%s: %w", contentDigest, err)
		}
		if ref.Digest != "" && ref.Digest != said {
			return errdef.Errorf(errdef.Invalid, "asked for %s, the registry says that it is %s", ref.Digest, said)
		}
		mediaType, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
		mediaType = strings.TrimSpace(mediaType)
		if kind := manifest.KindOf(mediaType); kind != manifest.Index && kind != manifest.Manifest || resp.ContentLength < 0 || resp.ContentLength > manifest.MaxManifest {
			return errNoDigest
		}
		desc = v1.Descriptor{MediaType: mediaType, Digest: said, Size: resp.ContentLength}
		return nil
	})
	if errors.Is(err, errNoDigest) {
		desc, _, err = c.Resolve(ctx, ref)
		return desc, err
	}
	return desc, about(err, ref.String())
}

// errNoDigest is an answer to HEAD that says too little.
var errNoDigest = errdef.Errorf(errdef.Unsupported, "the registry does not say what it has")

// Resolve fetches the index or manifest that a name stands for.
func (c *Client) Resolve(ctx context.Context, ref reference.Reference) (v1.Descriptor, []byte, error) {
	var desc v1.Descriptor
	var data []byte
	err := c.pull(ctx, ref, func(e endpoint.Endpoint) (err error) {
		desc, data, err = c.fetchManifest(ctx, e, ref)
		return err
	})
	if err != nil {
		return v1.Descriptor{}, nil, about(err, ref.String())
	}
	return desc, data, nil
}

// fetchManifest gets an index or manifest at one endpoint and makes its descriptor from the bytes.
func (c *Client) fetchManifest(ctx context.Context, e endpoint.Endpoint, ref reference.Reference) (v1.Descriptor, []byte, error) {
	resp, err := c.send(ctx, e, ref.Path, call{method: http.MethodGet, rest: "manifests/" + ref.Identifier(), header: acceptManifests()})
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	if err := expect(resp, http.StatusOK); err != nil {
		return v1.Descriptor{}, nil, err
	}
	data, err := transport.ReadAll(resp, manifest.MaxManifest)
	if err != nil {
		return v1.Descriptor{}, nil, err
	}
	algorithm := digest.Canonical
	said := digest.Digest(resp.Header.Get(contentDigest))
	if ref.Digest != "" {
		algorithm = ref.Digest.Algorithm()
	} else if reference.CheckDigest(said) == nil {
		algorithm = said.Algorithm()
	}
	desc := v1.Descriptor{Digest: algorithm.FromBytes(data), Size: int64(len(data))}
	switch {
	case ref.Digest != "" && desc.Digest != ref.Digest:
		return v1.Descriptor{}, nil, errdef.Errorf(errdef.Invalid, "asked for %s, what came has the digest %s", ref.Digest, desc.Digest)
	case ref.Digest == "" && said != "" && said != desc.Digest:
		return v1.Descriptor{}, nil, errdef.Errorf(errdef.Invalid, "the registry says %q, what came has the digest %s", shorten(string(said)), desc.Digest)
	}
	if desc.MediaType, err = manifest.MediaType(resp.Header.Get("Content-Type"), data); err != nil {
		return v1.Descriptor{}, nil, err
	}
	if manifest.KindOf(desc.MediaType) == manifest.Index {
		_, err = manifest.DecodeIndex(data, desc)
	} else {
		_, err = manifest.DecodeManifest(data, desc)
	}
	return desc, data, err
}

// Manifest fetches an index or manifest of the repository that a descriptor names, verified against it.
func (c *Client) Manifest(ctx context.Context, ref reference.Reference, desc v1.Descriptor) ([]byte, error) {
	ref, err := ref.WithDigest(desc.Digest)
	if err != nil {
		return nil, err
	}
	var data []byte
	err = c.pull(ctx, ref, func(e endpoint.Endpoint) error {
		got, body, err := c.fetchManifest(ctx, e, ref)
		switch {
		case err != nil:
			return err
		case got.Size != desc.Size:
			return errdef.Errorf(errdef.Invalid, "%d bytes came, %d were announced", got.Size, desc.Size)
		case got.MediaType != desc.MediaType:
			return errdef.Errorf(errdef.Invalid, "announced as %q, it came as %q", shorten(desc.MediaType), got.MediaType)
		}
		data = body
		return nil
	})
	return data, about(err, ref.String())
}

func shorten(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
