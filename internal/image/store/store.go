// Package store keeps the content of images on disk: blobs by digest, names for them, the history of the names.
//
// The root is an OCI image layout (image-spec image-layout.md), which skopeo, crane and oras read and write beside us. What they need no
// knowledge of stands in one more directory:
//
//	oci-layout  index.json                    the names, as annotations of descriptors
//	blobs/sha256/HEX  blobs/sha512/HEX        the contents
//	bulkhead/ingest/ALGORITHM-HEX             contents that are still coming, or that a killed writer left: they are resumed
//	bulkhead/tags/SHA256-OF-NAME              the journal of a name: who let it point to what, and when
//	bulkhead/leases/RANDOM                    what a running command needs; its flock is what makes it live
//	bulkhead/trash  bulkhead/quarantine       what is being removed; what Fsck took out of the way
//	bulkhead/gc.lock  bulkhead/index.lock     empty files for flock(2)
//
// A pull looks like this:
//
//	s, err := store.Open("/var/lib/bulkhead/image")
//	lease, err := s.Lease(ctx, "pull alpine")         // from now on nothing that it names is collected
//	err = lease.Add(desc.Digest)
//	in, err := s.Ingest(ctx, desc)                    // of kind Exists when it is there already
//	_, err = io.Copy(in, bodyFrom(in.Offset()))       // goes on where a killed pull stopped
//	err = in.Commit(ctx)                              // size and digest checked, on the disk, visible from now on
//	err = s.Tag(ctx, "docker.io/library/alpine:latest", desc, store.Event{Action: "pull"})
//	err = lease.Close()
//
// Many processes may do all that at once; nobody waits for anybody but a second writer of the same blob for the first, and for the few
// milliseconds in which index.json is replaced or garbage is moved out of sight.
//
// What lasts, and when it is synced: Commit syncs the blob's bytes before it gets its name (one fsync per blob, and none for its
// directory, so a blob that nothing names yet may be lost with the machine, but is never there in part). Tag syncs the directories of
// the blobs, appends to the journal and syncs it, and replaces index.json by write, fsync, rename, fsync of the root: when Tag returns,
// the name and all that was committed before it are on the disk. Leases and partial blobs are never synced: the first mean nothing
// after a reboot, the second are hashed again and thrown away when they are wrong.
//
// Security: the root belongs to the caller and is closed to others (0700, files 0600); what in it belongs to somebody else, is a link or
// a FIFO, or can be written by everybody is refused, not followed. A blob is checked on its way in, by Bytes, and by Fsck; Stat and Reader
// trust the disk. Names of images never become file names.
//
// Limits: a tool that does not know our lock and rewrites index.json in the same instant can lose our change, as it loses another
// tool's; the journal still has it.
package store

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/strictjson"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Names in the root.
const (
	indexFile     = "index.json"
	stateDir      = "bulkhead"
	ingestDir     = "ingest"
	tagsDir       = "tags"
	leasesDir     = "leases"
	trashDir      = "trash"
	quarantineDir = "quarantine"
	gcLock        = "gc.lock"
	indexLock     = "index.lock"

	layoutText = `{"imageLayoutVersion":"` + v1.ImageLayoutVersion + `"}`
)

// Store is an open store. Its methods may be called from many goroutines.
type Store struct {
	path string
	uid  uint32 // whom everything has to belong to

	// directories
	root, sha256, sha512, ingest, tags, leases int
}

// Open opens the store at root and makes what of it is missing. A directory that is something else is refused (Conflict), and so is one
// that others can write (Denied).
func Open(root string) (*Store, error) {
	s := &Store{path: root, uid: uint32(os.Geteuid()), root: -1, sha256: -1, sha512: -1, ingest: -1, tags: -1, leases: -1}
	if err := s.open(); err != nil {
		_ = s.Close()
		return nil, errdef.Errorf(errdef.KindOf(err), "image store %q: %w", root, err)
	}
	return s, nil
}

func (s *Store) open() error {
	var err error
	s.root, err = unix.Open(s.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		if s.root, err = makeRoot(s.path); err != nil {
			return err
		}
	} else if err != nil {
		return errdef.Errorf(kindOf(err), "open: %w", err)
	}
	if err := s.claim(); err != nil {
		return err
	}
	if err := s.layout(); err != nil {
		return err
	}
	for _, d := range []struct {
		fd   *int
		path string
	}{
		{&s.sha256, "blobs/sha256"},
		{&s.sha512, "blobs/sha512"},
		{&s.ingest, stateDir + "/" + ingestDir},
		{&s.tags, stateDir + "/" + tagsDir},
		{&s.leases, stateDir + "/" + leasesDir},
	} {
		if *d.fd, err = s.directory(d.path); err != nil {
			return err
		}
	}
	return nil
}

// Close gives the descriptors back. Nothing of the store may be used after it; leases and ingests are closed before.
func (s *Store) Close() error {
	for _, fd := range []*int{&s.root, &s.sha256, &s.sha512, &s.ingest, &s.tags, &s.leases} {
		if *fd >= 0 {
			_ = unix.Close(*fd)
			*fd = -1
		}
	}
	return nil
}

// makeRoot makes the root, and the directories above it, and syncs its name.
func makeRoot(path string) (int, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return -1, errdef.Errorf(errdef.Internal, "make: %w", err)
	}
	if above, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		_ = unix.Fsync(above)
		_ = unix.Close(above)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, errdef.Errorf(kindOf(err), "open: %w", err)
	}
	return fd, nil
}

// claim wants the root to be the caller's, and closes it to others.
func (s *Store) claim() error {
	var st unix.Stat_t
	if err := unix.Fstat(s.root, &st); err != nil {
		return errdef.Errorf(errdef.Internal, "stat: %w", err)
	}
	if st.Uid != s.uid {
		return errdef.Errorf(errdef.Denied, "it belongs to user %d, and this is user %d", st.Uid, s.uid)
	}
	if st.Mode&0o022 != 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Denied, "others can write it (mode %04o)", st.Mode&0o7777),
			"chmod 0700 it, then `image fsck`: others may have put something there")
	}
	if st.Mode&0o077 != 0 {
		if err := unix.Fchmod(s.root, 0o700); err != nil {
			return errdef.Errorf(errdef.Internal, "close it to others: %w", err)
		}
	}
	return nil
}

// layout reads oci-layout, and writes it into an empty directory.
func (s *Store) layout() error {
	for range 2 {
		data, err := s.readFile(s.root, v1.ImageLayoutFile, 4096)
		if errdef.Is(err, errdef.NotFound) {
			if err := s.empty(); err != nil {
				return err
			}
			err = atomicfile.CreateAt(s.root, v1.ImageLayoutFile, []byte(layoutText), atomicfile.Options{})
			if err != nil && !errdef.Is(err, errdef.Exists) {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		var l v1.ImageLayout
		if err := strictjson.Decode(data, strictjson.Limits{Bytes: 4096, Depth: 4, Values: 64, Names: []string{"imageLayoutVersion"}}, &l); err != nil {
			return errdef.Errorf(errdef.Conflict, "%s: %w", v1.ImageLayoutFile, err)
		}
		if l.Version != v1.ImageLayoutVersion {
			return errdef.Errorf(errdef.Unsupported, "%s: version %q, only %s is known", v1.ImageLayoutFile, l.Version, v1.ImageLayoutVersion)
		}
		return nil
	}
	return errdef.Errorf(errdef.Internal, "%s does not stay", v1.ImageLayoutFile)
}

// empty refuses a directory with something in it that is not a store's: what is made here must not mix with other files.
func (s *Store) empty() error {
	names, err := readDir(s.root)
	if err != nil {
		return err
	}
	for _, name := range names {
		ours := name == "blobs" || name == stateDir || name == indexFile || name == v1.ImageLayoutFile || strings.HasPrefix(name, "."+v1.ImageLayoutFile)
		if !ours && name != "lost+found" {
			return errdef.Errorf(errdef.Conflict, "no image layout, and not empty: it has %q", name)
		}
	}
	return nil
}

// directory opens a directory below the root, and makes it if need be.
func (s *Store) directory(path string) (int, error) {
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(s.root, path, how)
	if err == unix.ENOENT {
		made := ""
		for part := range strings.SplitSeq(path, "/") {
			made = filepath.Join(made, part)
			if err := unix.Mkdirat(s.root, made, 0o700); err != nil && err != unix.EEXIST {
				return -1, errdef.Errorf(kindOf(err), "make %q: %w", made, err)
			}
		}
		fd, err = unix.Openat2(s.root, path, how)
	}
	if err != nil {
		return -1, errdef.Errorf(kindOf(err), "open %q: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return -1, errdef.Errorf(errdef.Internal, "stat %q: %w", path, err)
	}
	if st.Uid != s.uid || st.Mode&0o002 != 0 {
		_ = unix.Close(fd)
		return -1, errdef.Errorf(errdef.Denied, "%q belongs to user %d with mode %04o: others can write it", path, st.Uid, st.Mode&0o7777)
	}
	return fd, nil
}

// lastPause is between two tries for a lock that is held for milliseconds.
const lastPause = time.Millisecond

// lock takes a lock of the store and returns what gives it back. Each call opens the file anew, so goroutines exclude each other too.
func (s *Store) lock(ctx context.Context, name string, how atomicfile.How) (func(), error) {
	fd, err := unix.Openat(s.root, stateDir+"/"+name, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, writeFailed(errdef.Errorf(kindOf(err), "open %s: %w", name, err), "image store %q", s.path)
	}
	for pause := lastPause / 16; ; pause = min(2*pause, lastPause) {
		locked, err := atomicfile.TryFlock(fd, how)
		if locked {
			return func() { _ = unix.Close(fd) }, nil
		}
		if err == nil && ctx.Err() != nil {
			err = errdef.Errorf(errdef.Timeout, "wait for %s: %w", name, context.Cause(ctx))
		}
		if err != nil {
			_ = unix.Close(fd)
			return nil, errdef.Errorf(errdef.KindOf(err), "image store %q: %w", s.path, err)
		}
		time.Sleep(pause)
	}
}

// syncDir makes the names in an open directory last.
func syncDir(fd int, what string) error {
	if err := unix.Fsync(fd); err != nil {
		return errdef.Errorf(kindOf(err), "sync %s: %w", what, err)
	}
	return nil
}
