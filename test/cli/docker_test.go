package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCLIDockersOutput lets Docker's command write the same images: it gets what `inspect` answers here from an Engine API that is made of it.
func TestCLIDockersOutput(t *testing.T) {
	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Skip("Docker's command is not installed")
	}
	e := newEngine(t)
	imported(e, "quay.io/team/web:1.2", 1, "-m", "made here", "-c", "LABEL a=b", "-c", `CMD ["/bin/busybox","sh","-c","echo a rather long command line, longer than the column is wide"]`)
	e.ok("tag", "quay.io/team/web:1.2", "web")
	e.ok("tag", "quay.io/team/web:1.2", "localhost:5000/web:x")
	imported(e, "box", 2)
	imported(e, "", 3)
	host := serve(t, &dockersAPI{t, e})
	config := t.TempDir()
	theirs := func(args ...string) (string, int) {
		cmd := exec.Command(docker, append([]string{"-H", "tcp://" + host}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + config, "DOCKER_CONFIG=" + config, "TZ=UTC"}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		code := status(t, cmd.Run())
		if errs.Len() > 0 && code == 0 {
			t.Logf("docker %v: %s", args, errs.String())
		}
		return out.String(), code
	}
	for _, args := range [][]string{
		{"images"},
		{"images", "--no-trunc"},
		{"images", "-q"},
		{"images", "--digests"},
		{"image", "ls", "--format", "json"},
		{"images", "--format", "table {{.ID}}\t{{.Size}}\t{{.CreatedAt}}"},
		{"images", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}} {{.VirtualSize}} {{upper .Tag}} {{title .Repository}} {{pad .Tag 1 2}} {{truncate .ID 4}} {{join (split .Tag \".\") \"-\"}}"},
		{"images", "--format", "{{json .Tag}}"},
		{"history", "web"},
		{"history", "--no-trunc", "web"},
		{"history", "-q", "web"},
		{"history", "-H=false", "web"},
		{"history", "--format", "{{.ID}} {{.CreatedBy}} {{.Size}} {{.Comment}}", "web"},
		{"history", "--format", "json", "web"},
		{"inspect", "-f", "{{.Id}} {{.RepoTags}} {{.Config.Cmd}}", "web"},
		{"inspect", "-f", "{{.ID}} {{.Architecture}} {{.Os}} {{.RootFS.Type}} {{json .Config.Labels}}", "web", "box"},
		{"image", "inspect", "-f", "{{index .Config.Labels \"a\"}}", "web"},
		{"image", "inspect", "-f", "{{.Nope}}", "web"},
		{"image", "inspect", "-f", "{{", "web"},
		{"images", "--format", "{{.Nope}}"},
		{"images", "--bogus"},
		{"rmi"},
		{"bogus"},
		{"images", "a", "b"},
		{"image", "inspect", "nosuch"},
		{"history", "nosuch"},
		{"images", "--filter", "nonsense"},
	} {
		want, wantCode := theirs(args...)
		got := e.try(args...)
		if want, have := comparable(want), comparable(got.out); have != want && wantCode == 0 || got.code != wantCode {
			t.Errorf("%v: exit %d, docker's %d\n%s\ndocker:\n%s\n%s", args, got.code, wantCode, got.out, want, got.err)
		}
	}
}

var (
	ago   = regexp.MustCompile(`(Less than a|[0-9]+) seconds? ago`)
	wide  = regexp.MustCompile(` {2,}`) // a width depends on how long ago it was
	other = regexp.MustCompile(`"Digest":"[^"]*",`)
)

// comparable leaves out what may differ: times, the order of lines (Docker's is that of a map), how JSON is escaped, and that we tell digests without being asked.
func comparable(s string) string {
	s = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(s)
	l := lines(other.ReplaceAllString(wide.ReplaceAllString(ago.ReplaceAllString(s, "now"), "  "), ""))
	slices.Sort(l)
	return strings.Join(l, "\n")
}

// dockersAPI is as much of the Engine API as Docker's command wants to list images.
type dockersAPI struct {
	t *testing.T
	e *engine
}

func (a *dockersAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.48")
	w.Header().Set("Content-Type", "application/json")
	_, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v"), "/")
	switch {
	case r.URL.Path == "/_ping":
		_, _ = w.Write([]byte("OK"))
	case path == "images/json":
		a.answer(w, a.summaries())
	case strings.HasPrefix(path, "images/") && strings.HasSuffix(path, "/json"):
		found := a.inspect(strings.TrimSuffix(strings.TrimPrefix(path, "images/"), "/json"))
		if len(found) == 0 {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message":"No such image"}`))
			return
		}
		a.answer(w, found[0])
	case strings.HasSuffix(path, "/history"):
		a.history(w, strings.TrimSuffix(strings.TrimPrefix(path, "images/"), "/history"))
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"not here"}`))
	}
}

func (a *dockersAPI) answer(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		a.t.Error(err)
	}
}

func (a *dockersAPI) inspect(name string) []map[string]any {
	var found []map[string]any
	if err := json.Unmarshal([]byte(a.e.try("inspect", name).out), &found); err != nil {
		a.t.Error(err)
	}
	return found
}

// summaries makes the list of what inspect tells of each.
func (a *dockersAPI) summaries() []map[string]any {
	var out []map[string]any
	seen := map[string]bool{}
	for _, id := range strings.Fields(a.e.try("images", "-q", "--no-trunc").out) {
		if seen[id] {
			continue
		}
		seen[id] = true
		one := a.inspect(id)[0]
		at, err := time.Parse(time.RFC3339Nano, one["Created"].(string))
		if err != nil {
			a.t.Error(err)
		}
		out = append(out, map[string]any{
			"Id": id, "RepoTags": one["RepoTags"], "RepoDigests": one["RepoDigests"], "Created": at.Unix(), "Size": one["Size"], "SharedSize": -1, "Containers": -1, "Labels": nil,
		})
	}
	return out
}

// history makes the answer of what the templates tell.
func (a *dockersAPI) history(w http.ResponseWriter, name string) {
	r := a.e.try("history", "-H=false", "--no-trunc", "--format", "json", name)
	if r.code != 0 {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"No such image"}`))
		return
	}
	var out []map[string]any
	for _, line := range lines(r.out) {
		var row struct{ ID, CreatedAt, CreatedBy, Size, Comment string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			a.t.Error(err)
		}
		at, err := time.Parse(time.RFC3339, row.CreatedAt)
		if err != nil {
			a.t.Error(err)
		}
		out = append(out, map[string]any{"Id": row.ID, "Created": at.Unix(), "CreatedBy": row.CreatedBy, "Size": json.Number(row.Size), "Comment": row.Comment})
	}
	a.answer(w, out)
}
