package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestReferrersInPages asks a registry that knows them: two pages, and no filter in spite of the question.
func TestReferrersInPages(t *testing.T) {
	entry := func(n int, artifactType string) v1.Descriptor {
		return v1.Descriptor{MediaType: ociManifest, Digest: digest.FromString(fmt.Sprint(n)), Size: 2, ArtifactType: artifactType}
	}
	l := newLair(t, func(_ *lair, w http.ResponseWriter, r *http.Request) {
		index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{entry(1, "a/a"), entry(2, "b/b")}}
		index.SchemaVersion = 2
		w.Header().Set("Content-Type", v1.MediaTypeImageIndex)
		if r.URL.Query().Get("page") == "" {
			w.Header().Set("Link", "<?page=2>; rel=next")
		} else {
			index.Manifests = []v1.Descriptor{entry(3, "a/a")}
		}
		_ = json.NewEncoder(w).Encode(index)
	})
	list, err := l.client.Referrers(t.Context(), l.ref, l.blob.Digest, "a/a")
	if err != nil || len(list) != 2 || list[0].Digest != digest.FromString("1") || list[1].Digest != digest.FromString("3") {
		t.Errorf("%+v, %v", list, err)
	}
	if l.requests != 2 {
		t.Errorf("%d requests", l.requests)
	}
}

// TestSubjectIsUnderstood leaves the index under a tag alone where the registry keeps referrers itself.
func TestSubjectIsUnderstood(t *testing.T) {
	var puts []string
	l := newLair(t, func(_ *lair, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPut {
			puts = append(puts, r.URL.Path)
			w.Header().Set("OCI-Subject", digest.FromString("subject").String())
			w.WriteHeader(http.StatusCreated)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	})
	data := []byte(strings.Replace(string(l.manifest), `"config"`, `"subject":{"mediaType":"`+ociManifest+`","digest":"`+digest.FromString("subject").String()+`","size":1},"config"`, 1))
	desc := v1.Descriptor{MediaType: ociManifest, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := l.client.PushManifest(t.Context(), l.ref, desc, data); err != nil {
		t.Fatal(err)
	}
	if len(puts) != 1 || puts[0] != "/v2/x/manifests/1" {
		t.Errorf("%q", puts)
	}
}

// TestOutcomes have words.
func TestOutcomes(t *testing.T) {
	if got := fmt.Sprint(registry.Present, registry.Mounted, registry.Sent); got != "present mounted sent" {
		t.Error(got)
	}
}
