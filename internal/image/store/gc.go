package store

import (
	"context"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// How long garbage is left alone.
const (
	DefaultGrace        = time.Hour      // a blob without a name: another tool writes the blobs first and index.json last
	DefaultPartialGrace = 24 * time.Hour // a partial blob that nobody is writing
)

// Roots say what GC has to keep besides what index.json, leases and ingests name, and for how long the rest. The zero value keeps most.
type Roots struct {
	// Keep returns what containers and other users outside of the store need. It is called while nobody can begin a lease, after the
	// leases were read: a user who writes its own record first and ends its lease then is never missed. It must be quick.
	Keep func() ([]digest.Digest, error)
	// Dropped and what it names gets no grace: what Untag returned.
	Dropped []v1.Descriptor
	// Grace for blobs and PartialGrace for partial ones; 0 means the default, negative none.
	Grace, PartialGrace time.Duration
	// DryRun only reports.
	DryRun bool
}

// Removed is a blob that GC took.
type Removed struct {
	Digest digest.Digest
	Size   int64
}

// GCReport is what GC did, or with DryRun would do.
type GCReport struct {
	Removed  []Removed
	Bytes    int64 // of them
	Live     int   // blobs that something needs, or that have come meanwhile
	Fresh    int   // that nothing needs yet
	Partials int   // removed
	Leases   int   // of dead owners, removed
	Detached int   // entries of index.json whose subject or whose name is gone, removed
}

// GC removes what nothing needs. It marks beside all other work; only to look again at what has changed since and to move the garbage
// out of sight it keeps others from beginning something, for some milliseconds.
func (s *Store) GC(ctx context.Context, roots Roots) (GCReport, error) {
	if roots.Grace == 0 {
		roots.Grace = DefaultGrace
	}
	if roots.PartialGrace == 0 {
		roots.PartialGrace = DefaultPartialGrace
	}
	g := &collector{s: s, roots: roots, m: s.marker(), dropped: s.marker()}
	err := g.collect(ctx)
	if err != nil {
		err = errdef.Errorf(errdef.KindOf(err), "garbage collection: %w", err)
	}
	return g.report, err
}

type collector struct {
	s          *Store
	roots      Roots
	m          *marker
	dropped    *marker // what gets no grace
	candidates []digest.Digest
	report     GCReport
}

func (g *collector) collect(ctx context.Context) error {
	x, err := g.s.readIndex()
	if err != nil {
		return err
	}
	if err := g.m.addIndex(ctx, x); err != nil {
		return err
	}
	g.dropped.add(g.roots.Dropped...)
	_ = g.dropped.run(ctx) // what cannot be read has its grace
	if err := g.s.each(func(d digest.Digest) {
		g.report.Live++
		if !g.m.seen[d] {
			g.candidates = append(g.candidates, d)
		}
	}); err != nil {
		return err
	}
	if err := g.sweep(ctx); err != nil {
		return err
	}
	if g.roots.DryRun {
		return nil
	}
	return g.s.emptyTrash()
}

// each calls f for every file that has the name of a blob.
func (s *Store) each(f func(digest.Digest)) error {
	for _, d := range []struct {
		fd        int
		algorithm digest.Algorithm
	}{{s.sha256, digest.SHA256}, {s.sha512, digest.SHA512}} {
		names, err := readDir(d.fd)
		if err != nil {
			return err
		}
		for _, name := range names {
			if d := digest.NewDigestFromEncoded(d.algorithm, name); reference.CheckDigest(d) == nil {
				f(d)
			}
		}
	}
	return nil
}

// sweep has the store for itself.
func (g *collector) sweep(ctx context.Context) error {
	unlock, err := g.s.lock(ctx, gcLock, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	x, err := g.remark(ctx)
	if err != nil {
		return err
	}
	if err := g.detach(ctx, x); err != nil {
		return err
	}
	trash, err := g.s.directory(stateDir + "/" + trashDir)
	if err != nil {
		return err
	}
	defer unix.Close(trash)
	for _, d := range g.candidates {
		if err := g.take(d, trash); err != nil {
			return err
		}
	}
	g.report.Live -= len(g.report.Removed) + g.report.Fresh
	return nil
}

// remark marks what has come since the first marking. Leases come before Keep (see Roots).
func (g *collector) remark(ctx context.Context) (*index, error) {
	leased, dead, err := g.s.leased(g.roots.DryRun)
	if err != nil {
		return nil, err
	}
	g.report.Leases = dead
	g.m.addDigests(leased)
	if err := g.partials(); err != nil {
		return nil, err
	}
	if g.roots.Keep != nil {
		kept, err := g.roots.Keep()
		if err != nil {
			return nil, err
		}
		g.m.addDigests(kept)
	}
	x, err := g.s.readIndex()
	if err != nil {
		return nil, err
	}
	return x, g.m.addIndex(ctx, x)
}

// partials removes the partial files that were given up: those that nobody has locked. While it looks, who wants one waits.
func (g *collector) partials() error {
	names, err := readDir(g.s.ingest)
	if err != nil {
		return err
	}
	for _, name := range names {
		f, _, err := g.s.openFile(g.s.ingest, name)
		if err != nil {
			continue // Fsck says so
		}
		free, err := atomicfile.TryFlock(int(f.Fd()), atomicfile.Exclusive)
		if err != nil || !free {
			_ = f.Close()
			continue
		}
		if st, err := f.Stat(); err == nil && time.Since(st.ModTime()) >= g.roots.PartialGrace {
			g.report.Partials++
			if !g.roots.DryRun {
				_ = unix.Unlinkat(g.s.ingest, name, 0)
			}
		}
		_ = f.Close()
	}
	return nil
}

// detach takes the entries out of index.json that are nobody's any more, and what killed writers of index.json left.
func (g *collector) detach(ctx context.Context, x *index) error {
	gone := func(element []byte) bool {
		e, err := decode(element)
		subject := digest.Digest(e.desc.Annotations[subjectAnnotation])
		return err == nil && (e.left() || e.name == "" && subject != "" && !g.m.seen[subject])
	}
	if g.roots.DryRun {
		g.report.Detached = x.remove(gone)
		return nil
	}
	unlock, err := g.s.lock(ctx, indexLock, atomicfile.Exclusive)
	if err != nil {
		return err
	}
	defer unlock()
	names, err := readDir(g.s.root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, "."+indexFile+".") {
			_ = unix.Unlinkat(g.s.root, name, 0) // nobody who holds no index.lock writes one
		}
	}
	if g.report.Detached = x.remove(gone); g.report.Detached == 0 {
		return nil
	}
	return g.s.writeIndex(x)
}

// take moves a blob into the trash if it is still garbage.
func (g *collector) take(d digest.Digest, trash int) error {
	if g.m.seen[d] {
		return nil
	}
	dir, name, err := g.s.place(d)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
		return nil
	} else if err != nil {
		return errdef.Errorf(kindOf(err), "blob %s: %w", d, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return nil // Fsck says so
	}
	// The change time is that of the rename that gave the blob its name.
	age := time.Since(time.Unix(st.Ctim.Unix()))
	if age < g.roots.Grace && !g.dropped.seen[d] {
		g.report.Fresh++
		return nil
	}
	if !g.roots.DryRun {
		if err := unix.Renameat(dir, name, trash, blobName(d)); err != nil {
			return errdef.Errorf(kindOf(err), "blob %s: remove: %w", d, err)
		}
	}
	g.report.Removed = append(g.report.Removed, Removed{d, st.Size})
	g.report.Bytes += st.Size
	return nil
}

// emptyTrash removes what was taken, now or before a crash. Large files take their time, and nobody waits for it.
func (s *Store) emptyTrash() error {
	trash, err := s.directory(stateDir + "/" + trashDir)
	if err != nil {
		return err
	}
	defer unix.Close(trash)
	names, err := readDir(trash)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := unix.Unlinkat(trash, name, 0); err != nil && err != unix.ENOENT {
			return errdef.Errorf(kindOf(err), "remove %q: %w", name, err)
		}
	}
	return nil
}
