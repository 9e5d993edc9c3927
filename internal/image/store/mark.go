package store

import (
	"context"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// marker finds all that can be reached.
type marker struct {
	s    *Store
	seen map[digest.Digest]bool
	todo []v1.Descriptor
}

func (s *Store) marker() *marker { return &marker{s: s, seen: map[digest.Digest]bool{}} }

// add lets the descriptors be followed; those without a media type may be anything.
func (m *marker) add(descriptors ...v1.Descriptor) {
	for _, d := range descriptors {
		if !m.seen[d.Digest] {
			m.seen[d.Digest] = true
			m.todo = append(m.todo, d)
		}
	}
}

func (m *marker) addDigests(digests []digest.Digest) {
	for _, d := range digests {
		m.add(v1.Descriptor{Digest: d})
	}
}

// run follows all that was added. An index or a manifest that is there and cannot be read is an error: what it names would be lost.
func (m *marker) run(ctx context.Context) error {
	for len(m.todo) > 0 {
		if err := ctx.Err(); err != nil {
			return errdef.Errorf(errdef.Timeout, "mark: %w", context.Cause(ctx))
		}
		d := m.todo[len(m.todo)-1]
		m.todo = m.todo[:len(m.todo)-1]
		links, err := m.s.links(d)
		if err != nil {
			return err
		}
		parent := manifest.KindOf(d.MediaType)
		for _, link := range links {
			if parent == manifest.Manifest && manifest.KindOf(link.MediaType) == manifest.Unknown {
				link.MediaType = v1.MediaTypeImageLayer // config and layers of an artifact name nothing, whatever they look like
			}
			m.add(link)
		}
	}
	return nil
}

// links returns what a blob names. One that is not here names nothing: an index has manifests for other platforms.
func (s *Store) links(d v1.Descriptor) ([]v1.Descriptor, error) {
	switch manifest.KindOf(d.MediaType) {
	case manifest.Index, manifest.Manifest:
		data, err := s.Bytes(d.Digest, manifest.MaxManifest)
		if errdef.Is(err, errdef.NotFound) {
			return nil, nil
		}
		var links []v1.Descriptor
		if err == nil {
			links, err = manifest.Links(data)
		}
		if err != nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s: what it names is unknown: %w", d.Digest, err), repairHint)
		}
		return links, nil
	case manifest.Unknown, manifest.Schema1:
		return s.guess(d.Digest), nil
	}
	return nil, nil
}

// guess looks whether a blob of unknown type is a document with descriptors.
func (s *Store) guess(d digest.Digest) []v1.Descriptor {
	size, err := s.Stat(d)
	if err != nil || size > manifest.MaxManifest {
		return nil
	}
	f, err := s.Reader(d)
	if err != nil {
		return nil
	}
	var first [1]byte
	_, err = f.ReadAt(first[:], 0)
	_ = f.Close()
	if err != nil || first[0] != '{' && first[0] != ' ' && first[0] != '\n' {
		return nil
	}
	data, err := s.Bytes(d, manifest.MaxManifest)
	if err != nil {
		return nil
	}
	links, err := manifest.Links(data)
	if err != nil {
		return nil
	}
	return links
}

// addIndex adds what index.json names. What is attached to a subject counts only when that is seen, so it comes in rounds, after run.
func (m *marker) addIndex(ctx context.Context, x *index) error {
	var attached []entry
	for _, e := range x.roots() {
		if e.desc.Annotations[subjectAnnotation] != "" && e.name == "" {
			attached = append(attached, e)
		} else if !e.left() {
			m.add(e.desc)
		}
	}
	for more := true; more; {
		if err := m.run(ctx); err != nil {
			return err
		}
		more = false
		for _, e := range attached {
			if m.seen[digest.Digest(e.desc.Annotations[subjectAnnotation])] && !m.seen[e.desc.Digest] {
				m.add(e.desc)
				more = true
			}
		}
	}
	return nil
}

// roots decodes every entry that has a digest, also those with a name that is none: another tool may know what it is for.
func (x *index) roots() []entry {
	var out []entry
	for _, element := range x.entries {
		if e, err := decode(element); err == nil || e.name != "" {
			out = append(out, e)
		}
	}
	return out
}
