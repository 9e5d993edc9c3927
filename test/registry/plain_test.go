package registry

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestBoth pushes, pulls and lists, in both dialects, with skopeo on the other side.
func TestBoth(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		s := start(t, kind, "", "")
		for name, f := range forms {
			t.Run(name, func(t *testing.T) { roundTrip(t, s, name, f) })
		}
	})
}

func roundTrip(t *testing.T, s *server, name string, f form) {
	c := client(t, registry.Options{})
	here := openStore(t)
	desc := index(t, here, f, 100)
	ref := parse(t, s.host+"/team/"+name+":1.0")
	if err := c.Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	// skopeo reads it, with the digest that it has here, and brings it elsewhere.
	if raw := skopeo(t, "inspect", "--raw", "--tls-verify=false", "docker://"+ref.String()); raw == "" {
		t.Error("nothing to inspect")
	} else if data, err := here.Bytes(desc.Digest, 1<<20); err != nil || string(data) != raw {
		t.Errorf("skopeo reads %q, %v", raw, err)
	}
	copied := s.host + "/copied/" + name + ":2.0"
	skopeo(t, "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+ref.String(), "docker://"+copied)

	// What skopeo pushed, we pull: by tag, and by digest.
	there := openStore(t)
	got, err := pull(t.Context(), c, parse(t, copied), there)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != desc.Digest || got.Size != desc.Size || got.MediaType != desc.MediaType {
		t.Errorf("pushed %+v, pulled %+v", desc, got)
	}
	whole(t, there, got)
	byDigest, _, err := c.Resolve(t.Context(), parse(t, s.host+"/copied/"+name+"@"+desc.Digest.String()))
	if err != nil || byDigest.Digest != desc.Digest {
		t.Errorf("by digest: %+v, %v", byDigest, err)
	}
	tags, err := c.Tags(t.Context(), parse(t, copied))
	if err != nil || !slices.Equal(tags, []string{"2.0"}) {
		t.Errorf("tags %q, %v", tags, err)
	}
	_, _, err = c.Resolve(t.Context(), parse(t, s.host+"/copied/"+name+":none"))
	if !errdef.Is(err, errdef.NotFound) || !strings.Contains(err.Error(), ":none: GET") {
		t.Errorf("a tag that is not there: %v", err)
	}
	_, err = c.Blob(t.Context(), ref, v1.Descriptor{Digest: desc.Digest[:len(desc.Digest)-4] + "0000", Size: 10}, 0)
	if !errdef.Is(err, errdef.NotFound) {
		t.Errorf("a blob that is not there: %v", err)
	}
}
