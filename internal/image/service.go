package image

import (
	"context"
	"os"
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/opencontainers/go-digest"
)

// Options say where images are and how registries are reached.
type Options struct {
	Root     string // directory of the engine, absolute; made when needed
	Registry registry.Options
	Unpacker string // the program bulkhead-unpack; "": beside this program, or in ../libexec/bulkhead
	// InUse returns the images that containers have, by id, and by which containers; nil: none. Remove and Prune ask it.
	InUse func() (map[digest.Digest][]string, error)
}

// A Service is an open directory of images. Close it.
type Service struct {
	o     Options
	store *store.Store
	snaps *snapshot.Store
	// client is nil until a registry is asked for: most commands ask none.
	client *registry.Client
}

// Open opens a directory of images, and makes it if it is not there.
func Open(o Options) (*Service, error) {
	if !filepath.IsAbs(o.Root) {
		return nil, errdef.Errorf(errdef.Invalid, "images: root %q: wants an absolute path", o.Root)
	}
	if err := os.MkdirAll(o.Root, 0o700); err != nil {
		return nil, errdef.Errorf(errdef.Unavailable, "images: %w", err)
	}
	st, err := store.Open(filepath.Join(o.Root, "images"))
	if err != nil {
		return nil, err
	}
	sn, err := snapshot.Open(filepath.Join(o.Root, "snapshots"))
	if err != nil {
		_ = st.Close()
		return nil, err
	}
	client, err := registry.New(o.Registry)
	if err != nil {
		_ = st.Close()
		return nil, err
	}
	return &Service{o: o, store: st, snaps: sn, client: client}, nil
}

// Close gives back what is open.
func (s *Service) Close() error {
	s.client.Close()
	return s.store.Close()
}

// Store is where contents are: for signatures and the like, which are contents, too.
func (s *Service) Store() *store.Store { return s.store }

// Registry is how registries are reached.
func (s *Service) Registry() *registry.Client { return s.client }

// reach returns the client of a call.
func (s *Service) reach(own *registry.Client) *registry.Client {
	if own != nil {
		return own
	}
	return s.client
}

// A Progress says how far something is. Without a Total it is one event; with one, it comes again.
type Progress struct {
	ID      string // of a layer, 12 digits of its digest, or "" for the whole
	Action  string // Pulling fs layer, Downloading, Extracting, Pull complete ...: Docker's words
	Current int64  // bytes
	Total   int64
}

// tell calls a progress function if there is one.
func tell(f func(Progress), p Progress) {
	if f != nil {
		f(p)
	}
}

// short is how a digest is shown.
func short(d digest.Digest) string {
	hex := d.Encoded()
	return hex[:min(12, len(hex))]
}

// Check looks at every content and name: store.Fsck.
func (s *Service) Check(ctx context.Context, o store.FsckOptions) (store.FsckReport, error) {
	return s.store.Fsck(ctx, o)
}
