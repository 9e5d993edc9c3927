package image

import (
	"context"
	"slices"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	images "github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/moby/moby/api/types/container"
	api "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/storage"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// nameless are the repositories of names that the library gives to what has none.
var nameless = []string{"localhost/imported", "localhost/loaded"}

// repoDigests are the names with a digest that people gave or pulled.
func repoDigests(img *images.Image) []string {
	return list(slices.DeleteFunc(img.RepoDigests(), func(name string) bool {
		ref, err := reference.Parse(name)
		return err != nil || slices.Contains(nameless, ref.Repository())
	}))
}

// list never is null in JSON.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// createdAt is when an image was made, the beginning of 1970 if it does not say.
func createdAt(img *images.Image) time.Time {
	if t := img.Config.Created; t != nil && t.Unix() > 0 {
		return *t
	}
	return time.Unix(0, 0)
}

// a found image, while it is filtered.
type found struct {
	api.Summary
	at  time.Time
	img *images.Image
}

func summarize(s *images.Service, img *images.Image) found {
	return found{Summary: api.Summary{
		ID: img.ID.String(), RepoTags: list(img.RepoTags()), RepoDigests: repoDigests(img), Created: createdAt(img).Unix(), Size: s.Size(img), SharedSize: -1,
		Containers: -1, Labels: img.Config.Config.Labels,
	}, at: createdAt(img), img: img}
}

// List returns the images that pass the filters, the newest first.
func (s *Service) List(_ context.Context, f option.Filters, sharedSize bool) ([]api.Summary, error) {
	lib, err := s.o.Open()
	if err != nil {
		return nil, err
	}
	match, err := compile(lib, f, listFilters)
	if err != nil {
		return nil, err
	}
	all, err := lib.List()
	if err != nil {
		return nil, err
	}
	out := []api.Summary{}
	var shown []*images.Image
	for _, img := range all {
		if one := summarize(lib, img); match(&one) {
			out, shown = append(out, one.Summary), append(shown, img)
		}
	}
	if sharedSize {
		share(lib, all, shown, out)
	}
	return out, nil
}

// share says how much of each image others have as well.
func share(lib *images.Service, all, shown []*images.Image, out []api.Summary) {
	users := map[digest.Digest]int{}
	for _, img := range all {
		for _, l := range img.Layers {
			users[l.Digest]++
		}
	}
	for i, img := range shown {
		out[i].SharedSize = 0
		for j, n := range lib.LayerSizes(img) {
			if users[img.Layers[j].Digest] > 1 {
				out[i].SharedSize += n
			}
		}
	}
}

// Inspect returns all that is known of an image.
func (s *Service) Inspect(_ context.Context, name string, platform *ocispec.Platform) (option.ImageInspect, error) {
	lib, err := s.o.Open()
	if err != nil {
		return option.ImageInspect{}, err
	}
	img, err := lib.Find(name, normal(platform))
	if err != nil {
		return option.ImageInspect{}, err
	}
	target := img.Target
	target.Annotations = nil // the store's own
	out := option.ImageInspect{
		Author: img.Config.Author, Config: configOf(img), Manifest: img.Manifest, Annotations: img.Annotations,
		InspectResponse: api.InspectResponse{
			ID: img.ID.String(), RepoTags: list(img.RepoTags()), RepoDigests: repoDigests(img), Architecture: img.Config.Architecture,
			Variant: img.Config.Variant, Os: img.Config.OS, OsVersion: img.Config.OSVersion, Size: lib.Size(img), RootFS: api.RootFS{Type: "layers"},
			GraphDriver: &storage.DriverData{Name: Driver, Data: map[string]string{}}, Descriptor: &target,
		},
	}
	out.VirtualSize = out.Size
	if t := img.Config.Created; t != nil {
		out.Created = t.Format(time.RFC3339Nano)
	}
	for _, id := range img.Config.RootFS.DiffIDs {
		out.RootFS.Layers = append(out.RootFS.Layers, id.String())
	}
	if h := img.Config.History; len(h) > 0 {
		out.Comment = h[len(h)-1].Comment
	}
	for _, n := range img.Names {
		events, err := lib.Store().History(n)
		if err == nil && len(events) > 0 && events[len(events)-1].When.After(out.Metadata.LastTagTime) {
			out.Metadata.LastTagTime = events[len(events)-1].When
		}
	}
	return out, nil
}

// Driver is what unpacked layers are called: Docker's name for directories that overlayfs puts together.
const Driver = "overlay2"

func configOf(img *images.Image) option.ImageConfig {
	c, d := img.Config.Config, img.Config.Docker
	out := option.ImageConfig{
		User: c.User, ExposedPorts: c.ExposedPorts, Env: c.Env, Cmd: c.Cmd, ArgsEscaped: c.ArgsEscaped, Volumes: c.Volumes, //nolint:staticcheck // Docker's
		WorkingDir: c.WorkingDir, Entrypoint: c.Entrypoint, OnBuild: d.OnBuild, Labels: c.Labels, StopSignal: c.StopSignal, StopTimeout: d.StopTimeout, Shell: d.Shell,
	}
	if h := d.Healthcheck; h != nil {
		out.Healthcheck = &container.HealthConfig{
			Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries,
		}
	}
	return out
}

// History returns of which steps an image was made, the last first.
func (s *Service) History(_ context.Context, name string, platform *ocispec.Platform) ([]api.HistoryResponseItem, error) {
	lib, err := s.o.Open()
	if err != nil {
		return nil, err
	}
	img, err := lib.Find(name, normal(platform))
	if err != nil {
		return nil, err
	}
	sizes := lib.LayerSizes(img)
	out := []api.HistoryResponseItem{}
	next := 0
	for _, h := range img.Config.History {
		item := api.HistoryResponseItem{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment}
		if h.Created != nil && h.Created.Unix() > 0 {
			item.Created = h.Created.Unix()
		}
		if !h.EmptyLayer && next < len(sizes) {
			item.Size = sizes[next]
			next++
		}
		out = append(out, item)
	}
	for ; next < len(sizes); next++ { // history is optional
		out = append(out, api.HistoryResponseItem{ID: "<missing>", Size: sizes[next]})
	}
	slices.Reverse(out)
	if len(out) > 0 {
		out[0].ID, out[0].Tags = img.ID.String(), img.RepoTags()
	}
	return out, nil
}

// LayersSize is what the layers of all images hold on the disk, each counted once.
func (s *Service) LayersSize(context.Context) (int64, error) {
	lib, err := s.o.Open()
	if err != nil {
		return 0, err
	}
	all, err := lib.List()
	if err != nil {
		return 0, err
	}
	seen := map[digest.Digest]bool{}
	total := int64(0)
	for _, img := range all {
		sizes := lib.LayerSizes(img)
		for i, l := range img.Layers {
			if !seen[l.Digest] {
				seen[l.Digest] = true
				total += sizes[i]
			}
		}
	}
	return total, nil
}
