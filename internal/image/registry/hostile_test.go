package registry_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/credential"
	"github.com/bulkhead-engine/bulkhead/internal/image/reference"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const password = "hunter2"

// A lair is a hostile registry, the server that it tries to send us to, and a client of ours.
type lair struct {
	t         *testing.T
	host      string // of the registry
	elsewhere string // host of the other server, on another address of loopback
	client    *registry.Client
	ref       reference.Reference
	content   []byte // of a blob
	blob      v1.Descriptor
	manifest  []byte

	mu       sync.Mutex
	requests int
	leaks    []string // requests elsewhere that had a secret
	visits   []string // all requests elsewhere
}

func (l *lair) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+password))
}

// listen serves on an address of loopback until the test ends.
func listen(t *testing.T, address string, h http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = listener
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return listener.Addr().String()
}

func newLair(t *testing.T, handle func(l *lair, w http.ResponseWriter, r *http.Request)) *lair {
	t.Helper()
	l := &lair{t: t, content: make([]byte, 300_000)}
	_, _ = rand.Read(l.content)
	l.blob = v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromBytes(l.content), Size: int64(len(l.content))}
	l.manifest = manifestOf(l.blob, v1.MediaTypeImageManifest)
	l.elsewhere = listen(t, "127.0.0.2:0", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		said := fmt.Sprintf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.visits = append(l.visits, said)
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || strings.Contains(said, password) {
			l.leaks = append(l.leaks, said)
		}
		_, _ = w.Write(l.content)
	})
	l.host = listen(t, "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.requests++
		l.mu.Unlock()
		handle(l, w, r)
	})
	l.client = newClient(t, registry.Options{Credentials: credentials(t, l.host), Endpoints: endpoint.Options{Insecure: []string{l.host}}})
	var err error
	if l.ref, err = reference.Parse(l.host + "/x:1"); err != nil {
		t.Fatal(err)
	}
	return l
}

// credentials is a set with the password for one registry.
func credentials(t *testing.T, host string) *credential.Set {
	t.Helper()
	auths := filepath.Join(t.TempDir(), "auth.json")
	text := fmt.Sprintf(`{"auths":{%q:{"username":"user","password":%q}}}`, host, password)
	if err := os.WriteFile(auths, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := credential.Open(credential.Options{AuthFile: auths})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newClient(t *testing.T, o registry.Options) *registry.Client {
	t.Helper()
	if o.Limits == (transport.Limits{}) {
		o.Limits = transport.Limits{Answer: time.Second, Stall: 300 * time.Millisecond, MaxWait: time.Second, Pause: time.Millisecond, Retries: 2}
	}
	o.Endpoints.CertDirs = append([]string{}, o.Endpoints.CertDirs...)
	if o.Endpoints.Proxy == nil {
		o.Endpoints.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	c, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func manifestOf(layer v1.Descriptor, mediaType string) []byte {
	m := v1.Manifest{MediaType: mediaType, Layers: []v1.Descriptor{layer}}
	m.SchemaVersion = 2
	m.Config = v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: digest.FromString("{}"), Size: 2}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

// What is asked of a hostile registry.
func resolve(l *lair) error {
	_, _, err := l.client.Resolve(l.t.Context(), l.ref)
	return err
}

func head(l *lair) error {
	_, err := l.client.Head(l.t.Context(), l.ref)
	return err
}

func fetch(l *lair) error {
	b, err := l.client.Blob(l.t.Context(), l.ref, l.blob, 0)
	if err != nil {
		return err
	}
	defer b.Close()
	data, err := io.ReadAll(b)
	if err == nil && !bytes.Equal(data, l.content) {
		return errdef.Errorf(errdef.Invalid, "%s: wrong content", l.ref) // what the store would say
	}
	return err
}

func tags(l *lair) error {
	_, err := l.client.Tags(l.t.Context(), l.ref)
	return err
}

func push(l *lair) error {
	_, err := l.client.PushBlob(l.t.Context(), l.ref, l.blob, bytes.NewReader(l.content))
	return err
}

func referrers(l *lair) error {
	_, err := l.client.Referrers(l.t.Context(), l.ref, l.blob.Digest, "")
	return err
}

// send answers with a body and some headers, as name, value, name, value.
func send(w http.ResponseWriter, status int, body string, headers ...string) {
	for i := 0; i+1 < len(headers); i += 2 {
		w.Header().Set(headers[i], headers[i+1])
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// endless writes until nobody listens, or the test is wrong.
func endless(w http.ResponseWriter, text string) {
	block := strings.Repeat(text, 1<<20/len(text))
	for range 1 << 10 {
		if _, err := io.WriteString(w, block); err != nil {
			return
		}
	}
}

// drip writes a byte now and then.
func drip(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	for range 100 {
		if _, err := io.WriteString(w, " "); err != nil || r.Context().Err() != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		time.Sleep(50 * time.Millisecond)
	}
}

// raw answers with bytes that net/http would not send.
func raw(w http.ResponseWriter, write func(c net.Conn)) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	write(c)
}

// authorized answers 401 once, so that what comes after has the password.
func authorized(l *lair, w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Authorization") == l.basic() {
		return true
	}
	send(w, 401, "", "WWW-Authenticate", `Basic realm="x"`)
	return false
}

func bearer(realm string) []string {
	return []string{"WWW-Authenticate", `Bearer realm="` + realm + `",service="s",scope="repository:x:pull"`}
}

type hostile struct {
	name   string
	handle func(l *lair, w http.ResponseWriter, r *http.Request)
	ask    func(l *lair) error
	kind   errdef.Kind
	text   string // in the error; "" for: it is no error, and nothing leaks
}

func TestHostile(t *testing.T) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLair(t, c.handle)
			start := time.Now()
			done := make(chan error, 1)
			go func() { done <- c.ask(l) }()
			var err error
			select {
			case err = <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("it hangs")
			}
			switch {
			case c.text == "" && err != nil:
				t.Errorf("%v", err)
			case c.text != "" && err == nil:
				t.Fatalf("it is let pass")
			case c.text != "" && (!strings.Contains(err.Error(), c.text) || !errdef.Is(err, c.kind)):
				t.Errorf("kind %v, want %v: %v\nwant %q in it", errdef.KindOf(err), c.kind, err, c.text)
			}
			if err != nil {
				if text := err.Error() + errdef.Hint(err); len(text) > 1200 || strings.Contains(text, password) || strings.Contains(text, "sig=") || strings.ContainsAny(text, "\x1b\n") {
					t.Errorf("the error has too much in it: %d bytes, %.2000q", len(text), text)
				}
				if !strings.Contains(err.Error(), l.host) {
					t.Errorf("the registry is not named: %v", err)
				}
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.leaks) > 0 {
				t.Errorf("a secret went elsewhere: %q", l.leaks)
			}
			t.Logf("%v in %v, %d requests, %d elsewhere", err, time.Since(start).Round(time.Millisecond), l.requests, len(l.visits))
		})
	}
}

func cases() []hostile {
	all := append(bodies(), redirects()...)
	all = append(all, types()...)
	all = append(all, lists()...)
	all = append(all, challenges()...)
	return append(all, uploads()...)
}
