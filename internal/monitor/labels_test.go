package monitor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	"github.com/bulkhead-engine/bulkhead/internal/selinux/category"
)

// TestGiveBack: a container that removes itself gives its own categories back, and nobody else's.
func TestGiveBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "selinux")
	pool, err := category.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	levels := map[string]string{}
	for _, id := range []string{"one", "two"} {
		if levels[id], err = pool.Draw(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []control.Categories{{}, {Dir: dir, Level: levels["two"]}, {Dir: dir, Level: levels["one"]}, {Dir: dir, Level: levels["one"]}} {
		if err := (&monitor{o: control.Orders{ID: "one", Categories: c}}).giveBack(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for id, want := range map[string]bool{"one": false, "two": true} {
		if _, err := os.Stat(filepath.Join(dir, strings.TrimPrefix(levels[id], "s0:"))); (err == nil) != want {
			t.Errorf("%s: %v", id, err)
		}
	}
}
