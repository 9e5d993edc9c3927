package image

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	images "github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// configuration fetches and verifies the configuration of an image in a registry.
func configuration(ctx context.Context, client *registry.Client, ref reference.Reference, desc ocispec.Descriptor) (manifest.ImageConfig, error) {
	var out manifest.ImageConfig
	blob, err := client.Blob(ctx, ref, desc, 0)
	if err != nil {
		return out, err
	}
	defer blob.Close()
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(blob, manifest.MaxConfig+1)); err != nil {
		return out, err
	}
	verify := desc.Digest.Verifier()
	_, _ = verify.Write(data.Bytes())
	if !verify.Verified() {
		return out, errdef.Errorf(errdef.Invalid, "configuration %s: what the registry sends has another digest", desc.Digest)
	}
	return manifest.DecodeConfig(data.Bytes(), desc)
}

// Pull brings an image here, or with All every tag of a repository.
func (s *Service) Pull(ctx context.Context, name string, o option.Pull, tell option.Tell) error {
	lib, err := s.o.Open()
	if err != nil {
		return err
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	policy, err := images.ParsePolicy(o.Policy)
	if err != nil {
		return err
	}
	client, err := s.client(caller{domain: ref.Domain, auth: o.Auth, registry: o.Registry, tell: tell})
	if err != nil {
		return err
	}
	defer client.Close()
	names := []string{ref.String()}
	if o.All {
		if names, err = allTags(ctx, client, ref); err != nil {
			return err
		}
	}
	for _, n := range names {
		img, err := lib.Pull(ctx, n, images.PullOptions{Platform: normal(o.Platform), Policy: policy, Progress: progress(tell), Registry: client})
		if err != nil {
			return err
		}
		s.event(events.ActionPull, familiar(n), familiar(n), img.Config.Config.Labels)
		if err := aux(tell, option.Aux{Name: n, ID: img.ID.String()}); err != nil {
			return err
		}
	}
	return nil
}

// normal is a platform as images have it: clients may say arm64 alone, or linux/x86_64.
func normal(p *ocispec.Platform) *ocispec.Platform {
	if p == nil {
		return nil
	}
	if out, err := manifest.ParsePlatform(strings.TrimSuffix(p.OS+"/"+p.Architecture, "/")); err == nil && p.Variant == "" {
		return &out
	}
	out := manifest.Normalize(*p)
	return &out
}

func familiar(name string) string {
	if ref, err := reference.Parse(name); err == nil {
		return ref.Familiar()
	}
	return name
}

// allTags returns the names of all tags that the registry has of a repository.
func allTags(ctx context.Context, client *registry.Client, ref reference.Reference) ([]string, error) {
	tags, err := client.Tags(ctx, ref)
	if err != nil {
		return nil, err
	}
	slices.Sort(tags)
	var out []string
	for _, t := range tags {
		one, err := ref.WithTag(t)
		if err != nil {
			return nil, err
		}
		out = append(out, one.String())
	}
	if len(out) == 0 {
		return nil, errdef.Errorf(errdef.NotFound, "pull %s: the registry has no tag of it", ref.Repository())
	}
	return out, nil
}

// Push sends an image under its name, or with All every tag of the repository that is here.
func (s *Service) Push(ctx context.Context, name string, o option.Push, tell option.Tell) error {
	lib, err := s.o.Open()
	if err != nil {
		return err
	}
	ref, err := reference.Parse(name)
	if err != nil {
		return err
	}
	names := []string{name}
	if o.All {
		if names, err = localTags(lib, ref); err != nil {
			return err
		}
	}
	client, err := s.client(caller{domain: ref.Domain, auth: o.Auth, registry: o.Registry, tell: tell})
	if err != nil {
		return err
	}
	defer client.Close()
	for _, n := range names {
		if err := s.push(ctx, lib, n, images.PushOptions{Platform: normal(o.Platform), Registry: client}, tell); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) push(ctx context.Context, lib *images.Service, name string, o images.PushOptions, tell option.Tell) error {
	o.Progress = func(p images.Progress) {
		if p.ID == "" && p.Total > 0 { // the last word: tag and digest
			p.Action += " size: " + strconv.FormatInt(p.Total, 10)
		}
		progress(tell)(p)
	}
	pushed, err := lib.Push(ctx, name, o)
	if err != nil {
		return err
	}
	whole, err := reference.Parse(name)
	if err != nil {
		return err
	}
	s.event(events.ActionPush, whole.Familiar(), whole.Familiar(), nil)
	return aux(tell, option.Aux{Tag: whole.Tag, Digest: pushed.Target.Digest.String(), Size: pushed.Target.Size, Name: whole.String()})
}

// localTags returns the names of a repository that are here.
func localTags(lib *images.Service, ref reference.Reference) ([]string, error) {
	all, err := lib.List()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, img := range all {
		for _, n := range img.Names {
			if r, err := reference.Parse(n); err == nil && r.Repository() == ref.Repository() && r.Tag != "" {
				out = append(out, n)
			}
		}
	}
	if len(out) == 0 {
		return nil, errdef.Errorf(errdef.NotFound, "push %s: there is no tag of it here", ref.Repository())
	}
	slices.Sort(out)
	return out, nil
}

// Save writes images as one archive, and nothing before all of them are found.
func (s *Service) Save(ctx context.Context, names []string, w io.Writer) error {
	lib, err := s.o.Open()
	if err != nil {
		return err
	}
	for _, n := range names {
		if _, err := lib.Find(n, nil); err != nil {
			return err
		}
	}
	if err := lib.Save(ctx, names, w); err != nil {
		return err
	}
	for _, n := range names {
		if img, err := lib.Find(n, nil); err == nil {
			s.event(events.ActionSave, img.ID.String(), n, img.Config.Config.Labels)
		}
	}
	return nil
}

// Load takes the images of an archive.
func (s *Service) Load(ctx context.Context, r io.Reader, quiet bool, tell option.Tell) error {
	lib, err := s.o.Open()
	if err != nil {
		return err
	}
	show := func(images.Progress) {}
	if !quiet {
		show = progress(tell)
	}
	loaded, err := lib.Load(ctx, r, show)
	for _, l := range loaded {
		line := "Loaded image ID: " + l.Image.ID.String()
		if l.Name != "" {
			line = "Loaded image: " + l.Name
		}
		s.event(events.ActionLoad, l.Image.ID.String(), l.Name, l.Image.Config.Config.Labels)
		if terr := tell(jsonstream.Message{Stream: line + "\n"}); err == nil {
			err = terr
		}
	}
	return err
}

// Import makes an image of the archive of a root file system.
func (s *Service) Import(ctx context.Context, r io.Reader, o option.Import, tell option.Tell) error {
	lib, err := s.o.Open()
	if err != nil {
		return err
	}
	io := images.ImportOptions{Message: o.Message, Changes: o.Changes}
	if o.Platform != nil {
		io.Platform = *normal(o.Platform)
	}
	img, err := lib.Import(ctx, r, o.Ref, io)
	if err != nil {
		return err
	}
	name := o.Ref
	if name == "" {
		name = img.ID.String()
	}
	s.event(events.ActionImport, img.ID.String(), strings.TrimSpace(name), nil)
	return tell(jsonstream.Message{Status: img.ID.String()})
}
