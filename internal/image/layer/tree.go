package layer

import (
	"context"
	"io"

	"github.com/bulkhead-engine/bulkhead/internal/image/layer/overlay"
)

// Tree and Change are those of package overlay.
type (
	Tree   = overlay.Tree
	Change = overlay.Change
)

// Diff writes the layer that a container's upper directory is, uncompressed and reproducible.
func Diff(ctx context.Context, t *Tree, w io.Writer) (Result, error) { return overlay.Diff(ctx, t, w) }

// Changes lists what a container's upper directory changes, as `docker diff` does.
func Changes(ctx context.Context, t *Tree) ([]Change, error) { return overlay.Changes(ctx, t) }
