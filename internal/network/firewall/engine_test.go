package firewall

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/network"
)

func TestNameFor(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	name := func(parts ...string) string { return nameFor(network.Dir(filepath.Join(parts...))) }
	if got := name("/run/bulkhead/network"); got != "bulkhead" {
		t.Errorf("usual directory: %s", got)
	}
	one, other := name(dir, "run", "network"), name(dir, "else", "network")
	if one == other || !strings.HasPrefix(one, "bulkhead-") || one != name(dir, "link", "network") {
		t.Errorf("names %s, %s, by a link %s", one, other, name(dir, "link", "network"))
	}
}

// Engines with other run directories do not take each other's rules for damage, and the one that ends leaves the other's.
func TestTwoEngines(t *testing.T) {
	defer For(usualDir)
	s, all := newSpace(t), example()
	as := func(dir network.Dir, f func() error) {
		t.Helper()
		For(dir)
		s.Do(func() {
			if err := f(); err != nil {
				t.Errorf("%s: %v", dir, err)
			}
		})
	}
	whole := func(dir network.Dir) {
		t.Helper()
		as(dir, func() error {
			repaired, err := Repair(all)
			if repaired {
				t.Errorf("%s: was not whole", dir)
			}
			return err
		})
	}
	const one, other = network.Dir("/run/bulkhead/network"), network.Dir("/run/other/network")
	as(one, func() error { return Restore(all) })
	as(other, func() error { return Restore(all) })
	whole(one)
	whole(other)
	as(one, func() error { return Restore(all) })
	whole(other)
	as(one, func() error {
		for i, a := range all {
			if err := Remove(a, i == len(all)-1); err != nil {
				return err
			}
		}
		return nil
	})
	whole(other)
	if got := s.Run("ip", "-o", "link"); !strings.Contains(got, loopNear) {
		t.Errorf("the pair went with the first engine: %s", got)
	}
	as(other, func() error { return Remove(all[0], true) })
	if got := s.Run("nft", "list", "ruleset") + s.Run("ip", "-o", "link"); strings.Contains(got, "bulkhead") || strings.Contains(got, loopName) {
		t.Errorf("left: %s", got)
	}
}
