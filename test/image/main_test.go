package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	"github.com/bulkhead-engine/bulkhead/test/built"
	"github.com/bulkhead-engine/bulkhead/test/registryserver"
)

var unpacker string

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "pull" { // this program as a client of its own, to be killed
		if err := pullOnce(os.Args[2], os.Args[3]); err != nil {
			fmt.Println(err)
			if hint := errdef.Hint(err); hint != "" {
				fmt.Println("hint:", hint)
			}
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		fmt.Println("skipped: needs root")
		if os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	work, err := os.MkdirTemp("", "bulkhead-image-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(work)
	unpacker = filepath.Join(work, "bulkhead-unpack")
	if err := built.Program(unpacker, "./cmd/bulkhead-unpack"); err != nil {
		fmt.Println(err)
		return 1
	}
	_ = os.Setenv("BULKHEAD_TEST_UNPACK", unpacker)
	code := m.Run()
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), "/bulkhead-image-") {
		fmt.Println("left behind: a mount", err)
		code = 1
	}
	return code
}

// pullOnce is the client that is killed.
func pullOnce(root, name string) error {
	s, err := image.Open(image.Options{Root: root, Unpacker: os.Getenv("BULKHEAD_TEST_UNPACK")})
	if err != nil {
		return err
	}
	_, err = s.Pull(context.Background(), name, image.PullOptions{})
	return errors.Join(err, s.Close())
}

// open opens a service in a directory of the test's own, or in root.
func open(t testing.TB, root string) *image.Service {
	t.Helper()
	if root == "" {
		root = filepath.Join(t.TempDir(), "root")
	}
	s, err := image.Open(image.Options{Root: root, Unpacker: unpacker})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range s.Mounts() {
			_, _ = s.Unmount(m.Image.String())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// clean checks that the store has no fault.
func clean(t testing.TB, s *image.Service) {
	t.Helper()
	r, err := s.Check(context.Background(), store.FsckOptions{})
	if err != nil {
		t.Errorf("fsck: %v", err)
	}
	for _, p := range r.Problems {
		t.Errorf("fsck: %s", p)
	}
}

// registry starts Debian's registry on loopback, for the time of a test, and returns its address.
func registry(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath(registryserver.Program); err != nil {
		if os.Getenv("BULKHEAD_TEST_STRICT") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s, err := registryserver.Start(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Address
}

// rootfs is an archive of a root file system: busybox, and files of random content.
func rootfs(t testing.TB, seed uint64, files, size int) []byte {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, mode int64, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add("bin/busybox", 0o755, program)
	r := rand.New(rand.NewPCG(seed, 2))
	data := make([]byte, size)
	for i := range files {
		for j := 0; j+8 <= len(data); j += 8 {
			v := r.Uint64()
			for k := range 8 {
				data[j+k] = byte(v >> (8 * k))
			}
		}
		add(fmt.Sprintf("data/%d/%d", i%50, i), 0o644, data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// run runs a peer.
func run(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}
