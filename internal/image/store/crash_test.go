package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// TestKill kills a writer at a random point, 120 times in one store: whatever it was doing, the store is valid, and in the end the pull
// that was killed so often comes to its end from where it stopped.
func TestKill(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root)
	kills := 120
	if testing.Short() {
		kills = 20
	}
	resumed, tagged := 0, 0
	span := 40 * time.Millisecond // longer, where the writer does not come to its end in it
	for i := range kills {
		cmd := player(t, "writer", root)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(span))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r := clean(t, s)
		if t.Failed() {
			t.Fatalf("after kill %d", i)
		}
		if len(r.Partials) > 0 {
			resumed++
		}
		if _, err := s.Lookup(victim().name); err == nil {
			tagged++
		} else {
			span = min(span+span/8, 2*time.Second)
		}
	}
	t.Logf("%d of %d kills left a partial blob, after %d the image was there", resumed, kills, tagged)
	if resumed == 0 || tagged == 0 {
		t.Error("the kills did not come at different points")
	}
	im := victim()
	if err := im.pull(context.Background(), s, nothing); err != nil {
		t.Fatal(err)
	}
	for _, d := range im.digests() {
		if _, err := s.Bytes(d, 10<<20); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.GC(context.Background(), Roots{Grace: -1, PartialGrace: -1}); err != nil {
		t.Error(err)
	}
	r := clean(t, s)
	if len(r.Partials) != 0 {
		t.Errorf("partial blobs that nobody writes: %v", r.Partials)
	}
	for dir, want := range map[string]int{"": 4, "bulkhead/leases": 0, "bulkhead/ingest": 0, "bulkhead/trash": 0} {
		if names, _ := os.ReadDir(filepath.Join(root, dir)); len(names) != want {
			t.Errorf("left behind in %q: %v", dir, names)
		}
	}
}

// TestResume: a writer is killed in the middle of a blob, and the next one goes on from there.
func TestResume(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	s := openStore(t, root)
	data := content(5, 3_000_000)
	desc := describe("", data)
	in, err := s.Ingest(ctx, desc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(data[:1_234_567]); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if r := clean(t, s); len(r.Partials) != 1 || r.Partials[0].Size != 1_234_567 {
		t.Errorf("partials %+v", r.Partials)
	}
	in, err = s.Ingest(ctx, desc)
	if err != nil || in.Offset() != 1_234_567 {
		t.Fatalf("offset %d, %v", in.Offset(), err)
	}
	reader, err := in.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, data[:in.Offset()]) {
		t.Errorf("what is there: %d bytes, %v", len(got), err)
	}
	if _, err := in.Write(data[in.Offset():]); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(reader); err != nil || !bytes.Equal(got, data[1_234_567:]) {
		t.Errorf("what came after: %d bytes, %v", len(got), err)
	}
	if _, err := s.Bytes(desc.Digest, 1<<30); err != nil {
		t.Error(err)
	}
	// What is left is wrong, as after a loss of power: it is found out and thrown away.
	data = content(6, 3_000_000)
	desc = describe("", data)
	partial := fmt.Sprintf("%s/bulkhead/ingest/%s", root, blobName(desc.Digest))
	if err := os.WriteFile(partial, make([]byte, 1_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err = s.Ingest(ctx, desc)
	if err != nil || in.Offset() != 1_000_000 {
		t.Fatal(err)
	}
	if _, err := in.Write(data[1_000_000:]); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(ctx); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("a wrong partial blob: %v", err)
	}
	if _, err := os.Stat(partial); err == nil {
		t.Error("the wrong partial blob is still there")
	}
	// More than there should be.
	if err := os.WriteFile(partial, make([]byte, 3_000_001), 0o600); err != nil {
		t.Fatal(err)
	}
	if in, err = s.Ingest(ctx, desc); err != nil || in.Offset() != 0 {
		t.Fatalf("%v", err)
	}
	if err := in.Abort(); err != nil {
		t.Error(err)
	}
}

// TestMany lets eight processes do everything at once.
func TestMany(t *testing.T) {
	root := t.TempDir()
	s := openStore(t, root)
	var all []*exec.Cmd
	for range 8 {
		cmd := player(t, "busy", root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	for range 3 {
		time.Sleep(500 * time.Millisecond)
		clean(t, s)
	}
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process: %v", err)
		}
	}
	r := clean(t, s)
	if r.Names == 0 {
		t.Error("nothing was tagged")
	}
	t.Logf("%d blobs, %d names", r.Blobs, r.Names)
}

// TestRace lets garbage be collected while an image that was garbage a moment ago is pulled again, 1000 times: with a lease, nothing of
// it may be missing when the pull has ended.
func TestRace(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	root := memoryDir(t) // thousands of times synced
	s := openStore(t, root)
	other := openStore(t, root)
	collected := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			r, err := other.GC(ctx, Roots{Grace: -1, PartialGrace: -1})
			if err != nil && ctx.Err() == nil {
				t.Errorf("gc: %v", err)
			}
			n += len(r.Removed)
		}
		collected <- n
	}()
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	present := 0
	for i := range rounds {
		im := newImage("x", uint64(i%3)*10, 3000, 100)
		lease, err := s.Lease(ctx, "race")
		if err != nil {
			t.Fatal(err)
		}
		if err := lease.Add(ctx, im.digests()...); err != nil {
			t.Fatal(err)
		}
		if s.Has(im.desc) {
			present++
		}
		if err := im.pull(ctx, s, nothing); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Untag(ctx, "x", Event{}); err != nil { // only the lease holds it now
			t.Fatal(err)
		}
		for _, d := range im.digests() {
			if _, err := s.Bytes(d, 1<<20); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
		}
		_ = lease.Close()
		if i%2 == 0 {
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond) // in which it is garbage
		}
	}
	cancel()
	n := <-collected
	t.Logf("%d blobs were collected in %d rounds, %d times the image was still there", n, rounds, present)
	if n == 0 || present == 0 {
		t.Error("there was no race")
	}
	clean(t, s)
}

// memoryDir is a directory in memory, if the machine has one.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "bulkhead-store")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestOneWriter: a second writer of a blob waits for the first, and then finds it there.
func TestOneWriter(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	s, other := openStore(t, root), openStore(t, root)
	data := content(1, 100_000)
	desc := describe("", data)
	in, err := s.Ingest(ctx, desc)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := other.Ingest(short, desc); !errdef.Is(err, errdef.Timeout) {
		t.Errorf("a second writer: %v", err)
	}
	second := make(chan error)
	go func() {
		_, err := other.Ingest(ctx, desc)
		second <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if r, err := s.GC(ctx, Roots{Grace: -1, PartialGrace: -1}); err != nil || r.Partials != 0 {
		t.Errorf("gc took what is being written: %+v, %v", r, err)
	}
	if _, err := in.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-second; !errdef.Is(err, errdef.Exists) {
		t.Errorf("the second writer: %v", err)
	}
	if names, _ := os.ReadDir(root + "/bulkhead/ingest"); len(names) != 0 {
		t.Errorf("left behind: %v", names)
	}
	long := desc
	long.Digest = digest.SHA512.FromBytes(data)
	if in, err = s.Ingest(ctx, long); err != nil {
		t.Fatal(err)
	}
	_, _ = in.Write(data)
	if err := in.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Bytes(long.Digest, 1<<20); err != nil || len(got) != len(data) {
		t.Errorf("sha512: %v", err)
	}
}
