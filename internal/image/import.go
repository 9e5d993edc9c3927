package image

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// ImportOptions say what an image is made of besides its files.
type ImportOptions struct {
	Message  string
	Changes  []string // lines of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR
	Created  time.Time
	Platform v1.Platform // zero: the host's
}

// Import makes an image of one layer from an archive of a root file system, plain or compressed with gzip or zstd. name may be "".
func (s *Service) Import(ctx context.Context, r io.Reader, name string, o ImportOptions) (*Image, error) {
	config := v1.Image{Platform: o.Platform}
	if config.OS == "" {
		config.Platform = v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	if err := Change(&config.Config, o.Changes); err != nil {
		return nil, err
	}
	if o.Created.IsZero() {
		o.Created = time.Now().UTC()
	}
	config.Created = &o.Created
	config.History = []v1.History{{Created: &o.Created, Comment: o.Message, CreatedBy: "import"}}
	dir, remove, err := s.scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	f, err := os.OpenFile(filepath.Join(dir, "layer"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "import: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(f, until{io.LimitReader(r, maxLoadBytes), ctx}); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "import: %w", err)
	}
	return s.Build(ctx, BuildOptions{Name: name, Layer: f, Config: config, Action: "import"})
}

// BuildOptions say what an image is built of.
type BuildOptions struct {
	Name   string   // "": none
	Base   *Image   // whose layers come first; nil: none
	Layer  *os.File // the layer on top, plain or compressed
	Config v1.Image // without the layers, which are added
	Action string   // what the history of the name says
}

// Build makes an image of the layers of another and one more.
func (s *Service) Build(ctx context.Context, o BuildOptions) (*Image, error) {
	name, base, f, config, action := o.Name, o.Base, o.Layer, o.Config, o.Action
	var ref reference.Reference
	if name != "" {
		var err error
		if ref, err = reference.Parse(name); err != nil {
			return nil, err
		}
		if ref.Digest != "" {
			return nil, errdef.Errorf(errdef.Invalid, "%s %q: a name with a digest is given by the content alone", action, name)
		}
	}
	lease, err := s.store.Lease(ctx, action)
	if err != nil {
		return nil, err
	}
	defer lease.Close()
	l := &loading{Service: s, lease: lease}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errdef.Errorf(errdef.Internal, "layer: %w", err)
	}
	packed, err := pack(ctx, f)
	if err != nil {
		return nil, err
	}
	if packed != f {
		defer packed.Close()
	}
	desc, err := l.storeFile(ctx, packed)
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	config.RootFS = v1.RootFS{Type: "layers"}
	if base != nil {
		if err := lease.Add(ctx, base.Manifest.Digest); err != nil {
			return nil, err
		}
		m.Layers, config.RootFS.DiffIDs = append(m.Layers, base.Layers...), append(config.RootFS.DiffIDs, base.Config.RootFS.DiffIDs...)
	}
	diffID, err := s.unpackTop(ctx, base, desc)
	if err != nil {
		return nil, err
	}
	m.Layers, config.RootFS.DiffIDs = append(m.Layers, desc), append(config.RootFS.DiffIDs, diffID)
	target, err := l.describe(ctx, m, config)
	if err != nil {
		return nil, err
	}
	if name == "" {
		ref = reference.Reference{Domain: "localhost", Path: "imported", Digest: target.Digest}
	}
	if _, err := s.open(target, nil); err != nil { // nothing gets a name that cannot be read
		return nil, err
	}
	if err := s.store.Tag(ctx, ref.String(), target, store.Event{Action: action, Digest: target.Digest}); err != nil {
		return nil, err
	}
	return s.named(ref, nil)
}

// pack compresses a plain layer, as registries and all tools expect it, into a file without a name; the same bytes give the same. What is compressed already
// stays.
func pack(ctx context.Context, f *os.File) (*os.File, error) {
	desc, err := describeLayer(f, "")
	if err != nil || desc.MediaType != v1.MediaTypeImageLayer {
		return f, err
	}
	out, err := os.CreateTemp(filepath.Dir(f.Name()), "packed-")
	if err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "layer: %w", err)
	}
	_ = os.Remove(out.Name())
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(z, until{f, ctx})
	if err = errors.Join(err, z.Close()); err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = out.Close()
		return nil, errdef.Errorf(errdef.Unavailable, "layer: compress: %w", err)
	}
	return out, nil
}

// describe stores configuration and manifest.
func (l *loading) describe(ctx context.Context, m v1.Manifest, config v1.Image) (v1.Descriptor, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if m.Config, err = l.put(ctx, v1.MediaTypeImageConfig, data); err != nil {
		return v1.Descriptor{}, err
	}
	if data, err = json.Marshal(m); err != nil {
		return v1.Descriptor{}, err
	}
	return l.put(ctx, m.MediaType, data)
}

// unpackTop unpacks a layer on top of an image and says which digest it has uncompressed.
func (s *Service) unpackTop(ctx context.Context, base *Image, desc v1.Descriptor) (_ digest.Digest, err error) {
	parent := digest.Digest("")
	if base != nil {
		if err := s.Unpack(ctx, base, nil); err != nil {
			return "", err
		}
		parent = base.Chain()
	}
	stage, err := s.snaps.Stage(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	user := unix.Geteuid() != 0
	w, err := layer.NewWorker(ctx, layer.Options{Dir: stage.Dir(), Program: s.o.Unpacker, Squash: user, NoDevices: user})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	f, err := s.store.Reader(desc.Digest)
	if err != nil {
		return "", err
	}
	defer f.Close()
	result, err := w.Unpack(ctx, layer.Request{Name: "0", Stream: f, MediaType: desc.MediaType})
	if err != nil {
		return "", err
	}
	diffID := digest.Digest(result.DiffID)
	chain := diffID
	if parent != "" {
		chain = digest.FromString(parent.String() + " " + diffID.String())
	}
	return diffID, stage.Commit(ctx, snapshot.Layer{Chain: chain, Parent: parent, Path: w.Path("0"), Result: result})
}

// Change applies lines of a Dockerfile to the configuration of an image, as `--change` has them.
func Change(c *v1.ImageConfig, lines []string) error {
	for _, line := range lines {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := change(c, strings.ToUpper(word), strings.TrimSpace(rest)); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "change %q: %w", line, err)
		}
	}
	return nil
}

func change(c *v1.ImageConfig, word, rest string) error {
	if rest == "" {
		return errdef.Errorf(errdef.Invalid, "says nothing")
	}
	switch word {
	case "CMD":
		c.Cmd = command(rest)
	case "ENTRYPOINT":
		c.Entrypoint = command(rest)
	case "ENV":
		key, value, ok := strings.Cut(rest, "=")
		if !ok {
			key, value, ok = strings.Cut(rest, " ")
		}
		if !ok || key == "" {
			return errdef.Errorf(errdef.Invalid, "wants NAME=VALUE")
		}
		value = strings.Trim(value, `"`)
		c.Env = append(deleteEnv(c.Env, key), key+"="+value)
	case "EXPOSE":
		for _, port := range strings.Fields(rest) {
			if !strings.Contains(port, "/") {
				port += "/tcp"
			}
			add(&c.ExposedPorts, port)
		}
	case "LABEL":
		key, value, ok := strings.Cut(rest, "=")
		if !ok {
			return errdef.Errorf(errdef.Invalid, "wants NAME=VALUE")
		}
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[strings.Trim(key, `"`)] = strings.Trim(value, `"`)
	case "STOPSIGNAL":
		c.StopSignal = rest
	case "USER":
		c.User = rest
	case "VOLUME":
		var list []string
		if json.Unmarshal([]byte(rest), &list) != nil {
			list = strings.Fields(rest)
		}
		for _, v := range list {
			add(&c.Volumes, v)
		}
	case "WORKDIR":
		c.WorkingDir = rest
	default:
		err := errdef.Errorf(errdef.Invalid, "%q is not among what can be changed", word)
		return errdef.WithHint(err, "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR")
	}
	return nil
}

func add(m *map[string]struct{}, key string) {
	if *m == nil {
		*m = map[string]struct{}{}
	}
	(*m)[key] = struct{}{}
}

func deleteEnv(env []string, key string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, key+"=") {
			out = append(out, e)
		}
	}
	return out
}

// command reads a JSON array of words, or a line for the shell.
func command(s string) []string {
	var words []string
	if json.Unmarshal([]byte(s), &words) == nil {
		return words
	}
	return []string{"/bin/sh", "-c", s}
}
