package registry

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
)

func tlsLines(cert, key string) string {
	return fmt.Sprintf("  tls:\n    certificate: %s\n    key: %s\n", cert, key)
}

// TestTLS has a registry with a private CA, which is refused, known, or not looked at.
func TestTLS(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		ca := newAuthority(t)
		s := start(t, kind, tlsLines(ca.issue("server")), "")
		here := openStore(t)
		desc := image(t, here, forms["oci"], 300, 1000)
		ref := parse(t, s.host+"/tls:1")
		try := func(o endpoint.Options) error {
			return client(t, registry.Options{Endpoints: o}).Push(t.Context(), ref, desc, here, registry.PushOptions{})
		}
		err := try(endpoint.Options{})
		if !errdef.Is(err, errdef.Denied) || !strings.Contains(err.Error(), "unknown authority") || !strings.Contains(errdef.Hint(err), "/etc/bulkhead/certs.d/"+s.host+"/ca.crt") {
			t.Errorf("an unknown CA: %v; %s", err, errdef.Hint(err))
		}
		if err := try(endpoint.Options{CertDirs: []string{certsDir(t, "127.0.0.1", map[string]string{"ca.crt": ca.file})}}); err == nil {
			t.Error("the CA of another port is taken")
		}
		if err := try(endpoint.Options{CertDirs: []string{certsDir(t, s.host, map[string]string{"ca.crt": ca.file})}}); err != nil {
			t.Errorf("certs.d: %v", err)
		}
		if err := try(endpoint.Options{Insecure: []string{s.host}}); err != nil {
			t.Errorf("insecure: %v", err)
		}
		if err := try(endpoint.Options{Insecure: []string{"127.0.0.1:1", "10.0.0.0/8"}}); !errdef.Is(err, errdef.Denied) {
			t.Errorf("another one is insecure: %v", err)
		}
		empty := certsDir(t, s.host, map[string]string{"ca.crt": os.DevNull})
		if err := try(endpoint.Options{CertDirs: []string{empty}}); !errdef.Is(err, errdef.Invalid) || !strings.Contains(err.Error(), "there is no certificate in it") {
			t.Errorf("an empty ca.crt: %v", err)
		}
		alone := certsDir(t, s.host, map[string]string{"ca.crt": ca.file, "client.cert": ca.file})
		if err := try(endpoint.Options{CertDirs: []string{alone}}); !errdef.Is(err, errdef.Invalid) || !strings.Contains(errdef.Hint(err), "needs its key") {
			t.Errorf("a client certificate without key: %v", err)
		}
	})
}

// TestClientCertificate has a registry that lets in who has a certificate.
func TestClientCertificate(t *testing.T) {
	both(t, func(t *testing.T, kind string) {
		ca := newAuthority(t)
		s := start(t, kind, tlsLines(ca.issue("server"))+"    clientcas:\n      - "+ca.file+"\n", "")
		here := openStore(t)
		desc := image(t, here, forms["docker"], 310, 1000)
		ref := parse(t, s.host+"/tls:1")
		files := map[string]string{"ca.crt": ca.file}
		push := func() error {
			c := client(t, registry.Options{Endpoints: endpoint.Options{CertDirs: []string{certsDir(t, s.host, files)}}})
			return c.Push(t.Context(), ref, desc, here, registry.PushOptions{})
		}
		if err := push(); !errdef.Is(err, errdef.Denied) || !strings.Contains(errdef.Hint(err), "client.cert and client.key") {
			t.Errorf("without: %v; %s", err, errdef.Hint(err))
		}
		files["client.cert"], files["client.key"] = ca.issue("client")
		if err := push(); err != nil {
			t.Errorf("with: %v", err)
		}
		// Podman's kind reads the same directory.
		dir := certsDir(t, s.host, files)
		skopeo(t, "inspect", "--raw", "--cert-dir", filepath.Join(dir, s.host), "docker://"+ref.String())
	})
}

// TestProxy reaches a registry whose name only the proxy knows, as the environment says. It runs in a process of its own, since net/http reads that once.
func TestProxy(t *testing.T) {
	if os.Getenv("REGISTRY_TEST_PROXY") != "" {
		insideProxy(t)
		return
	}
	both(t, func(t *testing.T, kind string) {
		ca := newAuthority(t)
		s := start(t, kind, tlsLines(ca.issue("server", "registry.test")), "")
		asked := make(chan string, 100)
		proxy := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- r.Method + " " + r.Host + " " + r.Header.Get("Proxy-Authorization")
			tunnel(w, s.host)
		}))
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$", "-test.count=1")
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "REGISTRY_TEST_PROXY=" + certsDir(t, "registry.test", map[string]string{"ca.crt": ca.file}), "BULKHEAD_TEST_BIN=/nonexistent",
			"HTTPS_PROXY=http://u:" + "hunter2@" + proxy, "NO_PROXY=direct.test", "TMPDIR=" + t.TempDir(),
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := <-asked; got != "CONNECT registry.test:443 Basic dTpodW50ZXIy" {
			t.Errorf("the proxy was asked %q", got)
		}
	})
}

func insideProxy(t *testing.T) {
	o := endpoint.Options{CertDirs: []string{os.Getenv("REGISTRY_TEST_PROXY")}, Proxy: http.ProxyFromEnvironment}
	c := client(t, registry.Options{Endpoints: o})
	here := openStore(t)
	if err := c.Push(t.Context(), parse(t, "registry.test/proxy:1"), image(t, here, forms["oci"], 320, 1000), here, registry.PushOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Head(t.Context(), parse(t, "direct.test/x")); !errdef.Is(err, errdef.Unavailable) || !strings.Contains(err.Error(), "look up direct.test") {
		t.Errorf("NO_PROXY: %v", err)
	}
	o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://u:hunter2@127.0.0.1:1") }
	if _, err := client(t, registry.Options{Endpoints: o}).Head(t.Context(), parse(t, "registry.test/x")); !errdef.Is(err, errdef.Unavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a proxy that is not there: %v", err)
	}
}

// tunnel connects the client of a CONNECT to an address.
func tunnel(w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer there.Close()
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(there, here); there.Close() }()
	_, _ = io.Copy(here, there)
}
