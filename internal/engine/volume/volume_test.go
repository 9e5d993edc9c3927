package volume_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/engine/volume"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	api "github.com/moby/moby/api/types/volume"
)

func service(t *testing.T, users func() (map[string][]string, error)) (*volume.Service, string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "volumes")
	return volume.New(volume.Options{Root: root, Users: users}), root
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{"a": false, "ab": true, "a_.-9": true, ".ab": false, "-ab": false, "a/b": false, "": false, "..": false, "ä1": false, "a\x00b": false} {
		if got := volume.ValidName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// TestLeft: a volume is there whole or not at all, and what killed commands left is removed.
func TestLeft(t *testing.T) {
	s, root := service(t, nil)
	ctx := t.Context()
	for _, dir := range []string{".half.new/_data", ".gone.old/_data/deep"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.List(ctx, nil); err != nil || len(list.Volumes) != 0 {
		t.Errorf("%v %v", list, err)
	}
	if _, err := s.Create(ctx, api.CreateRequest{Name: "half"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 1 || entries[0].Name() != "half" {
		t.Errorf("%v %v", entries, err)
	}
	// One without a record is of an engine that kept none.
	if err := os.MkdirAll(filepath.Join(root, "older/_data"), 0o755); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Inspect(ctx, "older"); err != nil || v.Driver != "local" || v.CreatedAt == "" {
		t.Errorf("%+v %v", v, err)
	}
	if err := os.WriteFile(filepath.Join(root, "half/volume.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(ctx, nil); err != nil || len(list.Volumes) != 1 || len(list.Warnings) != 1 {
		t.Errorf("a record that cannot be read is a warning: %v %v", list, err)
	}
}

// TestClaim: what is claimed for a container that is being made stays, and what a container has.
func TestClaim(t *testing.T) {
	users := map[string][]string{}
	s, _ := service(t, func() (map[string][]string, error) { return users, nil })
	ctx := t.Context()
	c, err := s.Take(ctx, api.CreateRequest{Name: "data"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "data", true); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("a volume that is claimed is removed: %v", err)
	}
	if r, err := s.Prune(ctx, option.Filters{"all": {"true"}}); err != nil || len(r.VolumesDeleted) != 0 {
		t.Errorf("%v %v", r, err)
	}
	users["data"] = []string{"web"}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "data", true); !errdef.Is(err, errdef.Conflict) || errdef.Hint(err) == "" {
		t.Errorf("a volume that a container has is removed: %v", err)
	}
	delete(users, "data")
	if err := s.Remove(ctx, "data", false); err != nil {
		t.Error(err)
	}
	if err := s.Remove(ctx, "data", false); !errdef.Is(err, errdef.NotFound) {
		t.Error(err)
	}
}

// TestTogether: many make, claim and remove one volume at once; whoever has claimed it finds it there.
func TestTogether(t *testing.T) {
	s, _ := service(t, nil)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				c, err := s.Take(t.Context(), api.CreateRequest{Name: "data"})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.Stat(c.Source); err != nil {
					t.Errorf("claimed, and not there: %v", err)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if err := s.Remove(t.Context(), "data", true); err != nil && !errdef.Is(err, errdef.Conflict) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// TestFill: a new volume gets what the image has, also after a fill that was cut off, and one that has files of its own nothing.
func TestFill(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	s, root := service(t, nil)
	ctx := t.Context()
	image := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(image, "db/sub"), 0o750),
		os.WriteFile(filepath.Join(image, "db/sub/file"), []byte("content"), 0o640),
		os.Symlink("/etc/passwd", filepath.Join(image, "db/link")),
		syscall.Mknod(filepath.Join(image, "db/null"), syscall.S_IFCHR|0o666, 0x103),
		os.Chown(filepath.Join(image, "db"), 999, 998), os.Chown(filepath.Join(image, "db/sub/file"), 999, 998), syscall.Chmod(filepath.Join(image, "db"), 0o2750),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	times := 0
	from := func(context.Context) (*os.File, error) { times++; return os.Open(image) }
	fill := func(name string) {
		t.Helper()
		if err := s.Ready(ctx, name, from, "/db"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"new", "cut", "own", "none"} {
		if _, err := s.Create(ctx, api.CreateRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	fill("new")
	fill("new")
	data := filepath.Join(root, "new/_data")
	if b, err := os.ReadFile(filepath.Join(data, "sub/file")); err != nil || string(b) != "content" || times != 1 {
		t.Errorf("%q %v, filled %d times", b, err, times)
	}
	if to, err := os.Readlink(filepath.Join(data, "link")); err != nil || to != "/etc/passwd" {
		t.Errorf("%q %v", to, err)
	}
	if _, err := os.Lstat(filepath.Join(data, "null")); !os.IsNotExist(err) {
		t.Errorf("a device node is copied: %v", err)
	}
	for path, want := range map[string]string{"": "999:998 2750", "sub/file": "999:998 640"} {
		var st syscall.Stat_t
		err := syscall.Lstat(filepath.Join(data, path), &st)
		if got := fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o7777); err != nil || got != want {
			t.Errorf("%q: %s, want %s: %v", path, got, want, err)
		}
	}
	// Cut off in the middle: some of it is there, and the record says so.
	record := filepath.Join(root, "cut/volume.json")
	if err := os.WriteFile(record, []byte(`{"Name":"cut","Fresh":true,"Filling":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "cut/_data/partly"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fill("cut")
	if _, err := os.Stat(filepath.Join(root, "cut/_data/sub/file")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(root, "own/_data/mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fill("own")
	if entries, err := os.ReadDir(filepath.Join(root, "own/_data")); err != nil || len(entries) != 1 {
		t.Errorf("a volume with files of its own: %v %v", entries, err)
	}
	if err := s.Ready(ctx, "none", from, "/nosuch"); err != nil { // the image has nothing there
		t.Error(err)
	}
	if err := s.Ready(ctx, "nosuch", from, "/db"); !errdef.Is(err, errdef.NotFound) {
		t.Error(err)
	}
}
