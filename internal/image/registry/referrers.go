package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Referrers returns what is attached to a manifest in its repository: signatures, bills of materials. artifactType limits it to one kind; "" is all. The list is the registry's word:
// each of it is fetched and verified by digest.
func (c *Client) Referrers(ctx context.Context, ref reference.Reference, subject digest.Digest, artifactType string) ([]v1.Descriptor, error) {
	what := "referrers of " + ref.Repository() + "@" + subject.String()
	if err := reference.CheckDigest(subject); err != nil {
		return nil, err
	}
	var list []v1.Descriptor
	q := call{method: http.MethodGet, rest: "referrers/" + subject.String(), header: http.Header{"Accept": {v1.MediaTypeImageIndex}}}
	if artifactType != "" {
		q.query = url.Values{"artifactType": {artifactType}}.Encode()
	}
	err := c.pages(ctx, ref, q, func(data []byte) error {
		index, err := manifest.DecodeIndex(data, v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromBytes(data), Size: int64(len(data))})
		if err != nil {
			return err
		}
		list = append(list, index.Manifests...)
		if len(list) > manifest.MaxManifests {
			return errdef.Errorf(errdef.Invalid, "more than %d: %w", manifest.MaxManifests, errTooMany)
		}
		return nil
	})
	if errdef.Is(err, errdef.NotFound) || errdef.Is(err, errdef.Unsupported) {
		var index v1.Index
		index, err = c.attached(ctx, ref, subject)
		list = index.Manifests
	}
	if err != nil {
		return nil, about(err, what)
	}
	if artifactType != "" { // the registry need not have done it
		list = slices.DeleteFunc(list, func(d v1.Descriptor) bool { return d.ArtifactType != artifactType })
	}
	return list, nil
}

// attachedTag is where a registry without referrers keeps them.
func attachedTag(subject digest.Digest) string {
	return subject.Algorithm().String() + "-" + subject.Encoded()
}

// attached fetches the index under that tag; an empty one when there is none.
func (c *Client) attached(ctx context.Context, ref reference.Reference, subject digest.Digest) (v1.Index, error) {
	empty := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	ref, err := ref.WithTag(attachedTag(subject))
	if err != nil {
		return empty, err
	}
	desc, data, err := c.fetchManifest(ctx, c.set.Registry(ref.Domain), ref)
	if errdef.Is(err, errdef.NotFound) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	return manifest.DecodeIndex(data, desc)
}

// attach adds a referrer to that index. Two who do it at once can lose one of the two: the specification has no remedy.
func (c *Client) attach(ctx context.Context, ref reference.Reference, subject digest.Digest, referrer v1.Descriptor) error {
	index, err := c.attached(ctx, ref, subject)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(index.Manifests, func(d v1.Descriptor) bool { return d.Digest == referrer.Digest }) {
		return nil
	}
	index.Manifests = append(index.Manifests, referrer)
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	to, err := ref.WithTag(attachedTag(subject))
	if err != nil {
		return err
	}
	_, err = c.putManifest(ctx, to, v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromBytes(data), Size: int64(len(data))}, data)
	return err
}

// relation is what a manifest with a subject says about both.
type relation struct {
	desc     v1.Descriptor // the subject
	referrer v1.Descriptor // the manifest, as a list of referrers has it
}

// subjectOf returns nil for a manifest that is attached to nothing.
func subjectOf(data []byte, desc v1.Descriptor) (*relation, error) {
	referrer := v1.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	var subject *v1.Descriptor
	if manifest.KindOf(desc.MediaType) == manifest.Index {
		index, err := manifest.DecodeIndex(data, desc)
		if err != nil {
			return nil, err
		}
		subject, referrer.ArtifactType, referrer.Annotations = index.Subject, index.ArtifactType, index.Annotations
	} else {
		m, err := manifest.DecodeManifest(data, desc)
		if err != nil {
			return nil, err
		}
		subject, referrer.ArtifactType, referrer.Annotations = m.Subject, m.ArtifactType, m.Annotations
		if referrer.ArtifactType == "" {
			referrer.ArtifactType = m.Config.MediaType
		}
	}
	if subject == nil {
		return nil, nil
	}
	return &relation{*subject, referrer}, nil
}
