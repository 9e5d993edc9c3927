package image

import (
	"bytes"
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
)

// TestMountsAtOnce: many mount and unmount one image, each with a service of its own, and all that can go wrong is that somebody else was first.
func TestMountsAtOnce(t *testing.T) {
	ctx, root := context.Background(), filepath.Join(t.TempDir(), "root")
	s := open(t, root)
	if _, err := s.Import(ctx, bytes.NewReader(rootfs(t, 1, 1, 10)), "app", image.ImportOptions{}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		mine := open(t, root)
		all.Go(func() {
			for range 40 {
				if _, err := mine.Mount(ctx, "app"); err != nil {
					t.Errorf("mount: %v", err)
				}
				if _, err := mine.Unmount("app"); err != nil && !errdef.Is(err, errdef.NotFound) {
					t.Errorf("unmount: %v", err)
				}
			}
		})
	}
	all.Wait()
	if left := glob(t, root+"/mounts/*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
