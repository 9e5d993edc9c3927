package image

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/image"
	"golang.org/x/sys/unix"
)

// published is an image of three layers in a registry.
func published(t *testing.T) string {
	t.Helper()
	ctx, s := context.Background(), open(t, "")
	name := registry(t) + "/layers:1"
	img, err := s.Import(ctx, bytes.NewReader(rootfs(t, 11, 40, 20000)), name, image.ImportOptions{})
	for i := range 2 {
		if err != nil {
			t.Fatal(err)
		}
		f, ferr := os.Create(filepath.Join(t.TempDir(), "layer"))
		if ferr != nil {
			t.Fatal(ferr)
		}
		if _, err := f.Write(rootfs(t, uint64(20+i), 60, 10000)); err != nil {
			t.Fatal(err)
		}
		img, err = s.Build(ctx, image.BuildOptions{Name: name, Base: img, Layer: f, Config: img.Config.Image, Action: "commit"})
		_ = f.Close()
	}
	if err == nil {
		_, err = s.Push(ctx, name, image.PushOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// client starts a pull as a process of its own.
func client(t *testing.T, root, name string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "pull", root, name)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

// usable checks that the image can be described and that all its files are there.
func usable(t *testing.T, s *image.Service, name string) {
	t.Helper()
	img, err := s.Find(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Mount(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(glob(t, m.Target+"/data/*/*")); n != 60 || len(img.Layers) != 3 {
		t.Errorf("%d files, %d layers", n, len(img.Layers))
	}
	if _, err := s.Unmount(name); err != nil {
		t.Fatal(err)
	}
}

// TestKilledPulls kills pulls at random moments: the store has no fault after any of them, another pull goes on, and nothing but the image is there in the
// end.
func TestKilledPulls(t *testing.T) {
	name, root := published(t), filepath.Join(t.TempDir(), "root")
	start := time.Now()
	cmd, out := client(t, root, name)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := time.Since(start)
	s := open(t, root)
	ctx := context.Background()
	r := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	complete, killed := 0, 0
	for i := range 160 {
		if _, err := s.Find(name, nil); err == nil { // else the last one was killed, and this one goes on from there
			if _, err := s.Remove(ctx, name, image.RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
			complete++
		}
		cmd, out := client(t, root, name)
		time.Sleep(time.Duration(r.Int64N(int64(whole))))
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			continue
		} else if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() {
			t.Fatalf("pull %d: %v: %s", i, err, out)
		}
		killed++
		clean(t, s)
		if t.Failed() {
			t.Fatalf("after kill %d", i)
		}
	}
	t.Logf("%d killed, %d removed between, a pull takes %v", killed, complete, whole)
	cmd, out = client(t, root, name)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	usable(t, s, name)
	if _, err := s.Prune(ctx, image.PruneOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	nothing(t, s, root)
}

// nothing checks that no content, no unpacked layer and nothing half-made is left.
func nothing(t *testing.T, s *image.Service, root string) {
	t.Helper()
	clean(t, s)
	for _, dir := range []string{"images/blobs/sha256", "images/bulkhead/ingest", "images/bulkhead/trash", "images/bulkhead/leases", "snapshots/layers", "snapshots/stage", "snapshots/trash"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		for _, e := range entries {
			t.Errorf("left: %s/%s", dir, e.Name())
		}
	}
}

// TestFullDisk lets pulls run into the end of the disk at random points: one sentence that says so, a store without a fault, and a pull that goes on when there is
// room.
func TestFullDisk(t *testing.T) {
	name, disk := published(t), t.TempDir()
	if err := unix.Mount("disk", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	resize := func(bytes int64) {
		t.Helper()
		if err := unix.Mount("", disk, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", bytes)); err != nil {
			t.Fatal(err)
		}
	}
	resize(64 << 20)
	root := filepath.Join(disk, "root")
	s, err := image.Open(image.Options{Root: root, Unpacker: unpacker})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(4, uint64(time.Now().UnixNano())))
	full := 0
	for i := range 40 {
		if _, err := s.Prune(ctx, image.PruneOptions{All: true}); err != nil {
			t.Fatal(err)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(disk, &st); err != nil {
			t.Fatal(err)
		}
		used := int64(st.Blocks-st.Bfree) * st.Bsize
		resize(used + 4096 + r.Int64N(6<<20))
		cmd, out := client(t, root, name)
		err := cmd.Wait()
		resize(64 << 20)
		if err != nil {
			full++
			if !strings.Contains(out.String(), "no space left") && !strings.Contains(out.String(), "disk") {
				t.Errorf("pull %d: %v: %s", i, err, out)
			}
		}
		clean(t, s)
		if t.Failed() {
			t.Fatalf("after pull %d: %s", i, out)
		}
	}
	if full < 5 {
		t.Errorf("only %d pulls met a full disk", full)
	}
	cmd, out := client(t, root, name)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	usable(t, s, name)
}
