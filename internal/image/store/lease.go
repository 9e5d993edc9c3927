package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/bulkhead-engine/bulkhead/internal/atomicfile"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// maxLease bounds what is read of a lease: 400,000 digests.
const maxLease = 32 << 20

// Lease keeps GC from what it names and, of indexes and manifests, from what these name. It lives as long as its owner has it open; a
// killed owner's is void at once. Its methods may be called from many goroutines.
type Lease struct {
	s    *Store
	name string

	mu   sync.Mutex
	file *os.File // nil when closed
	has  map[digest.Digest]bool
}

// Lease opens a lease. why is for people who look into the directory.
//
// First Add, then look: a blob that was there before Add may be gone after it, one that is there after Add stays.
func (s *Store) Lease(ctx context.Context, why string) (*Lease, error) {
	// Between making the file and locking it, it looks like one of a dead owner: GC is kept out.
	unlock, err := s.lock(ctx, gcLock, atomicfile.Shared)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	name := hex.EncodeToString(random[:])
	fd, err := unix.Openat(s.leases, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, writeFailed(errdef.Errorf(kindOf(err), "make: %w", err), "lease for %q", why)
	}
	l := &Lease{s: s, name: name, file: os.NewFile(uintptr(fd), name), has: map[digest.Digest]bool{}}
	_, err = atomicfile.TryFlock(fd, atomicfile.Exclusive)
	if err == nil {
		_, err = l.file.WriteString("# " + strconv.Itoa(os.Getpid()) + " " + strconv.Quote(cut(why, maxSource)) + "\n")
	}
	if err != nil {
		_ = l.Close()
		return nil, writeFailed(err, "lease for %q", why)
	}
	return l, nil
}

// Add takes blobs into the lease, whether they are there or still to come.
func (l *Lease) Add(ctx context.Context, digests ...digest.Digest) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return errdef.Errorf(errdef.Conflict, "lease: added to after its end")
	}
	var lines bytes.Buffer
	var fresh []digest.Digest
	for _, d := range digests {
		if err := reference.CheckDigest(d); err != nil {
			return errdef.Errorf(errdef.KindOf(err), "lease: %w", err)
		}
		if !l.has[d] {
			fresh = append(fresh, d)
			lines.WriteString(string(d) + "\n")
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	unlock, err := l.s.lock(ctx, gcLock, atomicfile.Shared)
	if err != nil {
		return err
	}
	defer unlock()
	end, err := l.file.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = l.file.Write(lines.Bytes())
	}
	if err != nil {
		_ = l.file.Truncate(end) // half a digest must not run into the next one
		return writeFailed(err, "lease")
	}
	for _, d := range fresh {
		l.has[d] = true
	}
	return nil
}

// Close ends the lease.
func (l *Lease) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := unix.Unlinkat(l.s.leases, l.name, 0)
	if cerr := l.file.Close(); err == nil && cerr != nil {
		err = unix.EIO
	}
	l.file = nil
	if err != nil && err != unix.ENOENT {
		return errdef.Errorf(errdef.Internal, "lease: end: %w", err)
	}
	return nil
}

// leased returns what live leases name, and removes the others; gc.lock is held exclusively.
func (s *Store) leased(keep bool) (digests []digest.Digest, dead int, err error) {
	names, err := readDir(s.leases)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		f, size, err := s.openFile(s.leases, name)
		if errdef.Is(err, errdef.NotFound) {
			continue
		}
		if err != nil {
			return nil, 0, errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "lease %q: %w", name, err), repairHint)
		}
		free, err := atomicfile.TryFlock(int(f.Fd()), atomicfile.Exclusive)
		if err == nil && free {
			dead++
			if !keep {
				_ = unix.Unlinkat(s.leases, name, 0)
			}
			_ = f.Close()
			continue
		}
		var data []byte
		if err == nil {
			data, err = readAll(f, name, size, maxLease)
		}
		_ = f.Close()
		if err != nil {
			return nil, 0, errdef.Errorf(errdef.KindOf(err), "lease: %w", err)
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			if d := digest.Digest(strings.TrimSpace(lines.Text())); reference.CheckDigest(d) == nil {
				digests = append(digests, d)
			}
		}
	}
	return digests, dead, nil
}
