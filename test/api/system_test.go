package api

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAPISystem(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		if got := e.ok("version", "--format", "{{.Server.Version}} {{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}/{{.Server.Arch}}"); got != "0.0-test 1.51 1.24 linux/"+runtime.GOARCH+"\n" {
			t.Errorf("version: %q", got)
		}
		if got := e.ok("version"); !strings.Contains(got, "Bulkhead Engine") {
			t.Errorf("version: %q", got)
		}
		e.imported("box:1", "x", "-c", `CMD ["/bin/busybox","true"]`)
		got := e.ok("info", "--format", "{{.Images}} {{.Containers}} {{.OSType}} {{.NCPU}} {{.DockerRootDir}} {{.Driver}} {{.Swarm.LocalNodeState}} {{.DefaultRuntime}}")
		if got != "1 0 linux "+strconv.Itoa(runtime.NumCPU())+" "+e.root+" overlay2 inactive bulkhead\n" {
			t.Errorf("info: %q", got)
		}
		if got := e.ok("info", "--format", "{{json .SecurityOptions}}"); !strings.Contains(got, `"name=seccomp,profile=builtin"`) || !strings.Contains(got, `"name=userns"`) || !strings.Contains(got, "level,default=hardened") {
			t.Errorf("security options: %q", got)
		}
		if got := e.ok("info"); !strings.Contains(got, "Security Options:") || !strings.Contains(got, "seccomp") {
			t.Errorf("info: %q", got)
		}
		e.ok("volume", "create", "data")
		df := e.ok("system", "df")
		for _, want := range []string{`Images +1 +0 +[0-9.]+MB +[0-9.]+MB \(100%\)`, `Containers +0 +0 +0B +0B`, `Local Volumes +1 +0 +`} {
			if !regexp.MustCompile(want).MatchString(df) {
				t.Errorf("system df has no %s:\n%s", want, df)
			}
		}
		if os.Geteuid() == 0 {
			systemPrune(t, e)
		}
		if got := e.ok("system", "df", "-v"); !strings.Contains(got, "box ") || !strings.Contains(got, "data ") {
			t.Errorf("system df -v: %s", got)
		}
	})
}

// TestAPIEvents: what was before is told, what comes as well, and the end of the time is the end.
func TestAPIEvents(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		since := strconv.FormatInt(time.Now().Unix(), 10)
		e.imported("box:1", "x")
		e.ok("volume", "create", "data")
		until := strconv.FormatInt(time.Now().Unix()+1, 10)
		got := e.ok("events", "--since", since, "--until", until, "--format", "{{.Type}} {{.Action}}")
		if got != "image import\nvolume create\n" {
			t.Errorf("events: %q", got)
		}
		if got := e.ok("events", "--since", since, "--until", until, "-f", "type=volume", "--format", "{{.Actor.ID}}"); got != "data\n" {
			t.Errorf("events of volumes: %q", got)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := e.command(ctx, "events", "--since", since, "-f", "event=destroy", "--format", "{{.Actor.ID}}")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		e.ok("volume", "rm", "data")
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "data\n" {
			t.Errorf("an event that comes: %q %v", line, err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if status, body := e.http(http.MethodGet, "/v1.51/events?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D", nil, nil); status != http.StatusBadRequest {
			t.Errorf("a filter that there is not: %d %s", status, body)
		}
	})
}

// TestAPICheck: what killed commands left is healed and told.
func TestAPICheck(t *testing.T) {
	e := newEngine(t, "docker")
	e.volumeLeft("half")
	var report struct {
		Healed   []string
		Problems []any
	}
	status, body := e.http(http.MethodPost, "/bulkhead/system/check", nil, nil)
	if err := json.Unmarshal([]byte(body), &report); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if len(report.Healed) != 1 || !strings.Contains(report.Healed[0], "volume half") || len(report.Problems) != 0 {
		t.Errorf("%s", body)
	}
	if _, body := e.http(http.MethodPost, "/bulkhead/system/check?repair=1", nil, nil); !strings.Contains(body, `"Healed":[]`) {
		t.Errorf("a second check: %s", body)
	}
}

// volumeLeft leaves what a command leaves that is killed while it makes a volume.
func (e *engine) volumeLeft(name string) {
	e.Helper()
	if err := os.MkdirAll(filepath.Join(e.root, "volumes", "."+name+".new", "_data"), 0o700); err != nil {
		e.Fatal(err)
	}
}

// systemPrune: nothing is left of what nobody uses; then there is an image and a volume again.
func systemPrune(t *testing.T, e *engine) {
	t.Helper()
	e.ok("create", "--name", "ended", "--network", "none", "-v", "/scratch", "box:1")
	if got := e.ok("system", "prune", "-af", "--volumes"); !strings.Contains(got, "Deleted Containers:") || !strings.Contains(got, "deleted: sha256:") || !strings.Contains(got, "Total reclaimed space: ") {
		t.Errorf("system prune: %s", got)
	}
	if got := e.ok("images", "-q") + e.ok("ps", "-aq"); got != "" {
		t.Errorf("after system prune: %q", got)
	}
	e.imported("box:1", "x")
	e.ok("volume", "create", "data")
}
