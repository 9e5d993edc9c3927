package image

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// An Image is one that is here, for one platform.
type Image struct {
	ID       digest.Digest // of the configuration
	Names    []string      // that point to it, whole (docker.io/library/alpine:latest), sorted
	Target   v1.Descriptor // what the names point to: an index, or Manifest itself
	Manifest v1.Descriptor
	Layers   []v1.Descriptor
	Config   manifest.ImageConfig
	// Annotations are those of the manifest.
	Annotations map[string]string
}

// Chain is the name of the unpacked layers, "" for an image without any.
func (i *Image) Chain() digest.Digest { return manifest.ChainID(i.Config.RootFS.DiffIDs) }

// Packed is the size of the layers as a registry has them, in bytes.
func (i *Image) Packed() int64 {
	var n int64
	for _, l := range i.Layers {
		n += l.Size
	}
	return n
}

// Platform is what the image was made for.
func (i *Image) Platform() v1.Platform { return i.Config.Platform }

// RepoTags returns the names with a tag, as people write them.
func (i *Image) RepoTags() []string {
	var out []string
	for _, n := range i.Names {
		if r, err := reference.Parse(n); err == nil && r.Tag != "" {
			out = append(out, r.Familiar())
		}
	}
	return out
}

// RepoDigests returns the repositories with the digest that the image has in them, as people write them.
func (i *Image) RepoDigests() []string {
	var out []string
	for _, n := range i.Names {
		r, err := reference.Parse(n)
		if err != nil {
			continue
		}
		if r, err = r.WithDigest(i.Target.Digest); err == nil {
			out = append(out, r.Familiar())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Find returns the image that a name, a digest or the beginning of an id (sha256: may be left away) stands for. platform chooses of an index; nil is the
// host's, or else what there is. Errors are of kind NotFound, with a hint, and Conflict for an id that several images begin with.
func (s *Service) Find(name string, platform *v1.Platform) (*Image, error) {
	if ref, err := reference.Parse(name); err == nil && !strings.HasPrefix(name, "sha256:") {
		img, err := s.named(ref, platform)
		if !errdef.Is(err, errdef.NotFound) {
			return img, err
		}
	}
	hex := strings.TrimPrefix(name, "sha256:")
	if hex == "" || len(hex) > 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return nil, notHere(name)
	}
	all, err := s.List()
	if err != nil {
		return nil, err
	}
	var found *Image
	for _, img := range all {
		if !strings.HasPrefix(img.ID.Encoded(), hex) && img.Target.Digest.Encoded() != hex && img.Manifest.Digest.Encoded() != hex {
			continue
		}
		if found != nil && found.ID != img.ID {
			err := errdef.Errorf(errdef.Conflict, "image %q: several ids begin so: %s and %s among them", name, short(found.ID), short(img.ID))
			return nil, errdef.WithHint(err, "give more digits")
		}
		if found == nil {
			found = img
		}
	}
	if found == nil {
		return nil, notHere(name)
	}
	return found, nil
}

func notHere(name string) error {
	return errdef.WithHint(errdef.Errorf(errdef.NotFound, "image %q: it is not here", name), "bulkhead pull "+name)
}

// named returns the image of a reference. One with a digest is found under any name of its repository that points there, and a name is no proof of it.
func (s *Service) named(ref reference.Reference, platform *v1.Platform) (*Image, error) {
	tags, err := s.store.Tags()
	if err != nil {
		return nil, err
	}
	if ref.Digest == "" {
		for _, t := range tags {
			if t.Name == ref.String() {
				return s.complete(tags, t.Descriptor, platform)
			}
		}
		return nil, notHere(ref.Familiar())
	}
	for _, t := range tags {
		r, err := reference.Parse(t.Name)
		if err != nil || r.Repository() != ref.Repository() {
			continue
		}
		if t.Descriptor.Digest == ref.Digest {
			return s.complete(tags, t.Descriptor, platform)
		}
		if img, err := s.complete(tags, t.Descriptor, platform); err == nil && img.Manifest.Digest == ref.Digest {
			return img, nil
		}
	}
	return nil, notHere(ref.Familiar())
}

// complete opens what a name points to and collects the other names.
func (s *Service) complete(tags []store.Tagged, target v1.Descriptor, platform *v1.Platform) (*Image, error) {
	img, err := s.open(target, platform)
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		if t.Descriptor.Digest == target.Digest {
			img.Names = append(img.Names, t.Name)
		} else if other, err := s.open(t.Descriptor, nil); err == nil && other.ID == img.ID {
			img.Names = append(img.Names, t.Name)
		}
	}
	slices.Sort(img.Names)
	return img, nil
}

// open reads index, manifest and configuration, each verified.
func (s *Service) open(target v1.Descriptor, platform *v1.Platform) (*Image, error) {
	img := &Image{Target: target}
	target.Annotations, target.Platform = nil, nil
	desc, err := s.choose(target, platform)
	if err != nil {
		return nil, err
	}
	data, err := s.store.Bytes(desc.Digest, manifest.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := manifest.DecodeManifest(data, desc)
	if err != nil {
		return nil, err
	}
	if err := manifest.CheckImage(m); err != nil {
		return nil, err
	}
	if data, err = s.store.Bytes(m.Config.Digest, manifest.MaxConfig); err != nil {
		return nil, err
	}
	if img.Config, err = manifest.DecodeConfig(data, m.Config); err != nil {
		return nil, err
	}
	img.ID, img.Manifest, img.Layers, img.Annotations = m.Config.Digest, desc, m.Layers, m.Annotations
	return img, manifest.CheckPair(m, img.Config)
}

// choose returns the manifest that target is or, of an index, that of the platform. Without a platform it is the host's if it is here, or the first that
// is.
func (s *Service) choose(target v1.Descriptor, platform *v1.Platform) (v1.Descriptor, error) {
	for range 4 { // an index may name an index
		if manifest.KindOf(target.MediaType) != manifest.Index {
			return target, nil
		}
		data, err := s.store.Bytes(target.Digest, manifest.MaxManifest)
		if err != nil {
			return target, err
		}
		index, err := manifest.DecodeIndex(data, target)
		if err != nil {
			return target, err
		}
		want := manifest.Host()
		if platform != nil {
			want = *platform
		}
		next, err := manifest.Select(index, want)
		if platform == nil && (err != nil || !s.store.Has(next)) {
			here := slices.IndexFunc(index.Manifests, func(d v1.Descriptor) bool { return s.store.Has(d) && imageLike(d) })
			if here >= 0 {
				next, err = index.Manifests[here], nil
			}
		}
		if err != nil {
			return target, err
		}
		target = next
	}
	return target, errdef.Errorf(errdef.Invalid, "index %s: it leads to indexes more than four deep", target.Digest)
}

// imageLike leaves out what buildkit puts beside images: attestations have no platform.
func imageLike(d v1.Descriptor) bool {
	return d.Platform == nil || d.Platform.OS != "unknown"
}

// List returns all images that are here whole enough to be described, each once with all its names, sorted by time of creation, the newest first.
func (s *Service) List() ([]*Image, error) {
	tags, err := s.store.Tags()
	if err != nil {
		return nil, err
	}
	byID := map[digest.Digest]*Image{}
	var out []*Image
	for _, t := range tags {
		img, err := s.open(t.Descriptor, nil)
		if err != nil {
			continue // an artifact, or something that fsck names
		}
		if known := byID[img.ID]; known != nil {
			known.Names = append(known.Names, t.Name)
			continue
		}
		img.Names = []string{t.Name}
		byID[img.ID] = img
		out = append(out, img)
	}
	slices.SortStableFunc(out, func(a, b *Image) int {
		ta, tb := a.Config.Created, b.Config.Created
		switch {
		case ta == nil && tb == nil:
			return 0
		case ta == nil:
			return 1
		case tb == nil:
			return -1
		}
		return tb.Compare(*ta)
	})
	return out, nil
}

// Size is what the unpacked layers of an image hold, in bytes, layers shared with others included; of what is not unpacked, what its archives have.
func (s *Service) Size(img *Image) int64 {
	var n int64
	for i, chain := range manifest.ChainIDs(img.Config.RootFS.DiffIDs) {
		if info, err := s.snaps.Info(chain); err == nil {
			n += info.Bytes
		} else {
			n += img.Layers[i].Size
		}
	}
	return n
}
