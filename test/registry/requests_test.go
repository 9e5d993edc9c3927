package registry

import (
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
)

// TestRequests counts what is asked of a registry: nothing twice, and for an image that is here already one small question.
func TestRequests(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		s := count(t, start(t, kind, "", ""))
		here, there := openStore(t), openStore(t)
		desc := image(t, here, forms["oci"], 200, 1000, 2000, 3000)
		ref := parse(t, s.host+"/count:1")

		if err := client(t, named(s.host)).Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		if seen := s.take(); len(seen) != 1+4*3+1 { // is it there; for each blob: is it there, begin, send; the manifest
			t.Errorf("a push of four blobs: %d requests: %q", len(seen), seen)
		}
		if err := client(t, named(s.host)).Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		if seen := s.take(); len(seen) != 2 {
			t.Errorf("a push of what is there: %q", seen)
		}
		c := client(t, named(s.host))
		if _, err := pull(t.Context(), c, ref, there); err != nil {
			t.Fatal(err)
		}
		if seen := s.take(); len(seen) != 5 {
			t.Errorf("a pull of four blobs: %q", seen)
		}
		if _, err := pull(t.Context(), client(t, named(s.host)), ref, there); err != nil {
			t.Fatal(err)
		}
		if seen := s.take(); len(seen) != 1 || !strings.HasPrefix(seen[0], "HEAD /v2/count/manifests/1") {
			t.Errorf("a second pull: %q", seen)
		}
		// One layer more: only that layer, its configuration and the manifest are sent; in another repository nothing is, but for the manifest.
		more := image(t, here, forms["oci"], 200, 1000, 2000, 3000, 4000)
		if err := c.Push(t.Context(), ref, more, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		if sent := only(s.take(), "PUT /v2/count/blobs/"); len(sent) != 2 {
			t.Errorf("one layer more: %q", sent)
		}
	})
}

func only(seen []string, prefix string) []string {
	var out []string
	for _, line := range seen {
		if strings.HasPrefix(line, prefix) {
			out = append(out, line)
		}
	}
	return out
}
