package registry

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
	"github.com/bulkhead-engine/bulkhead/internal/image/store"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A wire stands between a client and a registry and breaks after a number of bytes.
type wire struct {
	host string
	to   atomic.Pointer[string]
	most func() int // bytes that a connection carries in either direction; negative: any number

	mu   sync.Mutex
	open map[net.Conn]bool
	cuts int
}

func newWire(t *testing.T, to string, most func() int) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{host: listener.Addr().String(), most: most, open: map[net.Conn]bool{}}
	w.to.Store(&to)
	var group sync.WaitGroup
	group.Go(func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { w.carry(here) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		w.cut()
		group.Wait()
	})
	return w
}

func (w *wire) carry(here net.Conn) {
	there, err := net.Dial("tcp", *w.to.Load())
	if err != nil {
		here.Close()
		return
	}
	w.mu.Lock()
	w.open[here], w.open[there] = true, true
	most := w.most()
	w.mu.Unlock()
	var group sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(most))
	one := func(to, from net.Conn) {
		defer to.Close()
		defer from.Close()
		p := make([]byte, 16<<10)
		for {
			n, err := from.Read(p)
			if most >= 0 && left.Add(-int64(n)) < 0 {
				w.mu.Lock()
				w.cuts++
				w.mu.Unlock()
				return
			}
			if _, e := to.Write(p[:n]); err != nil || e != nil {
				return
			}
		}
	}
	group.Go(func() { one(there, here) })
	group.Go(func() { one(here, there) })
	group.Wait()
	w.mu.Lock()
	delete(w.open, here)
	delete(w.open, there)
	w.mu.Unlock()
}

// breaks is how often it broke.
func (w *wire) breaks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts
}

// cut ends all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		c.Close()
	}
}

// patient is a client that tries often and waits little.
func patient(t *testing.T, host string, chunk int64) *registry.Client {
	t.Helper()
	o := named(host)
	o.Chunk = chunk
	o.Limits = transport.Limits{Pause: time.Millisecond, Retries: 8}
	return client(t, o)
}

// TestBrokenPull pulls over a wire that breaks every so many bytes, until everything is here: each try keeps what it got.
func TestBrokenPull(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		s := start(t, kind, "", "")
		here := openStore(t)
		desc := image(t, here, forms["oci"], 500, 1_000_000, 300_000, 2_000_000)
		if err := client(t, registry.Options{}).Push(t.Context(), parse(t, s.host+"/x:1"), desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(5, 6))
		w := newWire(t, s.host, func() int { return 2_000 + random.IntN(120_000) })
		there := openStore(t)
		ref := parse(t, w.host+"/x:1")
		tries := 0
		for {
			tries++
			got, err := pull(t.Context(), patient(t, w.host, 0), ref, there)
			if err == nil {
				if got.Digest != desc.Digest {
					t.Errorf("%s", got.Digest)
				}
				break
			}
			if !errdef.Is(err, errdef.Unavailable) {
				t.Fatalf("try %d: kind %v: %v", tries, errdef.KindOf(err), err)
			}
			if tries == 50 {
				t.Fatalf("it does not come to an end: %v", err)
			}
		}
		whole(t, there, desc)
		if w.breaks() < 10 {
			t.Errorf("the wire broke %d times: nothing was tested", w.breaks())
		}
		t.Logf("%d tries, %d breaks", tries, w.breaks())
	})
}

// TestBrokenPush pushes over such a wire, in one piece and in chunks, and repeats it until it is done.
func TestBrokenPush(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		for name, c := range map[string]struct {
			chunk int64
			most  int
		}{
			"whole":  {0, 500_000},
			"chunks": {50_000, 150_000},
		} {
			t.Run(name, func(t *testing.T) {
				s := start(t, kind, "", "")
				if kind == "debian" {
					c.most = 700_000 // it loses an upload of which a part of a chunk has arrived, so that now and then a whole blob has to pass
				}
				here := openStore(t)
				desc := image(t, here, forms["docker"], 510, 300_000, 20_000, 400_000)
				random := rand.New(rand.NewPCG(7, 8))
				w := newWire(t, s.host, func() int { return 10_000 + random.IntN(c.most) })
				for n := 0; w.breaks() < 6; n++ {
					if n == 50 {
						t.Fatalf("the wire broke %d times: nothing was tested", w.breaks())
					}
					name := "/x" + strconv.Itoa(n) + ":1"
					pushUntilDone(t, patient(t, w.host, c.chunk), parse(t, w.host+name), desc, here)
					there := openStore(t)
					got, err := pull(t.Context(), client(t, registry.Options{}), parse(t, s.host+name), there)
					if err != nil || got.Digest != desc.Digest {
						t.Fatalf("%v, %v", got.Digest, err)
					}
					whole(t, there, desc)
				}
			})
		}
	})
}

func pushUntilDone(t *testing.T, c *registry.Client, ref reference.Reference, desc v1.Descriptor, from *store.Store) {
	t.Helper()
	for range 60 {
		err := c.Push(t.Context(), ref, desc, from, registry.PushOptions{})
		if err == nil {
			return
		}
		if !errdef.Is(err, errdef.Unavailable) {
			t.Fatalf("kind %v: %v", errdef.KindOf(err), err)
		}
	}
	t.Fatal("it does not come to an end")
}

// TestRegistryDies in the middle of a pull and comes back, at the same address: the pull goes on by itself.
func TestRegistryDies(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		root := t.TempDir()
		s := startAt(t, kind, root, "", "")
		here := openStore(t)
		desc := image(t, here, forms["oci"], 520, 3_000_000)
		w := newWire(t, s.host, func() int { return -1 })
		ref := parse(t, w.host+"/x:1")
		o := named(w.host)
		o.Limits = transport.Limits{Pause: 100 * time.Millisecond, Retries: -1} // so that it is the blob that waits
		c := client(t, o)
		if err := c.Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		m := layers(t, here, desc)[0]
		blob, err := c.Blob(t.Context(), ref, m, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer blob.Close()
		var got bytes.Buffer
		if _, err := io.CopyN(&got, blob, 100_000); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		w.cut()
		back := make(chan *server, 1)
		go func() {
			time.Sleep(time.Second)
			again := startAt(t, kind, root, "", "")
			w.to.Store(&again.host)
			back <- again
		}()
		if _, err := io.Copy(&got, blob); err != nil {
			t.Error(err)
		}
		<-back
		if want, err := here.Bytes(m.Digest, 1<<30); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes, %v", got.Len(), err)
		}
	})
}

// TestPushIsCanceled at random moments, and repeated.
func TestPushIsCanceled(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		s := start(t, kind, "", "")
		random := rand.New(rand.NewPCG(9, 10))
		here := openStore(t)
		desc := image(t, here, forms["oci"], 530, 200_000, 100_000, 50_000)
		canceled := 0
		for n := range 20 {
			ref := parse(t, s.host+"/x"+strconv.Itoa(n)+":1")
			c := client(t, named(s.host))
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(60))*time.Millisecond)
			err := c.Push(ctx, ref, desc, here, registry.PushOptions{})
			cancel()
			if err != nil {
				canceled++
				if !errdef.Is(err, errdef.Timeout) {
					t.Fatalf("kind %v: %v", errdef.KindOf(err), err)
				}
			}
			if err := c.Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
				t.Fatal(err)
			}
			if got, err := c.Head(t.Context(), ref); err != nil || got.Digest != desc.Digest {
				t.Fatalf("%v, %v", got.Digest, err)
			}
		}
		if canceled < 3 {
			t.Errorf("%d of 20 were canceled: nothing was tested", canceled)
		}
	})
}

// TestTooLarge has a proxy in front of the registry that takes no large requests, as many have: the blob is sent in chunks.
func TestTooLarge(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		s := start(t, kind, "", "")
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.host})
		var mu sync.Mutex
		patches := 0
		host := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > 33<<20 {
				http.Error(w, "413", http.StatusRequestEntityTooLarge)
				return
			}
			if r.Method == http.MethodPatch {
				mu.Lock()
				patches++
				mu.Unlock()
			}
			proxy.ServeHTTP(w, r)
		}))
		here := openStore(t)
		desc := image(t, here, forms["oci"], 540, 34<<20)
		ref := parse(t, host+"/large:1")
		if err := client(t, named(host)).Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		if patches != 2 {
			t.Errorf("%d chunks", patches)
		}
		there := openStore(t)
		if _, err := pull(t.Context(), client(t, named(host)), ref, there); err != nil {
			t.Fatal(err)
		}
		whole(t, there, desc)
	})
}

// TestRateLimit answers 429 to everything now and then.
func TestRateLimit(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		s := start(t, kind, "", "")
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.host})
		var n atomic.Int64
		host := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%3 == 0 && !strings.Contains(r.URL.RawQuery, "digest=") {
				w.Header().Set("Retry-After", "0")
				http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS"}]}`, http.StatusTooManyRequests)
				return
			}
			proxy.ServeHTTP(w, r)
		}))
		here, there := openStore(t), openStore(t)
		desc := index(t, here, forms["oci"], 550)
		ref := parse(t, host+"/limited:1")
		if err := client(t, named(host)).Push(t.Context(), ref, desc, here, registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := pull(t.Context(), client(t, named(host)), ref, there); err != nil {
			t.Fatal(err)
		}
		whole(t, there, desc)
	})
}
