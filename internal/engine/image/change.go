package image

import (
	"context"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	images "github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/moby/moby/api/types/events"
	api "github.com/moby/moby/api/types/image"
)

// Tag gives an image one more name.
func (s *Service) Tag(ctx context.Context, name, ref string) error {
	lib, err := s.o.Open()
	if err != nil {
		return err
	}
	if err := lib.Tag(ctx, name, ref); err != nil {
		return err
	}
	if img, err := lib.Find(ref, nil); err == nil {
		s.event(events.ActionTag, img.ID.String(), familiar(ref), img.Config.Config.Labels)
	}
	return nil
}

// Remove takes a name from an image, and the image with its last one. What was taken is returned with the error as well.
func (s *Service) Remove(ctx context.Context, name string, force, noPrune bool) ([]api.DeleteResponse, error) {
	lib, err := s.o.Open()
	if err != nil {
		return nil, err
	}
	img, err := lib.Find(name, nil)
	if err != nil {
		return nil, err
	}
	removed, err := lib.Remove(ctx, name, images.RemoveOptions{Force: force, NoPrune: noPrune})
	for range removed.Untagged {
		s.event(events.ActionUnTag, img.ID.String(), img.ID.String(), img.Config.Config.Labels)
	}
	if len(removed.Untagged) == len(img.Names) {
		s.event(events.ActionDelete, img.ID.String(), img.ID.String(), img.Config.Config.Labels)
	}
	return responses(&removed), err
}

func responses(r *images.Removed) []api.DeleteResponse {
	out := []api.DeleteResponse{}
	for _, n := range r.Untagged {
		out = append(out, api.DeleteResponse{Untagged: familiar(n)})
	}
	for _, d := range r.Deleted {
		out = append(out, api.DeleteResponse{Deleted: d.String()})
	}
	return out
}

// Prune removes images without a tag; with dangling=false all that no container has. With another filter, contents that belong to no image stay as long as they are
// young: of them nothing is known that could be filtered by.
func (s *Service) Prune(ctx context.Context, f option.Filters) (api.PruneReport, error) {
	var out api.PruneReport
	lib, err := s.o.Open()
	if err != nil {
		return out, err
	}
	all := false
	rest := option.Filters{}
	for key, values := range f {
		if key != "dangling" {
			rest[key] = values
			continue
		}
		for _, v := range values {
			only, err := strconv.ParseBool(v)
			if err != nil {
				return out, errdef.Errorf(errdef.Invalid, "filter dangling=%q: neither true nor false", v)
			}
			all = all || !only
		}
	}
	match, err := compile(lib, rest, pruneFilters)
	if err != nil {
		return out, err
	}
	removed, err := lib.Prune(ctx, images.PruneOptions{All: true, Untouched: len(rest) > 0, Match: func(img *images.Image) bool {
		one := summarize(lib, img)
		return (all || len(one.RepoTags) == 0) && match(&one)
	}})
	out.ImagesDeleted, out.SpaceReclaimed = responses(&removed), uint64(removed.Bytes)
	s.event(events.ActionPrune, "", "", map[string]string{"reclaimed": strconv.FormatInt(removed.Bytes, 10)})
	return out, err
}

// Check looks at every content and name.
func (s *Service) Check(ctx context.Context, o option.ImageCheck, tell option.Tell) (option.ImageReport, error) {
	out := option.ImageReport{Partials: []option.Partial{}, Problems: []option.Problem{}}
	lib, err := s.o.Open()
	if err != nil {
		return out, err
	}
	fsck := store.FsckOptions{Repair: o.Repair, Quick: o.Quick}
	if tell != nil {
		fsck.Progress = func(done, total int64) {
			progress(tell)(images.Progress{ID: "contents", Action: "Verifying Checksum", Current: done, Total: total})
		}
	}
	r, err := lib.Check(ctx, fsck)
	out.Blobs, out.Bytes, out.Names = r.Blobs, r.Bytes, r.Names
	for _, p := range r.Partials {
		out.Partials = append(out.Partials, option.Partial(p))
	}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, option.Problem(p))
	}
	return out, err
}

// Mounts returns which images are shown where.
func (s *Service) Mounts(context.Context) ([]option.ImageMount, error) {
	lib, err := s.o.Open()
	if err != nil {
		return nil, err
	}
	out := []option.ImageMount{}
	for _, m := range lib.Mounts() {
		out = append(out, mounted(lib, m))
	}
	return out, nil
}

func mounted(lib *images.Service, m images.Mount) option.ImageMount {
	out := option.ImageMount{ID: m.Image.String(), Target: m.Target}
	if img, err := lib.Find(m.Image.String(), nil); err == nil {
		if tags := img.RepoTags(); len(tags) > 0 {
			out.Name = tags[0]
		}
	}
	return out
}

// Mount shows the files of an image, read-only, in a directory.
func (s *Service) Mount(ctx context.Context, name string) (option.ImageMount, error) {
	lib, err := s.o.Open()
	if err != nil {
		return option.ImageMount{}, err
	}
	m, err := lib.Mount(ctx, name)
	if err != nil {
		return option.ImageMount{}, err
	}
	out := mounted(lib, m)
	s.event(events.ActionMount, out.ID, name, nil)
	return out, nil
}

// Unmount takes away what Mount shows.
func (s *Service) Unmount(_ context.Context, name string) (option.ImageMount, error) {
	lib, err := s.o.Open()
	if err != nil {
		return option.ImageMount{}, err
	}
	m, err := lib.Unmount(name)
	if err != nil {
		return option.ImageMount{}, err
	}
	s.event(events.ActionUnmount, m.Image.String(), name, nil)
	return mounted(lib, m), nil
}

// NameEvents returns what a name has stood for, the oldest first.
func (s *Service) NameEvents(_ context.Context, name string) ([]option.NameEvent, error) {
	lib, err := s.o.Open()
	if err != nil {
		return nil, err
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return nil, err
	}
	history, err := lib.Store().History(ref.String())
	if err == nil && len(history) == 0 {
		err = errdef.WithHint(errdef.Errorf(errdef.NotFound, "tags %q: nothing has ever had this name here", name), "bulkhead images")
	}
	out := []option.NameEvent{}
	for _, e := range history {
		out = append(out, option.NameEvent(e))
	}
	return out, err
}

// Diff returns the files that differ between two images.
func (s *Service) Diff(ctx context.Context, from, to string) ([]option.ImageChange, error) {
	lib, err := s.o.Open()
	if err != nil {
		return nil, err
	}
	found, err := lib.Diff(ctx, from, to)
	out := []option.ImageChange{}
	for _, d := range found {
		out = append(out, option.ImageChange{Kind: string(d.Kind), Path: d.Path})
	}
	return out, err
}
