package selinux

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkRelabel walks 10 000 files in 100 directories whose labels all change, and whose labels are right.
func BenchmarkRelabel(b *testing.B) {
	root := filepath.Join(b.TempDir(), "root")
	for d := range 100 {
		dir := filepath.Join(root, fmt.Sprint("d", d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 100 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("f", f)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	for _, change := range []bool{true, false} {
		b.Run(fmt.Sprint("change=", change), func(b *testing.B) {
			for n := range b.N {
				label := "right"
				if change {
					label = fmt.Sprint("label", n)
				}
				r := relabeller{name: root, label: label, attribute: testAttribute()}
				if _, err := r.run(b.Context(), fd); err != nil {
					b.Skip(err)
				}
			}
		})
	}
}

// BenchmarkGuard is what every relabelling costs before it begins.
func BenchmarkGuard(b *testing.B) {
	for b.Loop() {
		if _, err := newGuard(nil); err != nil {
			b.Fatal(err)
		}
	}
}
