package image

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	"github.com/opencontainers/go-digest"
)

// TestRemoveMoved: a name that moves to another image while one is removed or pruned stays with the other.
func TestRemoveMoved(t *testing.T) {
	ctx := context.Background()
	for _, prune := range []bool{false, true} {
		root := filepath.Join(t.TempDir(), "root")
		mover := open(t, root)
		var images []*image.Image
		for i, name := range []string{"old", "new"} {
			img, err := mover.Import(ctx, bytes.NewReader(rootfs(t, uint64(i), 1, 10)), name, image.ImportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			images = append(images, img)
		}
		moved := false
		s, err := image.Open(image.Options{Root: root, Unpacker: unpacker, InUse: func() (map[digest.Digest][]string, error) {
			if !moved { // at the moment between looking and taking
				moved = true
				if err := mover.Tag(ctx, "new", "old"); err != nil {
					t.Error(err)
				}
			}
			return map[digest.Digest][]string{images[1].ID: {"container"}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if prune {
			_, err = s.Prune(ctx, image.PruneOptions{All: true})
		} else {
			_, err = s.Remove(ctx, images[0].ID.String(), image.RemoveOptions{})
		}
		if prune != (err == nil) || err != nil && !errdef.Is(err, errdef.Conflict) {
			t.Errorf("prune %v: %v", prune, err)
		}
		if got, err := s.Find("old", nil); err != nil || got.ID != images[1].ID {
			t.Errorf("prune %v: the name is gone from the image that it moved to: %v, %v", prune, got, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
