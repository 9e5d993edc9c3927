package registry

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/image/registry"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/endpoint"
	"github.com/bulkhead-engine/bulkhead/internal/image/registry/transport"
)

var (
	strict   = os.Getenv("BULKHEAD_TEST_STRICT") != ""
	programs = map[string]string{} // by kind; missing: not installed
)

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	work, err := os.MkdirTemp("", "bulkhead-registry-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(work)
	if path, err := exec.LookPath("docker-registry"); err == nil {
		programs["debian"] = path
	}
	program := filepath.Join(work, "distribution")
	if dir := os.Getenv("BULKHEAD_TEST_BIN"); dir != "" {
		program = filepath.Join(dir, "distribution")
	} else {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
		build.Dir = "distribution"
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Printf("go build test/registry/distribution: %v: %s\n", err, out)
			return 1
		}
	}
	if _, err := os.Stat(program); err == nil {
		programs["v3"] = program
	}
	return m.Run()
}

// both runs a test against each kind of registry.
func both(t *testing.T, run func(t *testing.T, kind string)) {
	for _, kind := range []string{"debian", "v3"} {
		t.Run(kind, func(t *testing.T) {
			if programs[kind] == "" {
				if strict {
					t.Fatalf("the registry %s is not installed: test/install does that", kind)
				}
				t.Skipf("the registry %s is not installed", kind)
			}
			run(t, kind)
		})
	}
}

// A server is a registry that runs.
type server struct {
	host string // 127.0.0.1:PORT
	root string // its storage
	cmd  *exec.Cmd
}

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

// start starts a registry of the kind, with more lines for its configuration; `http` of it begins with its address.
func start(t testing.TB, kind, http, more string) *server {
	t.Helper()
	return startAt(t, kind, t.TempDir(), http, more)
}

func startAt(t testing.TB, kind, root, http, more string) *server {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf(`version: 0.1
log:
  level: info
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: %s
  delete:
    enabled: true
http:
  addr: 127.0.0.1:0
  secret: of-this-test
%s%s`, root, http, more)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{config}
	if kind == "debian" {
		args = []string{"serve", config}
	}
	s := &server{root: root, cmd: exec.Command(programs[kind], args...)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "OTEL_TRACES_EXPORTER=none"}
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = io.Discard
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, output := make(chan string, 1), &tail{}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			if !strings.Contains(lines.Text(), "response completed") {
				output.add(lines.Text())
			}
			if found := listening.FindStringSubmatch(lines.Text()); found != nil {
				select {
				case address <- found[1]:
				default:
				}
			}
		}
	})
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		reading.Wait()
		_ = s.cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", kind, output)
		}
	})
	select {
	case s.host = <-address:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not listen after 20 s", kind)
	}
	return s
}

// tail keeps the last lines.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (o *tail) add(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line[:min(len(line), 400)])
	if len(o.lines) > 20 {
		o.lines = o.lines[1:]
	}
}

// String returns them.
func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.lines, "\n")
}

// A counter stands in front of a registry and writes down what is asked of it.
type counter struct {
	host string
	mu   sync.Mutex
	seen []string
}

func count(t *testing.T, s *server) *counter {
	t.Helper()
	c := &counter{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.host})
	c.host = serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.seen = append(c.seen, r.Method+" "+r.URL.RequestURI())
		c.mu.Unlock()
		proxy.ServeHTTP(w, r) // the Host header stays, so that Location leads back here
	}))
	return c
}

// take returns what was asked since the last time.
func (c *counter) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

// client makes a client of ours that is quick to give up.
func client(t testing.TB, o registry.Options) *registry.Client {
	t.Helper()
	if o.Limits == (transport.Limits{}) {
		o.Limits = transport.Limits{Pause: 10 * time.Millisecond}
	}
	if o.Endpoints.CertDirs == nil {
		o.Endpoints.CertDirs = []string{}
	}
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

// named is a client that may speak plain HTTP, passwords included, with the host.
func named(host string) registry.Options {
	return registry.Options{Endpoints: endpoint.Options{Insecure: []string{host}}}
}

// skopeo runs skopeo with a home of its own.
func skopeo(t *testing.T, args ...string) string {
	t.Helper()
	out, err := trySkopeo(t, args...)
	if err != nil {
		t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func trySkopeo(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("skopeo")
	if err != nil {
		if strict {
			t.Fatal("skopeo is not installed: test/install does that")
		}
		t.Skip("skopeo is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, path, append([]string{"--insecure-policy", "--tmpdir", home}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_RUNTIME_DIR=" + home}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
