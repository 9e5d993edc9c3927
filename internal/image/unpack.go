package image

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	"github.com/bulkhead-engine/bulkhead/internal/image/snapshot"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// parallel is how many layers are fetched and unpacked at once: registries serve a client by some connections, and unpacking takes a processor each.
var parallel = max(4, runtime.NumCPU())

// A source of a layer's archive: a registry, or the store alone.
type source interface {
	// fetch brings a blob into the store and writes it to beside, if that is not nil.
	fetch(ctx context.Context, desc v1.Descriptor, beside io.Writer) error
}

// stored is the source of what must be here already.
type stored struct{ *Service }

func (s stored) fetch(_ context.Context, desc v1.Descriptor, beside io.Writer) error {
	if !s.store.Has(desc) {
		return errdef.WithHint(errdef.Errorf(errdef.NotFound, "layer %s: it is not here", desc.Digest), "pull the image again")
	}
	return copyBeside(beside, func() (io.ReadCloser, error) { return s.store.Reader(desc.Digest) }, desc.Size)
}

// layers brings the layers of an image here, unpacked.
func (p *pull) layers(ctx context.Context, img *Image) error {
	for _, l := range img.Layers {
		if err := p.lease.Add(ctx, l.Digest); err != nil {
			return err
		}
	}
	return p.unpack(ctx, img, p, p.progress)
}

// Unpack unpacks the layers of an image that is here, as far as they are not.
func (s *Service) Unpack(ctx context.Context, img *Image, progress func(Progress)) error {
	if chain := img.Chain(); chain == "" || s.snaps.Has(chain) {
		return nil
	}
	lease, err := s.store.Lease(ctx, "unpack "+img.ID.String())
	if err != nil {
		return err
	}
	defer lease.Close()
	if err := lease.Add(ctx, img.Manifest.Digest); err != nil {
		return err
	}
	return s.unpack(ctx, img, stored{s}, serial(progress))
}

// An unpacking is that of one image.
type unpacking struct {
	*Service
	img      *Image
	from     source
	progress func(Progress)
	chains   []digest.Digest
	stage    *snapshot.Stage
	worker   *layer.Worker
	results  []layer.Result
	fetched  map[digest.Digest]chan struct{} // closed when the one who fetches a blob is done
}

// unpack fetches and unpacks what is missing, and commits it from the lowest layer up.
func (s *Service) unpack(ctx context.Context, img *Image, from source, progress func(Progress)) (err error) {
	u := &unpacking{
		Service: s, img: img, from: from, progress: progress, chains: manifest.ChainIDs(img.Config.RootFS.DiffIDs),
		results: make([]layer.Result, len(img.Layers)), fetched: map[digest.Digest]chan struct{}{},
	}
	if n := len(u.chains); n > snapshot.MaxLayers { // said before anything is fetched
		return errdef.Errorf(errdef.Unsupported, "image %s: %d layers, and overlayfs takes %d", short(img.ID), n, snapshot.MaxLayers)
	}
	first := len(u.chains) // the lowest layer that is not unpacked; a chain is there with all below it, so the uppermost is asked first
	for first > 0 && !s.snaps.Has(u.chains[first-1]) {
		first--
	}
	if first < len(u.chains) {
		if u.stage, err = s.snaps.Stage(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, u.stage.Close()) }()
		o := layer.Options{Dir: u.stage.Dir(), Program: s.o.Unpacker, Squash: unix.Geteuid() != 0, NoDevices: unix.Geteuid() != 0}
		if u.worker, err = layer.NewWorker(ctx, o); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, u.worker.Close()) }()
	}
	if err := u.all(ctx, first); err != nil {
		return err
	}
	return u.commit(ctx, first)
}

// all works on the layers, some at a time; the first error ends the others.
func (u *unpacking) all(ctx context.Context, first int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	free := make(chan struct{}, parallel)
	var mu sync.Mutex
	var failure error
	for i := range u.img.Layers {
		d := u.img.Layers[i].Digest
		before, again := u.fetched[d]
		if !again {
			u.fetched[d] = make(chan struct{})
		}
		done := u.fetched[d]
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			if again {
				select {
				case <-before:
				case <-ctx.Done():
					return
				}
			} else {
				defer close(done)
			}
			if ctx.Err() != nil {
				return
			}
			if err := u.one(ctx, i, i >= first); err != nil {
				mu.Lock()
				if failure == nil {
					failure = err
				}
				mu.Unlock()
				cancel(err)
			}
		})
	}
	group.Wait()
	if failure == nil {
		failure = context.Cause(ctx)
	}
	return failure
}

// one fetches a layer and, if need be, unpacks it while it comes.
func (u *unpacking) one(ctx context.Context, i int, unpack bool) error {
	desc := u.img.Layers[i]
	id := short(desc.Digest)
	if !unpack {
		if u.store.Has(desc) {
			tell(u.progress, Progress{ID: id, Action: "Already exists"})
			return nil
		}
		tell(u.progress, Progress{ID: id, Action: "Pulling fs layer"})
		err := u.from.fetch(ctx, desc, nil)
		if err == nil {
			tell(u.progress, Progress{ID: id, Action: "Download complete"})
		}
		return err
	}
	tell(u.progress, Progress{ID: id, Action: "Pulling fs layer"})
	r, w, err := os.Pipe()
	if err != nil {
		return errdef.Errorf(errdef.Unavailable, "pipe: %w", err)
	}
	_, _ = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 1<<20) // a refusal costs some switches
	unpacked := make(chan error, 1)
	go func() {
		var err error
		u.results[i], err = u.worker.Unpack(ctx, layer.Request{Name: strconv.Itoa(i), Stream: r, MediaType: desc.MediaType})
		_ = r.Close() // a writer fails now
		unpacked <- err
	}()
	ferr := u.from.fetch(ctx, desc, w)
	_ = w.Close()
	if ferr == nil {
		tell(u.progress, Progress{ID: id, Action: "Download complete"})
		tell(u.progress, Progress{ID: id, Action: "Extracting", Current: desc.Size, Total: desc.Size}) // what is left of it: it began with the first byte
	}
	uerr := <-unpacked
	switch {
	case ferr != nil && !errors.Is(ferr, unix.EPIPE):
		return ferr // what came was cut short, so the other error is a consequence
	case uerr != nil:
		return errdef.Errorf(errdef.KindOf(uerr), "layer %s: %w", desc.Digest, uerr)
	case ferr != nil:
		return ferr
	}
	if got, want := u.results[i].DiffID, u.img.Config.RootFS.DiffIDs[i].String(); got != want {
		return errdef.Errorf(errdef.Invalid, "layer %s: its content has digest %s, and the configuration of the image says %s", desc.Digest, got, want)
	}
	tell(u.progress, Progress{ID: id, Action: "Pull complete"})
	return nil
}

// commit puts what was unpacked in its place.
func (u *unpacking) commit(ctx context.Context, first int) error {
	for i := first; i < len(u.chains); i++ {
		l := snapshot.Layer{Chain: u.chains[i], Path: u.worker.Path(strconv.Itoa(i)), Result: u.results[i]}
		if i > 0 {
			l.Parent = u.chains[i-1]
		}
		if err := u.stage.Commit(ctx, l); err != nil {
			return err
		}
	}
	return nil
}
