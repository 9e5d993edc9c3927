package cli

import (
	"slices"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// summary is an image as Docker's `GET /images/json` has it (Engine API 1.48).
type summary struct {
	ID          string            `json:"Id"`
	ParentID    string            `json:"ParentId"`
	RepoTags    []string          `json:"RepoTags"`
	RepoDigests []string          `json:"RepoDigests"`
	Created     int64             `json:"Created"` // Unix time, 0: not known
	Size        int64             `json:"Size"`
	SharedSize  int64             `json:"SharedSize"` // -1: not computed
	Containers  int64             `json:"Containers"`
	Labels      map[string]string `json:"Labels"`

	at time.Time // Created, to the nanosecond
}

// inspection is an image as `GET /images/NAME/json` has it.
type inspection struct {
	ID            string        `json:"Id"`
	RepoTags      []string      `json:"RepoTags"`
	RepoDigests   []string      `json:"RepoDigests"`
	Parent        string        `json:"Parent"`
	Comment       string        `json:"Comment"`
	Created       string        `json:"Created,omitempty"`
	DockerVersion string        `json:"DockerVersion"`
	Author        string        `json:"Author"`
	Config        configuration `json:"Config"`
	Architecture  string        `json:"Architecture"`
	Variant       string        `json:"Variant,omitempty"`
	Os            string        `json:"Os"`
	OsVersion     string        `json:"OsVersion,omitempty"`
	Size          int64         `json:"Size"`
	VirtualSize   int64         `json:"VirtualSize"`
	GraphDriver   graphDriver   `json:"GraphDriver"`
	RootFS        rootFS        `json:"RootFS"`
	Metadata      metadata      `json:"Metadata"`
	// Descriptor is what the names point to; Manifest is of it what this platform has, with the digest that is in no other field.
	Descriptor v1.Descriptor     `json:"Descriptor"`
	Manifest   v1.Descriptor     `json:"Manifest"`
	Annotation map[string]string `json:"Annotations,omitempty"`
}

type configuration struct {
	User         string                `json:"User"`
	ExposedPorts map[string]struct{}   `json:"ExposedPorts,omitempty"`
	Env          []string              `json:"Env"`
	Cmd          []string              `json:"Cmd"`
	Healthcheck  *manifest.Healthcheck `json:"Healthcheck,omitempty"`
	ArgsEscaped  bool                  `json:"ArgsEscaped,omitempty"`
	Volumes      map[string]struct{}   `json:"Volumes"`
	WorkingDir   string                `json:"WorkingDir"`
	Entrypoint   []string              `json:"Entrypoint"`
	OnBuild      []string              `json:"OnBuild"`
	Labels       map[string]string     `json:"Labels"`
	StopSignal   string                `json:"StopSignal,omitempty"`
	StopTimeout  *int                  `json:"StopTimeout,omitempty"`
	Shell        []string              `json:"Shell,omitempty"`
}

type graphDriver struct {
	Data map[string]string `json:"Data"`
	Name string            `json:"Name"`
}

type rootFS struct {
	Type   string   `json:"Type"`
	Layers []string `json:"Layers"`
}

type metadata struct {
	LastTagTime time.Time `json:"LastTagTime"`
}

// historyItem is a step of an image as `GET /images/NAME/history` has it.
type historyItem struct {
	ID        string   `json:"Id"`
	Created   int64    `json:"Created"`
	CreatedBy string   `json:"CreatedBy"`
	Tags      []string `json:"Tags"`
	Size      int64    `json:"Size"`
	Comment   string   `json:"Comment"`
}

// nameless are the repositories of names that the service gives to what has none, so that it is no garbage.
var nameless = []string{"localhost/imported", "localhost/loaded"}

// repoDigests are the names with a digest that people gave or pulled.
func repoDigests(img *image.Image) []string {
	return slices.DeleteFunc(img.RepoDigests(), func(name string) bool {
		ref, err := reference.Parse(name)
		return err != nil || slices.Contains(nameless, ref.Repository())
	})
}

// list never is null in JSON.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// createdAt is when an image was made, the beginning of 1970 if it does not say.
func createdAt(img *image.Image) time.Time {
	if t := img.Config.Created; t != nil && t.Unix() > 0 {
		return *t
	}
	return time.Unix(0, 0)
}

func summarize(s *image.Service, img *image.Image) summary {
	return summary{
		ID: img.ID.String(), RepoTags: list(img.RepoTags()), RepoDigests: list(repoDigests(img)), Created: createdAt(img).Unix(), Size: s.Size(img), SharedSize: -1,
		Containers: -1, Labels: img.Config.Config.Labels, at: createdAt(img),
	}
}

// inspectImage answers what is known of an image.
func inspectImage(s *image.Service, name string, platform *v1.Platform) (inspection, error) {
	img, err := s.Find(name, platform)
	if err != nil {
		return inspection{}, err
	}
	c, d := img.Config.Config, img.Config.Docker
	out := inspection{
		ID: img.ID.String(), RepoTags: list(img.RepoTags()), RepoDigests: list(repoDigests(img)), Author: img.Config.Author, Architecture: img.Config.Architecture,
		Variant: img.Config.Variant, Os: img.Config.OS, OsVersion: img.Config.OSVersion, Size: s.Size(img), GraphDriver: graphDriver{Name: "overlay2"},
		RootFS: rootFS{Type: "layers", Layers: []string{}}, Descriptor: img.Target, Manifest: img.Manifest, Annotation: img.Annotations,
		Config: configuration{
			User: c.User, ExposedPorts: c.ExposedPorts, Env: c.Env, Cmd: c.Cmd, Healthcheck: d.Healthcheck, ArgsEscaped: c.ArgsEscaped, //nolint:staticcheck // Docker's
			Volumes: c.Volumes, WorkingDir: c.WorkingDir, Entrypoint: c.Entrypoint, OnBuild: d.OnBuild, Labels: c.Labels, StopSignal: c.StopSignal,
			StopTimeout: d.StopTimeout, Shell: d.Shell,
		},
	}
	out.VirtualSize = out.Size
	out.Descriptor.Annotations = nil // the store's own
	if t := img.Config.Created; t != nil {
		out.Created = t.Format(time.RFC3339Nano)
	}
	for _, id := range img.Config.RootFS.DiffIDs {
		out.RootFS.Layers = append(out.RootFS.Layers, id.String())
	}
	if h := img.Config.History; len(h) > 0 {
		out.Comment = h[len(h)-1].Comment
	}
	for _, name := range img.Names {
		events, err := s.Store().History(name)
		if err == nil && len(events) > 0 && events[len(events)-1].When.After(out.Metadata.LastTagTime) {
			out.Metadata.LastTagTime = events[len(events)-1].When
		}
	}
	return out, nil
}

// imageHistory answers of which steps an image was made, the last first.
func imageHistory(s *image.Service, name string, platform *v1.Platform) ([]historyItem, error) {
	img, err := s.Find(name, platform)
	if err != nil {
		return nil, err
	}
	sizes := s.LayerSizes(img)
	var out []historyItem
	next := 0
	for _, h := range img.Config.History {
		item := historyItem{ID: "<missing>", CreatedBy: h.CreatedBy, Comment: h.Comment}
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
		out = append(out, historyItem{ID: "<missing>", Size: sizes[next]})
	}
	slices.Reverse(out)
	if len(out) > 0 {
		out[0].ID, out[0].Tags = img.ID.String(), img.RepoTags()
	}
	return out, nil
}
