package endpoint

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func newSet(t *testing.T, o Options) *Set {
	t.Helper()
	o.CertDirs = append([]string{}, o.CertDirs...)
	if o.Proxy == nil {
		o.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestNamed(t *testing.T) {
	s := newSet(t, Options{Insecure: []string{"plain.test", "port.test:5000", "10.0.0.0/8", "fd00::/8", "192.168.1.1"}})
	for host, want := range map[string]bool{
		"plain.test": true, "plain.test:5000": true, "PLAIN.test": true,
		"port.test:5000": true, "port.test": false, "port.test:5001": false,
		"10.1.2.3": true, "10.1.2.3:5000": true, "11.1.2.3": false, "[::ffff:10.1.2.3]:5000": true,
		"[fd00::1]": true, "[fd00::1]:5000": true, "[fe80::1]": false,
		"192.168.1.1:80": true, "192.168.1.2": false,
		"10.test": false, "evil-plain.test": false, "plain.test.evil": false, "127.0.0.1": false, "localhost": false,
	} {
		if got := s.Named(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.8.9.10:5000": true, "localhost": true, "localhost:5000": true, "a.localhost": true, "[::1]:5000": true, "LOCALHOST.": true, "[::ffff:127.0.0.1]": true,
		"localhost.evil": false, "127.0.0.1.evil": false, "128.0.0.1": false, "registry.test": false, "notlocalhost": false,
	} {
		if got := s.MayBePlain(host); got != want {
			t.Errorf("%s may be plain: %v", host, got)
		}
	}
	for _, bad := range []string{"", "http://x", "a/b", "x:99999", "a b", "10.0.0.0/33", ".."} {
		if _, err := New(Options{Insecure: []string{bad}}); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCheck(t *testing.T) {
	s := newSet(t, Options{Insecure: []string{"plain.test"}})
	for _, c := range []struct{ from, to, want string }{
		{"https://r.test/v2/", "https://cdn.test/blob?sig=1", ""},
		{"https://r.test/v2/", "https://r.test:443/x", ""},
		{"https://r.test/v2/", "https://10.0.0.1/x", ""}, // a registry inside of a company may well have its storage there
		{"https://r.test/v2/", "http://r.test/x", "from HTTPS to plain HTTP"},
		{"https://r.test/v2/", "http://127.0.0.1/x", "from HTTPS to plain HTTP"},
		{"https://r.test/v2/", "http://plain.test/x", ""},
		{"http://plain.test/v2/", "http://plain.test:9000/x", ""},
		{"http://plain.test/v2/", "http://other.test/x", "it is not insecure by name"},
		{"http://plain.test/v2/", "http://127.0.0.1:2375/x", "sends to this machine"},
		{"https://r.test/v2/", "https://localhost/x", "sends to this machine"},
		{"https://r.test/v2/", "https://[::1]/x", "sends to this machine"},
		{"http://127.0.0.1:5000/v2/", "http://127.0.0.1:9000/x", ""},
		{"http://127.0.0.1:5000/v2/", "https://cdn.test/x", ""},
		{"https://r.test/v2/", "https://169.254.169.254/x", "link-local or reserved"},
		{"https://r.test/v2/", "https://[fe80::1]/x", "link-local or reserved"},
		{"https://r.test/v2/", "https://[fd00:ec2::254]/x", "link-local or reserved"},
		{"https://r.test/v2/", "https://0.0.0.0/x", "link-local or reserved"},
		{"https://r.test/v2/", "https://224.0.0.1/x", "link-local or reserved"},
		{"https://169.254.1.1/v2/", "https://169.254.1.1:444/x", ""}, // the user named it
		{"https://r.test/v2/", "https://u:p@cdn.test/x", "with a user"},
		{"https://r.test/v2/", "file:///etc/passwd", `scheme "file"`},
		{"https://r.test/v2/", "ftp://cdn.test/", `scheme "ftp"`},
		{"https://r.test/v2/", "https:cdn.test", "without a host"},
		{"https://r.test/v2/", "https:///x", "without a host"},
		{"https://r.test/v2/", "https://../x", "without a host"},
		{"https://r.test/v2/", "https://a.test:0/x", "without a host"},
	} {
		from, _ := url.Parse(c.from)
		to, err := url.Parse(c.to)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Check(from, to)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errdef.Is(err, errdef.Denied)) {
			t.Errorf("%s to %s: %v, want %q", c.from, c.to, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "sig=") {
			t.Errorf("%v", err)
		}
	}
}

// TestGuard dials an address that a registry elsewhere chose: a name that leads to this machine, as far as the socket can tell.
func TestGuard(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer server.Close()
	u, _ := url.Parse(server.URL)
	proxied := false
	s := newSet(t, Options{Proxy: func(*http.Request) (*url.URL, error) {
		if proxied {
			return u, nil
		}
		return nil, nil
	}})
	try := func(from string, to *url.URL) error {
		var chosen *url.URL
		if from != "" {
			chosen = &url.URL{Scheme: "https", Host: from}
		}
		ctx, rt, err := s.RoundTripper(t.Context(), chosen, to)
		if err != nil {
			return err
		}
		resp, err := rt.RoundTrip((&http.Request{Method: "GET", URL: to, Header: http.Header{}}).WithContext(ctx))
		if err == nil {
			resp.Body.Close()
			s.Close() // no idle connection for the next one
		}
		return err
	}
	if err := try("registry.test", u); !errdef.Is(err, errdef.Denied) || !strings.Contains(err.Error(), "this machine or link-local") {
		t.Errorf("%v", err)
	}
	for _, from := range []string{"", "127.0.0.1:1", "localhost"} {
		if err := try(from, u); err != nil {
			t.Errorf("from %q: %v", from, err)
		}
	}
	proxied = true // the proxy is on this machine, where it may be
	s.names["elsewhere.test"] = true
	if err := try("registry.test", &url.URL{Scheme: "http", Host: "elsewhere.test", Path: "/"}); err != nil {
		t.Errorf("by a proxy: %v", err)
	}
	for address, want := range map[string]bool{
		"127.0.0.1:1": false, "[::1]:1": false, "169.254.169.254:80": false, "[fe80::1%eth0]:1": false, "0.0.0.0:1": false, "[::]:1": false,
		"93.184.216.34:443": true, "10.0.0.1:443": true, "[2606:2800::1]:443": true,
	} {
		if err := guard(Guarded(context.Background()), "tcp", address, nil); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
		if err := guard(context.Background(), "tcp", address, nil); err != nil {
			t.Errorf("%s, which the user chose: %v", address, err)
		}
	}
}

func TestMirrors(t *testing.T) {
	s := newSet(t, Options{Insecure: []string{"lan.test"}, Mirrors: map[string][]string{
		"docker.io": {"mirror.test", "https://mirror.test:5000/cache/hub/", "http://lan.test:5000", "http://127.0.0.1:5000/x"},
	}})
	var got []string
	for _, e := range s.Pull("docker.io") {
		got = append(got, e.URL("library/alpine", "manifests/latest").String())
	}
	want := []string{
		"https://mirror.test/v2/library/alpine/manifests/latest",
		"https://mirror.test:5000/v2/cache/hub/library/alpine/manifests/latest",
		"http://lan.test:5000/v2/library/alpine/manifests/latest",
		"http://127.0.0.1:5000/v2/x/library/alpine/manifests/latest",
		"https://registry-1.docker.io/v2/library/alpine/manifests/latest",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if e := s.Registry("quay.io"); e.URL("", "").String() != "https://quay.io/v2/" {
		t.Errorf("%v", e.URL("", ""))
	}
	for bad, kind := range map[string]errdef.Kind{
		"http://mirror.test": errdef.Denied, "": errdef.Invalid, "ftp://x": errdef.Invalid, "a.test/../b": errdef.Invalid, "a.test/b?c": errdef.Invalid, "u@a.test": errdef.Invalid,
	} {
		if _, err := New(Options{Mirrors: map[string][]string{"docker.io": {bad}}}); !errdef.Is(err, kind) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestCertificates looks for a directory under the names that Docker gives it, the first place first.
func TestCertificates(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	mark := func(root, name string) {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("mark of "+filepath.Base(root)+" "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mark(second, "both.test")
	mark(first, "both.test")
	mark(second, "only.test:5000")
	mark(second, "usual.test")
	mark(second, "docker.io")
	s := newSet(t, Options{CertDirs: []string{first, second}})
	for host, want := range map[string]string{
		"both.test": filepath.Join(first, "both.test"), "only.test:5000": filepath.Join(second, "only.test:5000"), "only.test": "", "usual.test:443": filepath.Join(second, "usual.test"),
		"usual.test:5000": "", "registry-1.docker.io": filepath.Join(second, "docker.io"), "none.test": "",
	} {
		_, err := s.carrier(host) // what is there is no certificate, and the error says where it is
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want+"/ca.crt")) {
			t.Errorf("%s: %v", host, err)
		}
	}
	for n := range 1000 { // hosts that a registry made up
		if _, err := s.carrier(net.JoinHostPort("h"+strings.Repeat("x", n%50)+".test", "5000")); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.carriers) != 1 {
		t.Errorf("%d pools of connections", len(s.carriers))
	}
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"a.test", "a:1", "[::1]:5", "..", "a/b", "a:b:c", "[", "]", "a%00", "A-b.c:65535"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isHost(s) {
			return
		}
		if strings.ContainsAny(s, "/\\ \x00@") || s == "." || s == ".." || hostname(s) == "" {
			t.Errorf("%q is a host", s)
		}
		if u, err := url.Parse("https://" + s + "/v2/"); err == nil && u.Host != s {
			t.Errorf("%q is the host %q in a URL", s, u.Host)
		}
	})
}
