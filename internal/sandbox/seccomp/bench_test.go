package seccomp

import (
	"os"
	"testing"
)

func BenchmarkCompile(b *testing.B) {
	for _, name := range []string{"docker.json", "podman.json"} {
		p := readProfile(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Compile(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCachedHit(b *testing.B) {
	p := readProfile(b, "docker.json")
	dir := b.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	if _, err := Cached(dir, p); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Cached(dir, p); err != nil {
			b.Fatal(err)
		}
	}
}
