package image

import (
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"alpine", "alpine", true},
		{"alpine:latest", "alpine", true},
		{"alpine:3", "alpine", false},
		{"al*", "alpine", true},
		{"*", "alpine", true},
		{"*", "team/app", false},
		{"team/*", "team/app:1", true},
		{"*/*:1", "team/app:1", true},
		{"docker.io/library/alpine", "alpine", true},
		{"docker.io/library/al*", "alpine", false}, // as Docker
		{"docker.io/library/alpine:3", "alpine", false},
		{"quay.io/team/app", "quay.io/team/app:1", true},
		{"app", "quay.io/team/app:1", false},
		{"quay.io/team/*", "quay.io/team/app:1", true},
		{"localhost:5000/x", "localhost:5000/x:2", true},
	} {
		ref, err := reference.Parse(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := matches(c.pattern, ref); got != c.want {
			t.Errorf("%s of %s: %v", c.pattern, c.name, got)
		}
	}
}
