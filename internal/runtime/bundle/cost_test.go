package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
)

// TestCost gives every list as many elements as a document may have. A check that compares each with each would take minutes.
func TestCost(t *testing.T) {
	const n = ocijson.MaxElements - 100
	list := func(element string) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	const start, end = `{"ociVersion":"1.0.0","root":{"path":"r"},"process":{"args":["a"],"cwd":"/"`, `}`
	docs := map[string]string{
		"args":       strings.Replace(start, `["a"]`, list(`"a"`), 1) + `}` + end,
		"env":        start + `,"env":` + list(`"A=b"`) + `}` + end,
		"bad env":    start + `,"env":` + list(`"A"`) + `}` + end,
		"rlimits":    start + `,"rlimits":` + list(`{"type":"RLIMIT_CPU"}`) + `}` + end,
		"unknown":    start + `,"rlimits":` + list(`{}`) + `}` + end,
		"caps":       start + `,"capabilities":{"bounding":` + list(`"CAP_X"`) + `}}` + end,
		"groups":     start + `,"user":{"additionalGids":` + list("1") + `}}` + end,
		"namespaces": start + `},"linux":{"namespaces":` + list(`{"type":"pid"}`) + `}` + end,
		"mappings":   start + `},"linux":{"namespaces":[{"type":"user"}],"uidMappings":` + list(`{"size":1}`) + `}` + end,
		"mounts":     start + `},"mounts":` + list(`{"destination":"a","type":"tmpfs"}`) + end,
		"options":    start + `},"mounts":[{"destination":"/a","type":"tmpfs","options":` + list(`"x=1"`) + `}]` + end,
		"cpus":       start + `},"linux":{"resources":{"cpu":{"cpus":"` + strings.Repeat("1,", n) + `"}}}` + end,
		"devices":    start + `},"linux":{"devices":` + list(`{"path":"/a","type":"p"}`) + `}` + end,
		"masked":     start + `},"linux":{"namespaces":[{"type":"mount"}],"maskedPaths":` + list(`"/a"`) + `}` + end,
		"syscalls":   start + `},"linux":{"seccomp":{"defaultAction":"A","syscalls":` + list(`{}`) + `}}` + end,
		"version":    strings.Replace(start, "1.0.0", "1.0.0-"+strings.Repeat("a.", n)+"a", 1) + `}` + end,
		"cgroup":     start + `},"linux":{"cgroupsPath":"` + strings.Repeat("/a", n) + `"}` + end,
	}
	for name, doc := range docs {
		began := time.Now()
		_, _, err := parse([]byte(doc))
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s: %v for %d bytes (%v)", name, d, len(doc), err)
		}
	}
}

// BenchmarkLoad reads a bundle as Docker writes it, file system included.
func BenchmarkLoad(b *testing.B) {
	data, err := os.ReadFile("../../ocijson/testdata/docker.json")
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	root := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(root, 0o755); err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), `"root":{"path":"`)
	path, _, _ := strings.Cut(rest, `"`)
	doc := strings.Replace(string(data), path, root, 1)
	if err := os.WriteFile(filepath.Join(dir, ConfigName), []byte(doc), 0o644); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(dir); err != nil {
			b.Fatal(err)
		}
	}
}

// TestExamples loads what engines write: it must be valid.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../ocijson/testdata/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := parse(data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
