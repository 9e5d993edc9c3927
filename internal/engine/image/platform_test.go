package image

import (
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/manifest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestNormal(t *testing.T) {
	for _, c := range []struct {
		in   ocispec.Platform
		want string
	}{
		{ocispec.Platform{OS: "arm64"}, "linux/arm64"},
		{ocispec.Platform{OS: "linux", Architecture: "x86_64"}, "linux/amd64"},
		{ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, "linux/arm/v7"},
		{ocispec.Platform{OS: "linux", Architecture: "aarch64"}, "linux/arm64"},
	} {
		if got := manifest.FormatPlatform(*normal(&c.in)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.in, got, c.want)
		}
	}
	if normal(nil) != nil {
		t.Error("none is one")
	}
}
