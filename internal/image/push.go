package image

import (
	"context"
	"slices"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// PushOptions say how to push. The zero value pushes all platforms that are here whole.
type PushOptions struct {
	Platform *v1.Platform // this one alone
	Progress func(Progress)
	// Registry is how the registry is reached for this push; nil: as the service does.
	Registry *registry.Client
}

// Pushed is what a push has left in the registry.
type Pushed struct {
	Name   string
	Target v1.Descriptor
}

// Push sends an image under its name. An index is sent if all its platforms are here; else the manifest of the one that is.
func (s *Service) Push(ctx context.Context, name string, o PushOptions) (Pushed, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return Pushed{}, err
	}
	if ref.Digest != "" {
		err := errdef.Errorf(errdef.Invalid, "push %q: a name with a digest is what content is found by, not where it is put", name)
		return Pushed{}, errdef.WithHint(err, "push "+ref.Repository()+":TAG")
	}
	img, err := s.named(ref, o.Platform)
	if err != nil {
		return Pushed{}, err
	}
	lease, err := s.store.Lease(ctx, "push "+ref.String())
	if err != nil {
		return Pushed{}, err
	}
	defer lease.Close()
	if err := lease.Add(ctx, img.Target.Digest, img.Manifest.Digest); err != nil {
		return Pushed{}, err
	}
	target := v1.Descriptor{MediaType: img.Target.MediaType, Digest: img.Target.Digest, Size: img.Target.Size}
	if o.Platform != nil || !s.whole(target, 0) {
		target = v1.Descriptor{MediaType: img.Manifest.MediaType, Digest: img.Manifest.Digest, Size: img.Manifest.Size}
	}
	progress := serial(o.Progress)
	tell(progress, Progress{Action: "The push refers to repository [" + ref.Repository() + "]"})
	err = s.reach(o.Registry).Push(ctx, ref, target, s.store, registry.PushOptions{
		Mount: s.elsewhere(ref),
		Progress: func(d v1.Descriptor, how registry.Outcome) {
			if kind := manifest.KindOf(d.MediaType); kind == manifest.Config || kind == manifest.Manifest || kind == manifest.Index {
				return // the line at the end tells of them
			}
			action := map[registry.Outcome]string{registry.Present: "Layer already exists", registry.Mounted: "Mounted", registry.Sent: "Pushed"}[how]
			tell(progress, Progress{ID: short(d.Digest), Action: action, Current: d.Size, Total: d.Size})
		},
	})
	if err != nil {
		return Pushed{}, err
	}
	tell(progress, Progress{Action: ref.Tag + ": digest: " + target.Digest.String(), Total: target.Size})
	return Pushed{ref.Familiar(), target}, nil
}

// whole reports whether all that a descriptor names is here.
func (s *Service) whole(desc v1.Descriptor, depth int) bool {
	if !s.store.Has(desc) {
		return false
	}
	kind := manifest.KindOf(desc.MediaType)
	if kind != manifest.Index && kind != manifest.Manifest {
		return true
	}
	data, err := s.store.Bytes(desc.Digest, manifest.MaxManifest)
	if err != nil || depth > 4 {
		return false
	}
	links, err := manifest.Links(data)
	return err == nil && !slices.ContainsFunc(links, func(d v1.Descriptor) bool { return !s.whole(d, depth+1) })
}

// elsewhere returns a function that knows in which repositories of the same registry a blob is, as the names here tell.
func (s *Service) elsewhere(ref reference.Reference) func(digest.Digest) []string {
	collect := sync.OnceValue(func() map[digest.Digest][]string {
		where := map[digest.Digest][]string{}
		images, _ := s.List()
		for _, img := range images {
			for _, name := range img.Names {
				r, err := reference.Parse(name)
				if err != nil || r.Domain != ref.Domain || r.Path == ref.Path {
					continue
				}
				for _, l := range append([]v1.Descriptor{{Digest: img.ID}}, img.Layers...) {
					if !slices.Contains(where[l.Digest], r.Path) {
						where[l.Digest] = append(where[l.Digest], r.Path)
					}
				}
			}
		}
		return where
	})
	return func(d digest.Digest) []string { return collect()[d] }
}
