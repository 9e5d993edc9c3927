package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// onSmallDisk runs f with a tmpfs of so many MiB, in a mount namespace that goes with the thread.
func onSmallDisk(t *testing.T, megabytes int, f func(root string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("BULKHEAD_TEST_STRICT") != "" {
			t.Fatal("a small disk can be mounted by root only")
		}
		t.Skip("a small disk can be mounted by root only")
	}
	dir := t.TempDir()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", megabytes))
		}
		if err == nil {
			defer func() { done <- nil }()
			f(filepath.Join(dir, "store"))
			return
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// fill takes all room but about so many bytes, and returns what gives it back.
func fill(t *testing.T, root string, leave int64) func() {
	t.Helper()
	name := filepath.Join(filepath.Dir(root), "ballast")
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(root), &st); err != nil {
		t.Error(err)
	}
	size := int64(st.Bavail)*st.Bsize - leave
	if size > 0 {
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Error(err)
		}
	}
	return func() { _ = os.Remove(name) }
}

// TestFull fills the disk at 150 random points of a pull: each time there is a clear error or none, the store is valid, and with room
// again the pull comes to its end.
func TestFull(t *testing.T) {
	ctx := context.Background()
	onSmallDisk(t, 6, func(root string) {
		s, err := Open(root)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		rounds, refused := 150, 0
		for i := range rounds {
			im := newImage(fmt.Sprintf("image:%d", i%2), uint64(i)*10, 900_000, 200_000, 3000)
			steps := rand.IntN(25)
			release := func() {}
			err := im.pull(ctx, s, func() {
				if steps--; steps == 0 {
					release = fill(t, root, rand.Int64N(200_000))
				}
			})
			if err != nil {
				refused++
				if !strings.Contains(err.Error(), "no space left") || !errdef.Is(err, errdef.Unavailable) || errdef.Hint(err) == "" {
					t.Errorf("round %d: %v (%v, hint %q)", i, err, errdef.KindOf(err), errdef.Hint(err))
				}
			}
			clean(t, s)
			release()
			if err := im.pull(ctx, s, nothing); err != nil {
				t.Errorf("round %d, with room again: %v", i, err)
			}
			if _, err := s.GC(ctx, Roots{Grace: -1, PartialGrace: -1}); err != nil {
				t.Error(err)
			}
			if r := clean(t, s); len(r.Partials) != 0 {
				t.Errorf("partials %v", r.Partials)
			}
			if t.Failed() {
				return
			}
		}
		t.Logf("%d of %d pulls met a full disk", refused, rounds)
		if refused < rounds/10 {
			t.Error("the disk was hardly ever full")
		}
	})
}

// TestLeaseFull: what a lease takes when there is room again is not spoiled by what it could not take before.
func TestLeaseFull(t *testing.T) {
	ctx := context.Background()
	onSmallDisk(t, 4, func(root string) {
		s, err := Open(root)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		lease, err := s.Lease(ctx, "full")
		if err != nil {
			t.Error(err)
			return
		}
		defer lease.Close()
		var many []digest.Digest
		for i := range 1000 { // more than a page
			many = append(many, digest.FromString(fmt.Sprint(i)))
		}
		release := fill(t, root, 10_000)
		if err := lease.Add(ctx, many...); !errdef.Is(err, errdef.Unavailable) {
			t.Errorf("added to a full disk: %v", err)
		}
		release()
		im := newImage("x", 1, 10)
		for _, d := range im.digests() {
			if err := lease.Add(ctx, d); err != nil {
				t.Error(err)
			}
		}
		for _, data := range append(im.layers, im.config, im.manifest) {
			if err := ingest(ctx, s, data, nothing); err != nil {
				t.Error(err)
			}
		}
		if r, err := s.GC(ctx, Roots{Grace: -1}); err != nil || len(r.Removed) != 0 {
			t.Errorf("gc: %+v, %v", r, err)
		}
	})
}

// TestReserve: a blob that has no room is refused before its first byte, and leaves nothing.
func TestReserve(t *testing.T) {
	ctx := context.Background()
	onSmallDisk(t, 4, func(root string) {
		s, err := Open(root)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		desc := describe("", []byte("x"))
		desc.Size = 1 << 40
		if _, err := s.Ingest(ctx, desc); !errdef.Is(err, errdef.Unavailable) || errdef.Hint(err) == "" {
			t.Errorf("a blob of 1 TiB: %v", err)
		}
		if names, _ := os.ReadDir(root + "/bulkhead/ingest"); len(names) != 0 {
			t.Errorf("left behind: %v", names)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(root, &st); err != nil || st.Bavail*uint64(st.Bsize) < 3<<20 {
			t.Errorf("%d blocks of %d are free: the reserved room was not given back", st.Bavail, st.Bsize)
		}
	})
}
