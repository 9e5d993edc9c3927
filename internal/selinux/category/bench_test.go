package category

import (
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkDraw claims and releases beside 1000 claims.
func BenchmarkDraw(b *testing.B) {
	p, err := Open(filepath.Join(b.TempDir(), "pool"))
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	for n := range 1000 {
		if _, err := p.draw(b.Context(), fmt.Sprint("c", n)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		pair, err := p.draw(b.Context(), "c")
		if err == nil {
			err = p.Release(b.Context(), "c", "s0:"+categoryName(pair))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
