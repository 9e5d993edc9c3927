package snapshot_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func someLayers() [][]byte {
	var out [][]byte
	for i := range 8 {
		var names []string
		for j := range 60 {
			names = append(names, fmt.Sprintf("d%d/f%d=%s", j%7, j, strings.Repeat(fmt.Sprint(i, j), 300)))
		}
		out = append(out, archiveOf(names...))
	}
	return out
}

// TestKilled kills a pull at a random moment, many times. After each the store is healed by the next command, what it says it has is whole, and
// nothing else is left: no stage, no process. Then a pull works.
func TestKilled(t *testing.T) {
	ctx := context.Background()
	s := open(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	chains := add(t, s, someLayers()...)
	want := map[digest.Digest]string{}
	for _, c := range chains {
		want[c] = sum(t, layerPath(c))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	until := time.Now().Add(20 * time.Second)
	kills, whole := 0, 0
	for ; kills < 60 && time.Now().Before(until); kills++ {
		if _, err := s.GC(ctx, func(digest.Digest) bool { return r.IntN(4) == 0 }); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "pull", storeRoot, path)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.IntN(120)) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		list, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if got := sum(t, layerPath(i.Chain)); got != want[i.Chain] {
				t.Fatalf("kill %d: layer %s is not what it was", kills, i.Chain)
			}
			if !s.Has(i.Chain) {
				t.Errorf("kill %d: layer %s has no parent", kills, i.Chain)
			}
			whole++
		}
	}
	t.Logf("%d kills, %d layers were there afterwards", kills, whole)
	if again := add(t, s, someLayers()...); fmt.Sprint(again) != fmt.Sprint(chains) {
		t.Error("another pull gives other chains")
	}
	deadline := time.Now().Add(60 * time.Second)
	for len(staged(t)) > 0 && time.Now().Before(deadline) { // a worker of the last kill may take a moment to die
		if _, err := s.GC(ctx, func(digest.Digest) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	if left := staged(t); len(left) > 0 {
		t.Errorf("left in the stage: %v", left)
	}
}

// storeRoot is where the store of the running test is.
var storeRoot string

func staged(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, dir := range []string{"stage", "trash"} {
		entries, err := os.ReadDir(filepath.Join(storeRoot, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, dir+"/"+e.Name())
		}
	}
	return out
}

func layerPath(chain digest.Digest) string {
	return filepath.Join(storeRoot, "layers", strings.Replace(string(chain), ":", "-", 1), "fs")
}

// sum is a digest of names, modes and contents.
func sum(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(h, strings.TrimPrefix(path, dir), info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := io.Copy(h, f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
