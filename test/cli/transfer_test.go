package cli

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// serve serves on loopback until the test ends, and returns the address.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { _ = server.Serve(listener); close(done) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return listener.Addr().String()
}

func TestCLIPull(t *testing.T) {
	host := registry(t, "")
	l := newLayout(t)
	name := host + "/team/box:1"
	l.publish(l.image(v1.Image{}, rootfs(t, 1, 1000), archive(t, file{"etc/second", 0o644, []byte("2")})), name)
	e := newEngine(t)
	want := `^1: Pulling from team/box
[0-9a-f]{12}: Pulling fs layer
[0-9a-f]{12}: (Pulling fs layer|Pull complete)
[0-9a-f]{12}: (Pulling fs layer|Pull complete)
[0-9a-f]{12}: Pull complete
Digest: (sha256:[0-9a-f]{64})
Status: Downloaded newer image for ` + name + "\n" + name + "\n$"
	got := regexp.MustCompile(want).FindStringSubmatch(e.ok("pull", name))
	if got == nil {
		t.Fatalf("%s", e.ok("pull", name))
	}
	d := got[len(got)-1]
	if again := e.ok("pull", name); again != "Digest: "+d+"\nStatus: Image is up to date for "+name+"\n"+name+"\n" {
		t.Errorf("%q", again)
	}
	byDigest := host + "/team/box@" + d
	for _, n := range []string{name, byDigest} {
		if q := e.ok("pull", "-q", n); q != n+"\n" {
			t.Errorf("%q", q)
		}
	}
	if got := e.ok("images", "--digests", "--format", "{{.Digest}} {{.Tag}}"); got != d+" 1\n" {
		t.Errorf("%q", got)
	}
	if got := e.ok("inspect", "-f", "{{join .RepoDigests \" \"}}", byDigest); got != byDigest+"\n" {
		t.Errorf("%q", got)
	}
	e.clean()

	e.fails(1, []string{"pull", host + "/team/box"}, "latest")
	e.fails(1, []string{"pull", host + "/nosuch/box:1", name}, "nosuch/box")
	e.fails(1, []string{"pull", "Upper/Case"}, `"Upper/Case"`)
	e.fails(1, []string{"pull", "127.0.0.1:1/x:1"}, "127.0.0.1:1", "refused")
	e.fails(1, []string{"pull"}, "pull: wants NAME")
	e.fails(1, []string{"pull", host + "/team/box@sha256:" + strings.Repeat("0", 64)}, "sha256:000")
}

func TestCLIPullPolicy(t *testing.T) {
	host := registry(t, "")
	name := host + "/box:1"
	l := newLayout(t)
	l.publish(l.image(v1.Image{}, rootfs(t, 1, 10)), name)
	e := newEngine(t)
	e.fails(1, []string{"pull", "--policy", "never", name}, "it is not here, and the policy is not to pull", "hint: bulkhead pull "+name)
	first := e.ok("pull", "-q", "--policy", "missing", name)
	id := e.ok("images", "-q")
	l.publish(l.image(v1.Image{Author: "another"}, rootfs(t, 2, 10)), name)
	for _, policy := range []string{"never", "missing"} {
		if got := e.ok("pull", "-q", "--policy", policy, name); got != first || e.ok("images", "-q") != id {
			t.Errorf("%s: the image has moved", policy)
		}
	}
	e.ok("pull", "-q", "--policy=newer", name)
	if e.ok("images", "-q", name) == id {
		t.Error("newer: the image has not moved")
	}
	e.fails(125, []string{"pull", "--policy", "sometimes", name}, `"sometimes"`, "hint: one of always")
	if got := strings.Fields(e.ok("image", "tags", "--format", "{{.Digest}}", name)); len(got) != 2 || got[0] == got[1] {
		t.Errorf("%q", got)
	}
}

func TestCLIPlatforms(t *testing.T) {
	host := registry(t, "")
	name := host + "/many:1"
	l := newLayout(t)
	l.publish(l.platforms("amd64", "arm64", "riscv64"), name)
	e := newEngine(t)
	for _, a := range []string{"arm64", "riscv64"} {
		e.ok("pull", "-q", "--platform", "linux/"+a, name)
		if got := e.ok("inspect", "--platform", a, "-f", "{{.Architecture}}", name); got != a+"\n" {
			t.Errorf("%q", got)
		}
	}
	e.fails(1, []string{"pull", "--platform", "linux/s390x", name}, "s390x", "linux/arm64")
	e.fails(125, []string{"pull", "--platform", "linux/a/b/c", name}, "linux/a/b/c")
	// Pushed whole, or one of it.
	e.fails(1, []string{"push", host + "/one:arm"}, "it is not here")
	e.ok("tag", name, host+"/one:arm")
	e.ok("push", "-q", "--platform", "arm64", host+"/one:arm")
	if got := skopeo(t, "inspect", "--tls-verify=false", "--override-arch", "arm64", "docker://"+host+"/one:arm"); !strings.Contains(got, `"Architecture": "arm64"`) {
		t.Error(got)
	}
}

func TestCLIPush(t *testing.T) {
	host := registry(t, "")
	e := newEngine(t)
	name := host + "/team/box:1"
	imported(e, name, 1)
	digestFile := filepath.Join(e.home, "digest")
	got := regexp.MustCompile(`^The push refers to repository \[` + host + `/team/box\]
[0-9a-f]{12}: Pushed
1: digest: (sha256:[0-9a-f]{64}) size: [0-9]+
$`).FindStringSubmatch(e.ok("push", "--digestfile", digestFile, name))
	if got == nil {
		t.Fatal(e.ok("push", name))
	}
	if data, err := os.ReadFile(digestFile); err != nil || string(data) != got[1] {
		t.Errorf("%s %v", data, err)
	}
	if seen := skopeo(t, "inspect", "--tls-verify=false", "docker://"+name); !strings.Contains(seen, got[1]) {
		t.Errorf("the registry has another digest: %s", seen)
	}
	if again := e.ok("push", name); !strings.Contains(again, "Layer already exists") && !strings.Contains(again, "digest: "+got[1]) {
		t.Errorf("%q", again)
	}
	e.ok("tag", name, host+"/team/box:2")
	if got := e.ok("push", "-q", "-a", host+"/team/box"); got != host+"/team/box:1\n"+host+"/team/box:2\n" {
		t.Errorf("%q", got)
	}
	e.fails(1, []string{"push", "-a", "--digestfile", digestFile, host + "/team/box"}, "--digestfile holds one digest")
	other := newEngine(t)
	if got := other.ok("pull", "-q", "--all-tags", host+"/team/box"); got != host+"/team/box:1\n"+host+"/team/box:2\n" {
		t.Errorf("%q", got)
	}
	e.fails(1, []string{"pull", "-a", name}, "--all-tags wants a repository", "hint: pull --all-tags "+host+"/team/box")
	e.fails(1, []string{"push", host + "/nosuch:1"}, "it is not here")
	e.fails(1, []string{"push", "-a", host + "/nosuch"}, "there is no tag of it here")
	e.fails(1, []string{"push", name, "more"}, "too many arguments")
	other.clean()
}

func TestCLIMirror(t *testing.T) {
	host := registry(t, "")
	l := newLayout(t)
	l.publish(l.image(v1.Image{}, rootfs(t, 1, 10)), host+"/hub/box:1")
	e := newEngine(t)
	if got := e.ok("pull", "-q", "--mirror", "registry.invalid=http://"+host+"/hub", "--insecure", host, "registry.invalid/box:1"); got != "registry.invalid/box:1\n" {
		t.Errorf("%q", got)
	}
	e.fails(1, []string{"pull", "--mirror", "nonsense", "x"}, "names no registry and mirror", "hint: --mirror docker.io=")
}

// TestCLIFreshConnection counts what a second pull asks, and that a list asks nothing.
func TestCLIRequests(t *testing.T) {
	host := registry(t, "")
	seen := make(chan string, 1000)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	front := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Method + " " + r.URL.Path
		proxy.ServeHTTP(w, r)
	}))
	l := newLayout(t)
	l.publish(l.image(v1.Image{}, rootfs(t, 1, 10)), host+"/box:1")
	e := newEngine(t)
	e.ok("pull", front+"/box:1")
	for len(seen) > 0 {
		<-seen
	}
	e.ok("pull", front+"/box:1")
	e.ok("images")
	e.ok("inspect", front+"/box:1")
	if n := len(seen); n != 1 {
		t.Errorf("%d requests for an image that is here", n)
	}
}

func TestCLIWhoIsInsecure(t *testing.T) {
	e := newEngine(t)
	for _, args := range [][]string{
		{"pull", "--tls-verify=false", "x"}, {"push", "--tls-verify=false", "x"}, {"login", "--tls-verify=false", "x"},
	} {
		e.fails(125, args, "--tls-verify: it would trust every registry less", "hint: name the one that is meant: --insecure HOST")
	}
	certs := t.TempDir()
	if err := os.WriteFile(filepath.Join(certs, "ca.crt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.fails(1, []string{"pull", "--cert-dir", certs, "--tls-verify=true", "localhost:1/x"}, "their directory does not name it", "hint: put them into a directory HOST[:PORT]")
	e.fails(1, []string{"pull", "--cert-dir", filepath.Join(certs, "nosuch"), "localhost:1/x"}, "--cert-dir")
	// The machine's own address is not loopback: nothing is sent in the clear to who is not named.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	address := outside(t)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Skipf("no address but loopback to listen on: %v", err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("plain HTTP was spoken") })}
	done := make(chan struct{})
	go func() { _ = server.Serve(listener); close(done) }()
	defer func() { _ = server.Close(); <-done }()
	e.fails(1, []string{"pull", listener.Addr().String() + "/x:1"}, "hint: ")
}

// outside is an address of this machine that is not loopback.
func outside(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}
