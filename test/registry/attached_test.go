package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestReferrers attaches artifacts to an image in registries that know no referrers: an index under a tag stands in for them.
func TestReferrers(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		s := start(t, kind, "", "")
		c := client(t, registry.Options{})
		here := openStore(t)
		subject := image(t, here, forms["oci"], 600, 1000)
		ref := parse(t, s.host+"/signed:1")
		if err := c.Push(t.Context(), ref, subject, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		if list, err := c.Referrers(t.Context(), ref, subject.Digest, ""); err != nil || len(list) != 0 {
			t.Fatalf("nothing is attached: %v, %v", list, err)
		}
		var want []digest.Digest
		for n, artifactType := range []string{"application/vnd.test.signature", "application/vnd.test.bom", "application/vnd.test.signature"} {
			empty := put(t, here, v1.MediaTypeEmptyJSON, []byte("{}"))
			payload := put(t, here, "application/octet-stream", fmt.Appendf(nil, "payload %d", n))
			m := v1.Manifest{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: artifactType,
				Config: empty, Layers: []v1.Descriptor{payload}, Subject: &subject, Annotations: map[string]string{"n": fmt.Sprint(n)},
			}
			desc := put(t, here, v1.MediaTypeImageManifest, encode(t, m))
			to, err := ref.WithDigest(desc.Digest)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time nothing changes
				if err := c.Push(t.Context(), to, desc, here, registry.PushOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			want = append(want, desc.Digest)
		}
		list, err := c.Referrers(t.Context(), ref, subject.Digest, "")
		if err != nil || len(list) != 3 || list[1].Digest != want[1] || list[1].ArtifactType != "application/vnd.test.bom" || list[1].Annotations["n"] != "1" {
			t.Errorf("%+v, %v", list, err)
		}
		list, err = c.Referrers(t.Context(), ref, subject.Digest, "application/vnd.test.signature")
		if err != nil || len(list) != 2 || list[0].Digest != want[0] || list[1].Digest != want[2] {
			t.Errorf("signatures: %+v, %v", list, err)
		}
		there := openStore(t)
		signature, _ := ref.WithDigest(want[0])
		if got, err := pull(t.Context(), c, signature, there); err != nil || got.Digest != want[0] {
			t.Errorf("%v, %v", got.Digest, err)
		}
	})
}

// TestTags lists more tags than a page has.
func TestTags(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		server := start(t, kind, "", "")
		s := count(t, server)
		c := client(t, named(s.host))
		here := openStore(t)
		desc := image(t, here, forms["oci"], 610, 100)
		ref := parse(t, s.host+"/many:first")
		if err := c.Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		// Put in where the registry keeps them: a thousand requests would take half a minute.
		tags := filepath.Join(server.root, "docker/registry/v2/repositories/many/_manifests/tags")
		want := []string{"first"}
		for n := range 1005 {
			tag := fmt.Sprintf("t%d", n)
			if err := os.CopyFS(filepath.Join(tags, tag), os.DirFS(filepath.Join(tags, "first"))); err != nil {
				t.Fatal(err)
			}
			want = append(want, tag)
		}
		s.take()
		got, err := c.Tags(t.Context(), ref)
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d of %d tags, %v", len(got), len(want), err)
		}
		if seen := s.take(); kind == "v3" && len(seen) != 2 {
			t.Errorf("pages: %q", seen)
		}
		if _, err := c.Tags(t.Context(), parse(t, s.host+"/nothing")); !errdef.Is(err, errdef.NotFound) {
			t.Errorf("tags of nothing: %v", err)
		}
	})
}
