package image

import (
	"context"
	"io"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// PullOptions say how to pull. The zero value asks the registry, for the host's platform.
type PullOptions struct {
	Platform *v1.Platform // nil: the host's
	Policy   Policy
	Progress func(Progress) // called by one goroutine at a time
	// Registry is how registries are reached for this pull; nil: as the service does.
	Registry *registry.Client
}

// Policy says when a registry is asked.
type Policy uint8

// The policies of `--pull`.
const (
	Always  Policy = iota // ask what the name stands for now
	Missing               // only for an image that is not here
	Never                 // not at all
	Newer                 // ask; a registry that cannot be reached is no error if the image is here
)

// ParsePolicy reads a word of `--pull`.
func ParsePolicy(s string) (Policy, error) {
	switch s {
	case "always", "true", "":
		return Always, nil
	case "missing", "ifnotpresent", "false":
		return Missing, nil
	case "never":
		return Never, nil
	case "newer", "ifnewer":
		return Newer, nil
	}
	err := errdef.Errorf(errdef.Invalid, "pull policy %q: there is no such one", s)
	return Always, errdef.WithHint(err, "one of always, missing, never, newer")
}

// Pull brings an image here, unpacked, and gives it the name. Errors are of the kinds of package registry, and Invalid for what is not as it was announced.
func (s *Service) Pull(ctx context.Context, name string, o PullOptions) (*Image, error) {
	ref, err := reference.Parse(name)
	if err != nil {
		return nil, err
	}
	here, err := s.named(ref, o.Platform)
	if err != nil && !errdef.Is(err, errdef.NotFound) {
		here = nil // something of it is damaged or missing: fetched anew
	}
	if here != nil && o.Policy == Missing || o.Policy == Never {
		if here == nil {
			return nil, errdef.WithHint(errdef.Errorf(errdef.NotFound, "image %q: it is not here, and the policy is not to pull", name), "bulkhead pull "+name)
		}
		return here, s.Unpack(ctx, here, o.Progress)
	}
	p := &pull{Service: s, client: s.reach(o.Registry), ref: ref, o: o, progress: serial(o.Progress)}
	img, err := p.run(ctx, here)
	if err != nil && here != nil && o.Policy == Newer && errdef.Is(err, errdef.Unavailable) {
		return here, s.Unpack(ctx, here, o.Progress)
	}
	return img, err
}

// A pull is one on its way.
type pull struct {
	*Service
	client   *registry.Client // over the service's
	ref      reference.Reference
	o        PullOptions
	progress func(Progress)
	lease    *store.Lease
}

// run asks the registry. here is what the name stood for until now, nil for nothing.
func (p *pull) run(ctx context.Context, here *Image) (*Image, error) {
	var err error
	if p.lease, err = p.store.Lease(ctx, "pull "+p.ref.String()); err != nil {
		return nil, err
	}
	defer p.lease.Close()
	if here != nil {
		if img, done, err := p.unchanged(ctx, here); done || err != nil {
			return img, err
		}
	}
	tell(p.progress, Progress{Action: "Pulling from " + p.ref.Path, ID: p.ref.Identifier()})
	target, data, err := p.client.Resolve(ctx, p.ref)
	if err != nil {
		return nil, err
	}
	if err := p.put(ctx, target, data); err != nil {
		return nil, err
	}
	img, err := p.describe(ctx, target, data)
	if err != nil {
		return nil, err
	}
	if err := p.layers(ctx, img); err != nil {
		return nil, err
	}
	return p.name(ctx, img)
}

// unchanged asks with one small request whether the name stands for what it stood for. done means that nothing is left to do.
func (p *pull) unchanged(ctx context.Context, here *Image) (*Image, bool, error) {
	now, err := p.client.Head(ctx, p.ref)
	if err != nil {
		return nil, false, err
	}
	if now.Digest != here.Target.Digest {
		return nil, false, nil
	}
	if err := p.lease.Add(ctx, here.Target.Digest, here.Manifest.Digest); err != nil {
		return nil, false, err
	}
	for _, l := range here.Layers {
		if !p.store.Has(l) {
			return nil, false, nil
		}
	}
	if chain := here.Chain(); chain != "" && !p.snaps.Has(chain) {
		return nil, false, nil
	}
	tell(p.progress, Progress{Action: "Digest: " + here.Target.Digest.String()})
	tell(p.progress, Progress{Action: "Status: Image is up to date for " + p.ref.Familiar()})
	return here, true, nil
}

// put stores a manifest or an index that was fetched, under the lease.
func (p *pull) put(ctx context.Context, desc v1.Descriptor, data []byte) error {
	if err := p.lease.Add(ctx, desc.Digest); err != nil {
		return err
	}
	in, err := p.store.Ingest(ctx, desc)
	if errdef.Is(err, errdef.Exists) {
		return nil
	}
	if err != nil {
		return err
	}
	if in.Offset() > 0 { // of a writer that was killed; these are few bytes
		if err := in.Abort(); err != nil {
			return err
		}
		if in, err = p.store.Ingest(ctx, desc); err != nil {
			return ignoreExists(err)
		}
	}
	if _, err := in.Write(data); err != nil {
		_ = in.Abort()
		return err
	}
	return in.Commit(ctx)
}

func ignoreExists(err error) error {
	if errdef.Is(err, errdef.Exists) {
		return nil
	}
	return err
}

// describe fetches what describes the image: the platform's manifest, if target is an index, and the configuration.
func (p *pull) describe(ctx context.Context, target v1.Descriptor, data []byte) (*Image, error) {
	desc := target
	for depth := 0; manifest.KindOf(desc.MediaType) == manifest.Index; depth++ {
		if depth == 4 {
			return nil, errdef.Errorf(errdef.Invalid, "%s: indexes lead to indexes more than four deep", p.ref.Familiar())
		}
		index, err := manifest.DecodeIndex(data, desc)
		if err != nil {
			return nil, err
		}
		want := manifest.Host()
		if p.o.Platform != nil {
			want = *p.o.Platform
		}
		if desc, err = manifest.Select(index, want); err != nil {
			return nil, err
		}
		if data, err = p.client.Manifest(ctx, p.ref, desc); err != nil {
			return nil, err
		}
		if err := p.put(ctx, desc, data); err != nil {
			return nil, err
		}
	}
	m, err := manifest.DecodeManifest(data, desc)
	if err != nil {
		return nil, err
	}
	if err := manifest.CheckImage(m); err != nil {
		return nil, err
	}
	if m.Config.Size > manifest.MaxConfig {
		return nil, errdef.Errorf(errdef.Invalid, "configuration %s: %d bytes, more than %d", m.Config.Digest, m.Config.Size, manifest.MaxConfig)
	}
	if err := p.lease.Add(ctx, m.Config.Digest); err != nil {
		return nil, err
	}
	if err := p.fetch(ctx, m.Config, nil); err != nil {
		return nil, err
	}
	raw, err := p.store.Bytes(m.Config.Digest, manifest.MaxConfig)
	if err != nil {
		return nil, err
	}
	config, err := manifest.DecodeConfig(raw, m.Config)
	if err != nil {
		return nil, err
	}
	if err := manifest.CheckPair(m, config); err != nil {
		return nil, err
	}
	return &Image{ID: m.Config.Digest, Target: target, Manifest: desc, Layers: m.Layers, Config: config, Annotations: m.Annotations}, nil
}

// fetch brings a blob into the store. What comes is written to beside as well, from the blob's beginning, also when a part of it was here already.
func (p *pull) fetch(ctx context.Context, desc v1.Descriptor, beside io.Writer) error {
	for {
		in, err := p.store.Ingest(ctx, desc)
		if errdef.Is(err, errdef.Exists) {
			return copyBeside(beside, func() (io.ReadCloser, error) { return p.store.Reader(desc.Digest) }, desc.Size)
		}
		if err != nil {
			return err
		}
		again, err := p.download(ctx, in, desc, beside)
		if err == nil || !again || beside != nil {
			return err
		}
	}
}

// download carries the rest of a blob. again means that another mirror may have the right bytes.
func (p *pull) download(ctx context.Context, in *store.Ingest, desc v1.Descriptor, beside io.Writer) (again bool, err error) {
	defer in.Close()
	start := in.Offset()
	if err := copyBeside(beside, func() (io.ReadCloser, error) { return in.Reader() }, start); err != nil {
		return false, err
	}
	blob, err := p.client.Blob(ctx, p.ref, desc, start)
	if err != nil {
		return false, err
	}
	defer blob.Close()
	var r io.Reader = blob
	if beside != nil {
		r = io.TeeReader(r, beside)
	}
	progress := p.progress
	if manifest.KindOf(desc.MediaType) == manifest.Config { // a small one before the layers, of which nobody wants to see a line
		progress = nil
	}
	if _, err := io.Copy(in, &counting{Reader: r, n: start, total: desc.Size, id: short(desc.Digest), progress: progress}); err != nil {
		return false, err
	}
	if progress != nil {
		progress(Progress{ID: short(desc.Digest), Action: "Verifying Checksum"})
	}
	if err := in.Commit(ctx); err != nil {
		return errdef.Is(err, errdef.Invalid) && blob.Reject(), err
	}
	return false, nil
}

// copyBeside writes the first n bytes of something to beside, if there is one.
func copyBeside(beside io.Writer, open func() (io.ReadCloser, error), n int64) error {
	if beside == nil || n == 0 {
		return nil
	}
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(beside, f, n)
	return err
}

// name lets the name point to what was fetched. Of a digest alone the name is that.
func (p *pull) name(ctx context.Context, img *Image) (*Image, error) {
	by := store.Event{Action: "pull", Digest: img.Target.Digest, Source: p.ref.String()}
	ref := p.ref
	if ref.Tag != "" && ref.Digest != "" {
		ref.Digest = "" // the tag, as the user has it now
	}
	desc := v1.Descriptor{MediaType: img.Target.MediaType, Digest: img.Target.Digest, Size: img.Target.Size}
	if err := p.store.Tag(ctx, ref.String(), desc, by); err != nil {
		return nil, err
	}
	tell(p.progress, Progress{Action: "Digest: " + img.Target.Digest.String()})
	tell(p.progress, Progress{Action: "Status: Downloaded newer image for " + p.ref.Familiar()})
	return p.named(ref, p.o.Platform)
}
