package registry

import (
	"io"
	"net/http"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
)

// BenchmarkBlob fetches a blob of 64 MiB from Debian's registry: by net/http alone, and by the client.
func BenchmarkBlob(b *testing.B) {
	s, here := benchServer(b)
	desc := image(b, here, forms["oci"], 700, 64<<20)
	ref := parse(b, s.host+"/bench:1")
	c := client(b, registry.Options{})
	if err := c.Push(b.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
		b.Fatal(err)
	}
	blob := layers(b, here, desc)[0]
	b.Run("net-http", func(b *testing.B) {
		b.SetBytes(blob.Size)
		for b.Loop() {
			resp, err := http.Get("http://" + s.host + "/v2/bench/blobs/" + blob.Digest.String())
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || n != blob.Size {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		b.SetBytes(blob.Size)
		for b.Loop() {
			r, err := c.Blob(b.Context(), ref, blob, 0)
			if err != nil {
				b.Fatal(err)
			}
			n, err := io.Copy(io.Discard, r)
			r.Close()
			if err != nil || n != blob.Size {
				b.Fatal(n, err)
			}
		}
	})
}

func benchServer(b *testing.B) (*server, *store.Store) {
	b.Helper()
	if programs["debian"] == "" {
		b.Skip("docker-registry is not installed: test/install does that")
	}
	return start(b, "debian", "", ""), openStore(b)
}

// BenchmarkSecondPull asks, with a new client each time, whether a tag still stands for what is here.
func BenchmarkSecondPull(b *testing.B) {
	s, here := benchServer(b)
	desc := image(b, here, forms["oci"], 710, 1000)
	ref := parse(b, s.host+"/bench:1")
	if err := client(b, registry.Options{}).Push(b.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c := client(b, registry.Options{})
		if got, err := c.Head(b.Context(), ref); err != nil || got.Digest != desc.Digest {
			b.Fatal(got, err)
		}
		c.Close()
	}
}
