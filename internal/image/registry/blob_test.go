package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// breaking serves the blob and breaks the connection off after a part of what is left.
func breaking(ranges bool, part func(left int) int) func(l *lair, w http.ResponseWriter, r *http.Request) {
	return func(l *lair, w http.ResponseWriter, r *http.Request) {
		first := 0
		if text, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && ranges {
			first, _ = strconv.Atoi(strings.TrimSuffix(text, "-"))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(l.content)-1, len(l.content)))
		}
		left := l.content[first:]
		w.Header().Set("Content-Length", strconv.Itoa(len(left)))
		if first > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		n := part(len(left))
		_, _ = w.Write(left[:n])
		_ = http.NewResponseController(w).Flush()
		if n < len(left) {
			panic(http.ErrAbortHandler)
		}
	}
}

func TestBlobResumes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		ranges bool
		part   func(int) int
	}{
		"with ranges":    {true, func(left int) int { return min(left, 65_536+random.IntN(50_000)) }},
		"without ranges": {false, func(left int) int { return min(left, 80_000*(1+random.IntN(5))) }},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				l := newLair(t, breaking(c.ranges, c.part))
				l.content = l.content[:200_000+random.IntN(100_000)]
				l.blob.Size = int64(len(l.content))
				offset := random.IntN(1000)
				b, err := l.client.Blob(t.Context(), l.ref, l.blob, int64(offset))
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(b)
				b.Close()
				if c.ranges && err != nil || err == nil && !bytes.Equal(data, l.content[offset:]) || err != nil && !errdef.Is(err, errdef.Unavailable) {
					t.Errorf("%d of %d bytes, %v", len(data), len(l.content)-offset, err)
				}
				if !bytes.HasPrefix(l.content[offset:], data) {
					t.Error("a wrong byte")
				}
			}
		})
	}
}

// TestBlobThatStalls is one whose connection stays open and silent in the middle.
func TestBlobThatStalls(t *testing.T) {
	first := true
	l := newLair(t, func(l *lair, w http.ResponseWriter, r *http.Request) {
		if first {
			first = false
			w.Header().Set("Content-Length", strconv.Itoa(len(l.content)))
			_, _ = w.Write(l.content[:1000])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		breaking(true, func(left int) int { return left })(l, w, r)
	})
	start := time.Now()
	if err := fetch(l); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 300*time.Millisecond || d > 5*time.Second {
		t.Errorf("it took %v; 300 ms without progress were to pass", d)
	}
}

// TestSlowReader takes its time between reads: that is no fault of the registry's.
func TestSlowReader(t *testing.T) {
	l := newLair(t, breaking(true, func(left int) int { return left }))
	b, err := l.client.Blob(t.Context(), l.ref, l.blob, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var got []byte
	p := make([]byte, 40_000)
	for range 3 {
		n, err := io.ReadFull(b, p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p[:n]...)
		time.Sleep(400 * time.Millisecond)
	}
	rest, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(append(got, rest...), l.content) {
		t.Errorf("%d bytes, %v", len(got)+len(rest), err)
	}
	if l.requests != 1 {
		t.Errorf("%d requests", l.requests)
	}
}

// TestUploadThatStalls is one whose bytes nobody takes.
func TestUploadThatStalls(t *testing.T) {
	l := newLair(t, func(l *lair, w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodHead:
			send(w, 404, "")
		case http.MethodPost:
			send(w, 202, "", "Location", "/upload")
		default:
			select {
			case <-r.Context().Done():
			case <-time.After(15 * time.Second):
			}
		}
	})
	content := make([]byte, 64<<20)
	desc := v1.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	start := time.Now()
	_, err := l.client.PushBlob(t.Context(), l.ref, desc, bytes.NewReader(content))
	if !errdef.Is(err, errdef.Timeout) || !strings.Contains(err.Error(), "PUT http://"+l.host+"/upload: no answer in 1s") || time.Since(start) > 12*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestBlobIsCanceled(t *testing.T) {
	l := newLair(t, func(l *lair, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.content)))
		_, _ = w.Write(l.content[:1000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c := newClient(t, registry.Options{Limits: transport.Limits{Stall: time.Minute}})
	ctx, cancel := context.WithCancel(t.Context())
	b, err := c.Blob(ctx, l.ref, l.blob, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	time.AfterFunc(50*time.Millisecond, cancel)
	start := time.Now()
	_, err = io.ReadAll(b)
	if !errdef.Is(err, errdef.Timeout) || time.Since(start) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

func TestRetries(t *testing.T) {
	var times []time.Time
	answers := []int{503, 429, 200}
	l := newLair(t, func(l *lair, w http.ResponseWriter, _ *http.Request) {
		status := answers[min(len(times), 2)]
		times = append(times, time.Now())
		if status != 200 {
			send(w, status, "", "Retry-After", "1")
			return
		}
		send(w, 200, string(l.manifest), "Content-Type", ociManifest)
	})
	if err := resolve(l); err != nil {
		t.Fatal(err)
	}
	if len(times) != 3 || times[1].Sub(times[0]) < time.Second || times[2].Sub(times[1]) < time.Second {
		t.Errorf("asked at %v", times)
	}
	// What stays is told, after as many tries as there may be.
	n := 0
	l = newLair(t, func(_ *lair, w http.ResponseWriter, _ *http.Request) {
		n++
		send(w, 502, "")
	})
	if err := resolve(l); !errdef.Is(err, errdef.Unavailable) || n != 3 {
		t.Errorf("%d tries, %v", n, err)
	}
}

// TestPlainHTTP is told of, and gets no password unless it is named.
func TestPlainHTTP(t *testing.T) {
	l := newLair(t, func(l *lair, w http.ResponseWriter, r *http.Request) {
		if authorized(l, w, r) {
			send(w, 200, string(l.manifest), "Content-Type", ociManifest)
		}
	})
	var told []string
	options := registry.Options{Endpoints: endpoint.Options{Notice: func(s string) { told = append(told, s) }}}
	options.Credentials = credentials(t, l.host)
	c := newClient(t, options)
	_, _, err := c.Resolve(t.Context(), l.ref)
	if !errdef.Is(err, errdef.Denied) || !strings.Contains(err.Error(), "asks for a password over plain HTTP") || !strings.Contains(errdef.Hint(err), "insecure") {
		t.Errorf("%v; %s", err, errdef.Hint(err))
	}
	if len(told) != 1 || !strings.Contains(told[0], l.host+" speaks plain HTTP") {
		t.Errorf("told %q", told)
	}
	if err := resolve(l); err != nil {
		t.Errorf("named: %v", err)
	}
	options.Endpoints.Insecure = []string{"127.0.0.0/8"}
	if _, _, err := newClient(t, options).Resolve(t.Context(), l.ref); err != nil {
		t.Errorf("a range: %v", err)
	}
}

// TestMirrors asks them in their order, keeps the reasons, and falls back.
func TestMirrors(t *testing.T) {
	good := func(l *lair, w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write(l.content)
			return
		}
		send(w, 200, string(l.manifest), "Content-Type", ociManifest)
	}
	origin := newLair(t, good)
	bad := newLair(t, func(_ *lair, w http.ResponseWriter, _ *http.Request) { send(w, 404, "") })
	wrong := newLair(t, func(l *lair, w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = w.Write(make([]byte, len(l.content)))
			return
		}
		send(w, 200, "{}", "Content-Type", ociManifest)
	})
	var paths []string
	mirror := newLair(t, func(l *lair, w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		good(origin, w, r)
	})
	with := func(mirrors ...string) *registry.Client {
		return newClient(t, registry.Options{Endpoints: endpoint.Options{Mirrors: map[string][]string{origin.host: mirrors}}})
	}
	c := with("127.0.0.1:1", "http://"+bad.host, wrong.host, mirror.host+"/cache/hub")
	if _, data, err := c.Resolve(t.Context(), origin.ref); err != nil || !bytes.Equal(data, origin.manifest) {
		t.Fatalf("%v", err)
	}
	if origin.requests != 0 || len(paths) != 1 || paths[0] != "/v2/cache/hub/x/manifests/1" {
		t.Errorf("origin was asked %d times, the mirror %q", origin.requests, paths)
	}
	b, err := with(wrong.host).Blob(t.Context(), origin.ref, origin.blob, 0)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(b); err != nil || bytes.Equal(data, origin.content) {
		t.Fatalf("the mirror was to lie: %v", err)
	}
	if !b.Reject() {
		t.Error("there is somebody else to ask")
	}
	b.Close()

	c = with(wrong.host)
	b, _ = c.Blob(t.Context(), origin.ref, origin.blob, 0)
	b.Reject()
	b.Close()
	b, err = c.Blob(t.Context(), origin.ref, origin.blob, 0)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(b); err != nil || !bytes.Equal(data, origin.content) {
		t.Errorf("after the mirror was rejected: %v", err)
	}
	b.Close()

	// Nobody has it: all reasons.
	c = newClient(t, registry.Options{Endpoints: endpoint.Options{Mirrors: map[string][]string{bad.host: {"127.0.0.1:1", wrong.host}}}, Limits: quick()})
	_, _, err = c.Resolve(t.Context(), bad.ref)
	if !errdef.Is(err, errdef.NotFound) || !strings.Contains(err.Error(), "mirror 127.0.0.1:1: ") || !strings.Contains(err.Error(), "mirror "+wrong.host) {
		t.Errorf("%v", err)
	}
	if _, err := registry.New(registry.Options{Endpoints: endpoint.Options{Mirrors: map[string][]string{"docker.io": {"http://mirror.test"}}}}); !errdef.Is(err, errdef.Denied) {
		t.Errorf("a mirror over plain HTTP that is not named: %v", err)
	}
}

func quick() transport.Limits {
	return transport.Limits{Answer: time.Second, Stall: time.Second, Pause: time.Millisecond, Retries: -1}
}
