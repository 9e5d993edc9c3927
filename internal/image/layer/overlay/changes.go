package overlay

import (
	"context"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// Kinds of changes, as `docker diff` prints them.
const (
	Added   = 'A'
	Changed = 'C'
	Deleted = 'D'
)

// A Change is one line of `docker diff`.
type Change struct {
	Kind byte
	Path string // absolute
}

// Changes lists what a tree changes, sorted by path. A directory counts as changed when something in it is, or its mode, owner or time.
func Changes(ctx context.Context, t *Tree) ([]Change, error) {
	c := &lister{}
	if err := t.walk(ctx, c.before, c.after); err != nil {
		return nil, err
	}
	slices.SortFunc(c.list, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return c.list, nil
}

type lister struct {
	list []Change
	// marks is how many changes there were when a directory that is merged with a lower one began.
	marks []int
}

func (c *lister) add(kind byte, v *visit) { c.list = append(c.list, Change{kind, "/" + v.path}) }

func (c *lister) before(v *visit) error {
	switch {
	case v.whiteout:
		c.add(Deleted, v)
		return nil
	case v.fd < 0 || len(v.lower) == 0:
		kind := byte(Added)
		if v.isBelow {
			kind = Changed
		}
		c.add(kind, v)
		if v.fd >= 0 {
			c.marks = append(c.marks, -1)
		}
		return nil
	}
	c.marks = append(c.marks, len(c.list))
	if v.opaque {
		return c.hidden(v)
	}
	return nil
}

// hidden lists what an opaque directory hides of lower ones and does not have itself.
func (c *lister) hidden(v *visit) error {
	seen := map[string]bool{}
	own, err := list(v.fd)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "list %s: %w", quote(v.path), err)
	}
	for _, name := range own {
		seen[name] = true
	}
	for _, dir := range v.lower {
		names, err := list(dir)
		if err != nil {
			return errdef.Errorf(errdef.Internal, "list %s in a lower layer: %w", quote(v.path), err)
		}
		for _, name := range names {
			var st unix.Stat_t
			if seen[name] || unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
				continue
			}
			seen[name] = true
			if !isWhiteout(&st) {
				c.list = append(c.list, Change{Deleted, "/" + v.path + "/" + name})
			}
		}
	}
	return nil
}

func (c *lister) after(v *visit) error {
	if v.fd < 0 {
		return nil
	}
	mark := c.marks[len(c.marks)-1]
	c.marks = c.marks[:len(c.marks)-1]
	if mark < 0 {
		return nil
	}
	a, b := &v.stat, &v.below
	if len(c.list) > mark || v.opaque || a.Mode != b.Mode || a.Mtim != b.Mtim {
		c.add(Changed, v)
	}
	return nil
}
