package layer_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/layer"
)

// BenchmarkUnpack unpacks the layer that BULKHEAD_BENCH_LAYER names, a file of bench/layerimage ending with .tar, .gz or .zst; without, a small one.
// B/peak is the worker's memory.
func BenchmarkUnpack(b *testing.B) {
	ctx := context.Background()
	w := start(b, layer.Options{})
	path := os.Getenv("BULKHEAD_BENCH_LAYER")
	var f *os.File
	if path == "" {
		f = stream(b, archive(b, entry{name: "d/"}, entry{name: "d/f", body: "hello"}))
	} else {
		var err error
		if f, err = os.Open(path); err != nil {
			b.Fatal(err)
		}
		defer f.Close()
	}
	media := plain
	switch {
	case strings.HasSuffix(path, ".gz"):
		media += "+gzip"
	case strings.HasSuffix(path, ".zst"):
		media += "+zstd"
	}
	n := 0
	for b.Loop() {
		if _, err := f.Seek(0, 0); err != nil {
			b.Fatal(err)
		}
		n++
		r, err := w.Unpack(ctx, layer.Request{Name: strconv.Itoa(n), Stream: f, MediaType: media})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.SetBytes(r.Bytes)
		b.ReportMetric(float64(r.Peak), "B/peak")
		if err := w.Remove(ctx, strconv.Itoa(n)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
