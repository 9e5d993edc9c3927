package image

import (
	"context"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Tag gives an image one more name; another image loses it.
func (s *Service) Tag(ctx context.Context, source, name string) error {
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	if ref.Digest != "" {
		return errdef.Errorf(errdef.Invalid, "tag %q: a name with a digest is given by the content alone", name)
	}
	lease, err := s.store.Lease(ctx, "tag "+ref.String())
	if err != nil {
		return err
	}
	defer lease.Close()
	img, err := s.Find(source, nil)
	if err != nil {
		return err
	}
	if err := lease.Add(ctx, img.Target.Digest); err != nil {
		return err
	}
	desc := v1.Descriptor{MediaType: img.Target.MediaType, Digest: img.Target.Digest, Size: img.Target.Size}
	return s.store.Tag(ctx, ref.String(), desc, store.Event{Action: "tag", Digest: desc.Digest, Source: source})
}

// RemoveOptions say what a removal may do. The zero value keeps what somebody uses.
type RemoveOptions struct {
	Force bool // take all names of an id, and names of an image that a stopped container has
	// NoPrune leaves the content for the next collection.
	NoPrune bool
}

// Removed is what a removal or a collection took.
type Removed struct {
	Untagged []string        // names
	Deleted  []digest.Digest // images, manifests, layers
	Bytes    int64           // given back, on the disk
}

// Remove takes a name from an image, and the image with its last one. An id stands for all its names, of which without Force there may be only one.
func (s *Service) Remove(ctx context.Context, name string, o RemoveOptions) (Removed, error) {
	var out Removed
	img, err := s.Find(name, nil)
	if err != nil {
		return out, err
	}
	names := img.Names
	if ref, err := reference.Parse(name); err == nil {
		for _, n := range img.Names {
			if n == ref.String() {
				names = []string{n}
			}
		}
	}
	if len(names) > 1 && !o.Force {
		err := errdef.Errorf(errdef.Conflict, "remove image %s: it has several names: %s", short(img.ID), strings.Join(familiar(names), ", "))
		return out, errdef.WithHint(err, "remove a name, or all of them with --force")
	}
	if len(names) == len(img.Names) {
		users, err := s.users(img.ID)
		if err != nil {
			return out, err
		}
		if len(users) > 0 {
			err := errdef.Errorf(errdef.Conflict, "remove image %s: containers have it: %s", name, strings.Join(users, ", "))
			return out, errdef.WithHint(err, "remove these containers first")
		}
	}
	var dropped []v1.Descriptor
	for _, n := range names {
		desc, err := s.untag(ctx, n, img)
		if errdef.Is(err, errdef.NotFound) {
			continue
		}
		if err != nil {
			return out, err
		}
		out.Untagged, dropped = append(out.Untagged, n), append(dropped, desc)
	}
	if o.NoPrune {
		return out, nil
	}
	return out, s.collect(ctx, store.Roots{Dropped: dropped}, &out)
}

// untag takes a name from an image. Meanwhile the name may have moved to another, which nobody has asked to remove: that is of kind Conflict.
func (s *Service) untag(ctx context.Context, name string, img *Image) (v1.Descriptor, error) {
	t, err := s.store.Lookup(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if t.Descriptor.Digest != img.Target.Digest { // an index and its manifest are the same image
		if now, err := s.open(t.Descriptor, nil); err != nil || now.ID != img.ID {
			return v1.Descriptor{}, errdef.Errorf(errdef.Conflict, "remove image %s: the name %s stands for another one by now", short(img.ID), name)
		}
	}
	return s.store.Untag(ctx, name, store.Event{Action: store.ActionUntag, Digest: t.Descriptor.Digest})
}

func familiar(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = n
		if r, err := reference.Parse(n); err == nil {
			out[i] = r.Familiar()
		}
	}
	return out
}

// users returns which containers have an image.
func (s *Service) users(id digest.Digest) ([]string, error) {
	if s.o.InUse == nil {
		return nil, nil
	}
	all, err := s.o.InUse()
	return all[id], err
}

// PruneOptions say what a collection takes. The zero value takes what has no name.
type PruneOptions struct {
	All bool // and images that no container has
	// Match keeps an image for which it is false; nil takes all.
	Match func(*Image) bool
	// Untouched leaves what is younger than the store's time of grace; else all that no running command holds goes.
	Untouched bool
}

// Prune removes what nobody needs.
func (s *Service) Prune(ctx context.Context, o PruneOptions) (Removed, error) {
	var out Removed
	var dropped []v1.Descriptor
	if o.All {
		images, err := s.List()
		if err != nil {
			return out, err
		}
		for _, img := range images {
			users, err := s.users(img.ID)
			if err != nil {
				return out, err
			}
			if len(users) > 0 || o.Match != nil && !o.Match(img) {
				continue
			}
			for _, n := range img.Names {
				desc, err := s.untag(ctx, n, img)
				if errdef.Is(err, errdef.NotFound) || errdef.Is(err, errdef.Conflict) {
					continue // somebody else was first
				}
				if err != nil {
					return out, err
				}
				out.Untagged, dropped = append(out.Untagged, n), append(dropped, desc)
			}
		}
	}
	roots := store.Roots{Dropped: dropped}
	if !o.Untouched {
		roots.Grace, roots.PartialGrace = -1, -1
	}
	return out, s.collect(ctx, roots, &out)
}

// collect removes contents and unpacked layers that nothing needs.
func (s *Service) collect(ctx context.Context, roots store.Roots, out *Removed) error {
	s.sweep()
	roots.Keep = s.inUse
	r, err := s.store.GC(ctx, roots)
	for _, b := range r.Removed {
		out.Deleted = append(out.Deleted, b.Digest)
	}
	out.Bytes += r.Bytes
	if err != nil {
		return err
	}
	layers, err := s.collectLayers(ctx)
	out.Bytes += layers.Bytes
	return err
}

// collectLayers removes the unpacked layers of images that are here no more. What a container or a mount uses is locked.
func (s *Service) collectLayers(ctx context.Context) (snapshot.Report, error) {
	images, err := s.List()
	if err != nil {
		return snapshot.Report{}, err
	}
	want := map[digest.Digest]bool{}
	for _, img := range images {
		for _, c := range manifest.ChainIDs(img.Config.RootFS.DiffIDs) {
			want[c] = true
		}
	}
	for _, m := range s.mounts() {
		want[m.Chain] = true
	}
	keep, err := s.inUse()
	if err != nil {
		return snapshot.Report{}, err
	}
	for _, id := range keep {
		data, err := s.store.Bytes(id, manifest.MaxConfig)
		if err != nil {
			continue
		}
		config, err := manifest.DecodeConfig(data, v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: id, Size: int64(len(data))})
		if err == nil {
			want[manifest.ChainID(config.RootFS.DiffIDs)] = true
		}
	}
	return s.snaps.GC(ctx, func(d digest.Digest) bool { return want[d] })
}

// inUse returns the configurations that containers have.
func (s *Service) inUse() ([]digest.Digest, error) {
	if s.o.InUse == nil {
		return nil, nil
	}
	all, err := s.o.InUse()
	var out []digest.Digest
	for id := range all {
		out = append(out, id)
	}
	return out, err
}
