package plan

import (
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/runtime/bundle"
)

func BenchmarkCompile(b *testing.B) {
	spec := bundle.Default(false)
	spec.Process.Terminal = false
	spec.Mounts = spec.Mounts[:len(spec.Mounts)-1]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(&Input{Spec: spec, Bundle: "/b", ID: "x", Run: true, Facts: &Facts{LastCap: 40}}); err != nil {
			b.Fatal(err)
		}
	}
}
