package api

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/dockerapi/client"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/test/need"
	"github.com/bulkhead-engine/bulkhead/test/registryserver"
)

// registry starts Debian's registry for the time of a test and returns its address.
func registry(t testing.TB, more string) string {
	t.Helper()
	need.Program(t, registryserver.Program)
	s, err := registryserver.Start(t.TempDir(), more)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s.Address
}

// rootfs is an archive with busybox and a file of this content.
func rootfs(t testing.TB, content string) []byte {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		need.Program(t, "busybox")
	}
	box, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range map[string][]byte{"bin/busybox": box, "data/content": []byte(content)} {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// imported makes an image and returns its id.
func (e *engine) imported(name, content string, more ...string) string {
	e.Helper()
	r := e.feed(rootfs(e, content), append(append([]string{"import"}, more...), "-", name)...)
	if r.code != 0 || !strings.HasPrefix(r.out, "sha256:") {
		e.Fatalf("import: %+v", r)
	}
	return strings.TrimSpace(r.out)
}

func TestAPIImages(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		id := e.imported("box:1", "one", "-c", "CMD /bin/busybox true", "-c", "LABEL a=b", "-m", "made here")
		short := id[7:19]
		e.ok("tag", "box:1", "team/other:x")
		lines := strings.Split(strings.TrimSpace(e.ok("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}")), "\n")
		slices.Sort(lines) // older clients have the names of an image in any order
		if got := strings.Join(lines, "\n"); got != "box:1 "+short+"\nteam/other:x "+short {
			t.Errorf("images: %q", got)
		}
		for filter, want := range map[string]string{
			"label=a=b": short, "label=a=c": "", "reference=team/*": short, "dangling=true": "", "before=box:1": "", "dangling=false": short,
		} {
			if got := strings.Join(strings.Fields(e.ok("images", "-q", "--no-trunc=false", "-f", filter)), " "); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
				t.Errorf("images -f %s: %q", filter, got)
			}
		}
		e.fails([]string{"images", "-f", "nonsense=1"}, "invalid filter")
		if got := e.ok("image", "inspect", "-f", "{{.ID}} {{join .Config.Cmd \"|\"}} {{index .Config.Labels \"a\"}} {{len .RootFS.Layers}} {{.Os}}/{{.Architecture}}", "box:1"); got != id+" /bin/sh|-c|/bin/busybox true b 1 linux/amd64\n" {
			t.Errorf("inspect: %q", got)
		}
		if got := e.ok("history", "--format", "{{.ID}} {{.Comment}}", "box:1"); got != short+" made here\n" {
			t.Errorf("history: %q", got)
		}
		e.fails([]string{"image", "inspect", "nosuch"}, "nosuch")
		e.fails([]string{"rmi", id[7:]}, "several names")
		if got := e.ok("rmi", "team/other:x"); got != "Untagged: team/other:x\n" {
			t.Errorf("rmi: %q", got)
		}
		if got := e.ok("rmi", "box:1"); !strings.HasPrefix(got, "Untagged: box:1\nDeleted: sha256:") {
			t.Errorf("rmi: %q", got)
		}
		e.imported("", "nameless")
		if got := e.ok("images", "--format", "{{.Repository}} {{.Tag}}"); got != "<none> <none>\n" {
			t.Errorf("an image without a name: %q", got)
		}
		if got := e.ok("image", "prune", "-f"); !strings.Contains(got, "Total reclaimed space: ") || !strings.Contains(got, "deleted: sha256:") {
			t.Errorf("prune: %q", got)
		}
		if got := e.ok("images", "-q"); got != "" {
			t.Errorf("after prune: %q", got)
		}
		e.fails([]string{"search", "nginx"}, "search: the engine looks for images by name alone", "hint: ")
		e.fails([]string{"import", "http://127.0.0.1:1/x.tar", "x:1"}, "is not fetched", "hint: fetch and verify it yourself")
	})
}

func TestAPISaveLoad(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		one, two := e.imported("box:1", "one"), e.imported("box:2", "two")
		file := filepath.Join(e.home, "images.tar")
		e.ok("save", "-o", file, "box:1", "box:2")
		e.ok("rmi", "box:1", "box:2")
		got := e.ok("load", "-q", "-i", file)
		if got != "Loaded image: box:1\nLoaded image: box:2\n" {
			t.Errorf("load: %q", got)
		}
		for name, id := range map[string]string{"box:1": one, "box:2": two} {
			if got := e.ok("image", "inspect", "-f", "{{.Id}}", name); got != id+"\n" {
				t.Errorf("%s: %q, want %s", name, got, id)
			}
		}
		if r := e.feed([]byte("no archive"), "load"); r.code == 0 || !strings.Contains(r.err+r.out, "archive") {
			t.Errorf("load of nonsense: %+v", r)
		}
		e.fails([]string{"save", "-o", filepath.Join(e.home, "none.tar"), "nosuch:1"}, "nosuch:1")
	})
}

func TestAPIPullPush(t *testing.T) {
	host := registry(t, "")
	each(t, func(t *testing.T, e *engine) {
		repository := host + "/" + filepath.Base(t.Name()) + "/box"
		name := repository + ":1"
		e.imported(name, "pushed by "+t.Name())
		pushed := regexp.MustCompile(`(?s)^The push refers to repository \[` + repository + `\].*1: digest: (sha256:[0-9a-f]{64}) size: [0-9]+\n$`).FindStringSubmatch(e.ok("push", name))
		if pushed == nil {
			t.Fatalf("push: %q", e.ok("push", name))
		}
		e.ok("rmi", name)
		got := newEngine(t, e.docker).ok("pull", name)
		e.ok("pull", name)
		for _, want := range []string{
			"1: Pulling from ", ": Pulling fs layer\n", ": Verifying Checksum\n", ": Download complete\n", ": Pull complete\n", "Digest: " + pushed[1] + "\n",
			"Status: Downloaded newer image for " + name + "\n",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("pull says %q, and not %q", got, want)
			}
		}
		if got := e.ok("pull", name); !strings.Contains(got, "Status: Image is up to date for "+name) {
			t.Errorf("pull again: %q", got)
		}
		e.ok("pull", repository+"@"+pushed[1])
		if got := e.ok("image", "inspect", "-f", "{{join .RepoDigests \" \"}}", name); got != repository+"@"+pushed[1]+"\n" {
			t.Errorf("digests: %q", got)
		}
		e.ok("tag", name, repository+":2")
		e.ok("push", "-a", repository)
		e.ok("rmi", "-f", name, repository+":2")
		e.ok("pull", "-a", repository)
		if got := e.ok("images", "--format", "{{.Tag}}", repository); len(strings.Fields(got)) < 2 {
			t.Errorf("all tags: %q", got)
		}
		e.fails([]string{"pull", repository + ":nosuch"}, "nosuch")
		e.fails([]string{"push", repository + ":nosuch"}, "nosuch")
		e.fails([]string{"pull", "--platform", "linux/a/b/c", name}, "platform")
	})
}

// What alice has, and the line of htpasswd for it (bcrypt).
const (
	alice = "alice:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
	horse = "correct horse"
)

// TestAPICredentials sends what docker login keeps, over a registry that has no password in the clear: TLS is in the tests of the command.
func TestAPICredentials(t *testing.T) {
	users := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(users, []byte(alice), 0o600); err != nil {
		t.Fatal(err)
	}
	host := registry(t, "auth:\n  htpasswd:\n    realm: of-this-test\n    path: "+users+"\n")
	each(t, func(t *testing.T, e *engine) {
		// Passwords go over plain HTTP to nobody who is not named, and a docker command names nobody.
		r := e.feed([]byte(horse), "login", "-u", "alice", "--password-stdin", host)
		if r.code == 0 || !strings.Contains(r.err, host) || !strings.Contains(r.err, "hint: ") {
			t.Errorf("login in the clear: %+v", r)
		}
		e.imported(host+"/box:1", "x")
		e.fails([]string{"push", host + "/box:1"}, host)
		header := func(v any) string {
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return base64.URLEncoding.EncodeToString(data)
		}
		insecure := header(map[string]any{"Insecure": []string{host}})
		for password, want := range map[string]int{horse: http.StatusOK, "wrong": http.StatusForbidden} {
			h := http.Header{"X-Registry-Auth": {header(map[string]string{"username": "alice", "password": password, "serveraddress": host})}, "Bulkhead-Registry": {insecure}}
			if status, body := e.http(http.MethodPost, "/v1.51/images/"+host+"/box/push?tag=1", h, nil); status != want || want == http.StatusOK && strings.Contains(body, "errorDetail") {
				if want != http.StatusOK && strings.Contains(body, "errorDetail") {
					continue // it began with a message
				}
				t.Errorf("push with password %q: %d %s", password, status, body)
			}
		}
		if status, body := e.http(http.MethodPost, "/v1.51/images/create?fromImage="+host+"/box&tag=1", http.Header{"X-Registry-Auth": {"&&&"}}, nil); status != http.StatusBadRequest || !strings.Contains(body, "X-Registry-Auth") {
			t.Errorf("a credential that is none: %d %s", status, body)
		}
		body := []byte(`{"username":"alice","password":"` + horse + `","serveraddress":"` + host + `"}`)
		if status, said := e.http(http.MethodPost, "/auth", http.Header{"Bulkhead-Registry": {insecure}, "Content-Type": {"application/json"}}, body); status != http.StatusOK || !strings.Contains(said, "Login Succeeded") {
			t.Errorf("auth: %d %s", status, said)
		}
		body = bytes.ReplaceAll(body, []byte(horse), []byte("wrong"))
		if status, said := e.http(http.MethodPost, "/auth", http.Header{"Bulkhead-Registry": {insecure}, "Content-Type": {"application/json"}}, body); status != http.StatusUnauthorized {
			t.Errorf("auth with a wrong password: %d %s", status, said)
		}
	})
}

// http sends one request over the socket, without a docker command.
func (e *engine) http(method, path string, header http.Header, body []byte) (int, string) {
	e.Helper()
	return request(e, e.socket, method, path, header, body)
}

// TestAPISaveDamaged: an archive that goes wrong in the middle is not taken for whole by anybody, and a client of ours is told why.
func TestAPISaveDamaged(t *testing.T) {
	each(t, func(t *testing.T, e *engine) {
		e.imported("box:1", "one")
		blobs, err := filepath.Glob(filepath.Join(e.root, "images/blobs/sha256/*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			st, err := os.Stat(b)
			if err != nil {
				t.Fatal(err)
			}
			if st.Size() < 10_000 {
				continue
			}
			f, err := os.OpenFile(b, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt([]byte("damaged"), 5000)
				_ = f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if r := e.try("save", "-o", filepath.Join(e.home, "x.tar"), "box:1"); r.code == 0 {
			t.Errorf("a damaged image is saved: %+v", r)
		}
		ours := client.New(client.Options{Product: "test", Dial: func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", e.socket) }})
		defer ours.Close()
		var got bytes.Buffer
		err = ours.Download(t.Context(), client.Request{Method: http.MethodGet, Path: "/images/box:1/get"}, func() (io.Writer, error) { return &got, nil })
		if err == nil || !strings.Contains(err.Error(), "has another") || errdef.Hint(err) != "bulkhead image fsck --repair" || got.Len() == 0 {
			t.Errorf("%v, hint %q, after %d bytes", err, errdef.Hint(err), got.Len())
		}
		// What has not begun has a status.
		err = ours.Download(t.Context(), client.Request{Method: http.MethodGet, Path: "/images/nosuch/get"}, func() (io.Writer, error) { t.Error("it begins"); return nil, nil })
		if !errdef.Is(err, errdef.NotFound) {
			t.Error(err)
		}
	})
}
