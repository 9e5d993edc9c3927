package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// An ask is a request and the answer that it must get.
type ask struct {
	method, path, body string
	status             int
	text               string // in the body of the answer
}

// asks sends requests; the body of every error must be Docker's.
func (e *engine) asks(list []ask) {
	e.Helper()
	for _, a := range list {
		var header http.Header
		if a.body != "" {
			header = http.Header{"Content-Type": {"application/json"}}
		}
		status, body := e.http(a.method, a.path, header, []byte(a.body))
		if status != a.status || !strings.Contains(body, a.text) {
			e.Errorf("%s %.120s %.80s: %d %.300s, want %d %q", a.method, a.path, a.body, status, body, a.status, a.text)
		}
		if status >= 400 && a.method != http.MethodHead {
			e.message(a, body)
		}
	}
}

func (e *engine) message(a ask, body string) {
	e.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil || len(m) != 1 {
		e.Errorf("%s %.120s: the body of an error is %.200q: %v", a.method, a.path, body, err)
	} else if text, ok := m["message"].(string); !ok || text == "" {
		e.Errorf("%s %.120s: an error without a message: %.200q", a.method, a.path, body)
	}
}

// TestAPIStatusContainers: each status of the routes of containers.
func TestAPIStatusContainers(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.sleeper("up")
		e.ok("create", "--name", "still", "box", "true")
		e.ok("create", "--name", "broken", "box", "no-such-program")
		e.sleeper("held")
		e.ok("pause", "held")
		e.asks([]ask{
			{"POST", "/containers/create?name=new", `{"Image":"box","Cmd":["true"]}`, 201, `"Warnings":[]`},
			{"POST", "/containers/create?name=new", `{"Image":"box"}`, 409, "in use"},
			{"POST", "/containers/create?name=.x", `{"Image":"box"}`, 400, "nvalid container name"},
			{"POST", "/containers/create?name=a%2Fb", `{"Image":"box"}`, 400, "nvalid container name"},
			{"POST", "/containers/create?name=a%00b", `{"Image":"box"}`, 400, "nvalid container name"},
			{"POST", "/containers/create", `{"Image":"no-such"}`, 404, "o such image: no-such:latest"},
			{"POST", "/containers/create", `{}`, 400, ""},
			{"POST", "/containers/create", `null`, 400, ""},
			{"POST", "/containers/create", `{"Image":"box","Cmd":"true","NoSuchField":{"a":[1]}}`, 201, ""},
			{"POST", "/containers/create", `{"Image":"box","HostConfig":{"Memory":-7}}`, 400, ""},
			{"POST", "/containers/create", `{"Image":"box","HostConfig":{"Memory":1}}`, 400, "emory"},
			{"POST", "/containers/create", `{"Image":"box","HostConfig":{"ShmSize":-1}}`, 400, ""},
			{"POST", "/containers/create", `{"Image":"box","HostConfig":{"NanoCpus":-1}}`, 400, ""},
			{"POST", "/containers/create", `{"Image":"box","HostConfig":{"RestartPolicy":{"Name":"nonsense"}}}`, 400, "nonsense"},
			{"POST", "/containers/create", `{"Image":"box","HostConfig":{"CapAdd":["NO_SUCH"]}}`, 400, "NO_SUCH"},
			{"POST", "/containers/create", `{"Image":"box","HostConfig":{"Binds":["a:b:c:d:e"]}}`, 400, ""},
			{"POST", "/containers/create", `{"Image":"box","StopSignal":"NOSUCH"}`, 400, "NOSUCH"},
			{"POST", "/containers/create", `{"Image":"box","User":"a\u0000b"}`, 400, ""},
			{"POST", "/containers/create", `{"Image":"box","Env":["a\u0000b=c"]}`, 400, ""},
			{"POST", "/containers/create?platform=a/b/c/d", `{"Image":"box"}`, 400, "platform"},
			{"GET", "/containers/json?limit=x", "", 400, "limit"},
			{"GET", "/containers/json?limit=-5", "", 200, "["},
			{"GET", "/containers/json?filters=nonsense", "", 400, "filters"},
			{"GET", "/containers/json?filters=%7B%22no-such%22%3A%5B%22x%22%5D%7D", "", 400, "no-such"},
			{"GET", "/containers/json?filters=%7B%22name%22%3A%5B%22%28%22%5D%7D", "", 400, ""},
			{"GET", "/containers/json?filters=%7B%22name%22%3A7%7D", "", 400, ""},
			{"GET", "/containers/json?all=1&filters=%7B%22name%22%3A%7B%22still%22%3Atrue%7D%7D", "", 200, `"/still"`},
			{"GET", "/containers/up/json", "", 200, `"Running":true`},
			{"GET", "/containers/no-such/json", "", 404, "No such container: no-such"},
			{"POST", "/containers/up/start", "", 304, ""},
			{"POST", "/containers/no-such/start", "", 404, "No such container"},
			{"POST", "/containers/broken/start", "", 400, "executable file not found"},
			{"POST", "/containers/broken/restart", "", 400, "executable file not found"},
			{"POST", "/containers/up/start", `{"Image":"x"}`, 400, "non-empty request body"},
			{"POST", "/containers/still/stop", "", 304, ""},
			{"POST", "/containers/no-such/stop", "", 404, ""},
			{"POST", "/containers/up/stop?t=x", "", 400, "t"},
			{"POST", "/containers/up/stop?signal=NOSUCH", "", 400, "NOSUCH"},
			{"POST", "/containers/no-such/restart", "", 404, ""},
			{"POST", "/containers/still/kill", "", 409, "not running"},
			{"POST", "/containers/no-such/kill", "", 404, ""},
			{"POST", "/containers/up/kill?signal=NOSUCH", "", 400, "NOSUCH"},
			{"POST", "/containers/up/kill?signal=-1", "", 400, ""},
			{"POST", "/containers/up/kill?signal=99", "", 400, ""},
			{"POST", "/containers/still/pause", "", 409, "not running"},
			{"POST", "/containers/held/pause", "", 409, "already paused"},
			{"POST", "/containers/up/unpause", "", 409, "not paused"},
			{"POST", "/containers/no-such/pause", "", 404, ""},
			{"POST", "/containers/no-such/unpause", "", 404, ""},
			{"POST", "/containers/still/rename?name=up", "", 409, "in use"},
			{"POST", "/containers/still/rename?name=", "", 400, ""},
			{"POST", "/containers/still/rename?name=..%2Fx", "", 400, "nvalid container name"},
			{"POST", "/containers/no-such/rename?name=x", "", 404, ""},
			{"POST", "/containers/up/update", `{"Memory":67108864,"MemorySwap":67108864}`, 200, "Warnings"},
			{"POST", "/containers/up/update", `{"Memory":-7}`, 400, ""},
			{"POST", "/containers/up/update", `{"CpuShares":-7}`, 400, ""},
			{"POST", "/containers/no-such/update", `{}`, 404, ""},
			{"POST", "/containers/up/resize?h=x&w=1", "", 400, "h"},
			{"POST", "/containers/up/resize?h=-1&w=1", "", 400, "h"},
			{"POST", "/containers/up/resize?h=99999&w=1", "", 400, "h"},
			{"POST", "/containers/still/resize?h=1&w=1", "", 409, "not running"},
			{"POST", "/containers/no-such/resize?h=1&w=1", "", 404, ""},
			{"POST", "/containers/no-such/wait", "", 404, ""},
			{"POST", "/containers/up/wait?condition=nonsense", "", 400, "nonsense"},
			{"POST", "/containers/no-such/attach?stream=1&stdout=1", "", 404, ""},
			{"POST", "/containers/held/attach?stream=1&stdout=1", "", 409, "paused"},
			{"POST", "/containers/up/attach?stream=1&stdout=1&detachKeys=nonsense", "", 400, "detach keys"},
			{"GET", "/containers/no-such/attach/ws?stream=1", "", 404, ""},
			{"GET", "/containers/no-such/logs?stdout=1", "", 404, ""},
			{"GET", "/containers/up/logs", "", 400, "at least one stream"},
			{"GET", "/containers/up/logs?stdout=1&since=x", "", 400, "since"},
			{"GET", "/containers/no-such/top", "", 404, ""},
			{"GET", "/containers/still/top", "", 409, "not running"},
			{"GET", "/containers/no-such/stats?stream=0", "", 404, ""},
			{"GET", "/containers/up/stats?stream=1&one-shot=1", "", 400, ""},
			{"GET", "/containers/still/stats?stream=0", "", 200, "{"},
			{"GET", "/containers/no-such/changes", "", 404, ""},
			{"GET", "/containers/no-such/export", "", 404, ""},
			{"POST", "/commit?container=no-such", "", 404, ""},
			{"POST", "/commit?container=up&repo=NOT:A:NAME", "", 400, ""},
			{"POST", "/commit?container=up&changes=NONSENSE", "", 400, ""},
			{"POST", "/containers/prune?filters=x", "", 400, ""},
			{"DELETE", "/containers/no-such", "", 404, ""},
			{"DELETE", "/containers/up", "", 409, "running"},
			{"DELETE", "/containers/up?link=1", "", 501, "link"},
			{"DELETE", "/containers/still", "", 204, ""},
			{"PUT", "/containers/up/start", "", 405, ""},
			{"GET", "/containers/up", "", 405, ""},
			{"GET", "/no/such/page", "", 404, "page not found"},
		})
		if got := e.inspect("up").State; !got.Running {
			t.Errorf("after all of that: %+v", got)
		}
	})
}

// TestAPIStatusArchive: the routes that copy, and paths that lead out.
func TestAPIStatusArchive(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.sleeper("up")
		e.asks([]ask{
			{"HEAD", "/containers/up/archive?path=/data/content", "", 200, ""},
			{"HEAD", "/containers/up/archive?path=/no/such", "", 404, ""},
			{"HEAD", "/containers/up/archive", "", 400, ""},
			{"HEAD", "/containers/no-such/archive?path=/", "", 404, ""},
			{"GET", "/containers/up/archive?path=/data/content", "", 200, "of the image"},
			{"GET", "/containers/up/archive?path=/../../../../data/content", "", 200, "of the image"},
			{"GET", "/containers/up/archive?path=/no/such", "", 404, "/no/such"},
			{"GET", "/containers/up/archive?path=/data%00/content", "", 400, ""},
			{"GET", "/containers/up/archive?path=" + strings.Repeat("/x", 5000), "", 400, ""},
			{"GET", "/containers/up/archive", "", 400, "path"},
			{"GET", "/containers/no-such/archive?path=/", "", 404, ""},
			{"PUT", "/containers/up/archive?path=/no/such", "", 404, ""},
			{"PUT", "/containers/up/archive?path=/data/content", "", 400, ""},
			{"PUT", "/containers/up/archive", "", 400, "path"},
			{"PUT", "/containers/no-such/archive?path=/", "", 404, ""},
		})
		if status, body := e.http("PUT", "/containers/up/archive?path=/tmp", nil, []byte("this is no archive")); status != 400 {
			t.Errorf("nonsense for an archive: %d %s", status, body)
		}
		answer := e.do("HEAD", "/v1.51/containers/up/archive?path=/data/content", nil)
		if h := answer.Header.Get("X-Docker-Container-Path-Stat"); h == "" {
			t.Errorf("stat: %v", answer.Header)
		}
	})
}

// TestAPIStatusExec: each status of the routes of exec.
func TestAPIStatusExec(t *testing.T) {
	anyBox(t, func(t *testing.T, e *engine) {
		e.sleeper("up")
		e.sleeper("held")
		e.ok("create", "--name", "still", "box")
		e.ok("pause", "held")
		create := func(body string) string {
			t.Helper()
			status, answer := e.http("POST", "/containers/up/exec", http.Header{"Content-Type": {"application/json"}}, []byte(body))
			var made struct{ ID string }
			if err := json.Unmarshal([]byte(answer), &made); err != nil || status != 201 {
				t.Fatalf("exec: %d %s %v", status, answer, err)
			}
			return made.ID
		}
		id, missing, long := create(`{"Cmd":["sh","-c","exit 5"]}`), create(`{"Cmd":"no-such-program"}`), create(`{"Cmd":["sleep","1000"],"NoSuchField":1}`)
		none := strings.Repeat("0", 64)
		e.asks([]ask{
			{"POST", "/containers/no-such/exec", `{"Cmd":["true"]}`, 404, "No such container"},
			{"POST", "/containers/still/exec", `{"Cmd":["true"]}`, 409, "not running"},
			{"POST", "/containers/held/exec", `{"Cmd":["true"]}`, 409, "paused"},
			{"POST", "/containers/up/exec", `{}`, 400, "no exec command specified"},
			{"POST", "/containers/up/exec", `{"Cmd":[""]}`, 400, "no exec command specified"},
			{"POST", "/containers/up/exec", `{"Cmd":["true"],"DetachKeys":"nonsense"}`, 400, "detach keys"},
			{"POST", "/containers/up/exec", `{"Cmd":["true"],"WorkingDir":"relative"}`, 400, ""},
			{"POST", "/containers/up/exec", `{"Cmd":["true"],"Privileged":true}`, 501, "rivileged"},
			{"POST", "/containers/up/exec", `{"Cmd":["a\u0000b"]}`, 400, ""},
			{"POST", "/containers/up/exec", `{"Cmd":["true"],"Env":["a\u0000b=c"]}`, 400, ""},
			{"GET", "/exec/" + none + "/json", "", 404, "No such exec instance"},
			{"GET", "/exec/short/json", "", 404, "No such exec instance"},
			{"POST", "/exec/" + none + "/start", `{"Detach":true}`, 404, "No such exec instance"},
			{"POST", "/exec/" + none + "/start", `{}`, 404, "No such exec instance"},
			{"POST", "/exec/" + none + "/resize?h=1&w=1", "", 404, "No such exec instance"},
			{"GET", "/exec/" + id + "/json", "", 200, `"Running":false`},
			{"POST", "/exec/" + id + "/start", `{"Detach":true}`, 200, ""},
			{"POST", "/exec/" + id + "/start", `{"Detach":true}`, 409, ""},
			{"POST", "/exec/" + id + "/start", `{}`, 409, ""},
			{"POST", "/exec/" + id + "/start", `nonsense`, 400, "JSON"},
			{"POST", "/exec/" + missing + "/start", `{"Detach":true}`, 400, "executable file not found"},
			{"GET", "/exec/" + missing + "/json", "", 200, `"ExitCode":127`},
			{"POST", "/exec/" + long + "/start", `{"Detach":true}`, 200, ""},
			{"GET", "/exec/" + long + "/json", "", 200, `"Running":true`},
			{"POST", "/exec/" + long + "/resize?h=1&w=1", "", 409, "no terminal"},
			{"POST", "/exec/" + long + "/resize?h=x&w=1", "", 400, ""},
			{"GET", "/containers/up/json", "", 200, long},
		})
		e.until("the exit code", func() bool {
			_, body := e.http("GET", "/exec/"+id+"/json", nil, nil)
			return strings.Contains(body, `"ExitCode":5`)
		})
	})
}

// TestAPIVersions: versions in the path, and what every answer says.
func TestAPIVersions(t *testing.T) {
	e := newEngine(t, "docker")
	for _, v := range []string{"", "/v1.24", "/v1.30", "/v1.41", "/v1.51"} {
		for _, method := range []string{"GET", "HEAD"} {
			answer := e.do(method, v+"/_ping", nil)
			h := answer.Header
			if answer.StatusCode != 200 || h.Get("Api-Version") != "1.51" || h.Get("Ostype") != "linux" || h.Get("Docker-Experimental") != "false" || !strings.HasPrefix(h.Get("Server"), "Bulkhead/") ||
				h.Get("Cache-Control") != "no-cache, no-store, must-revalidate" || h.Get("Builder-Version") == "" || h.Get("Swarm") != "inactive" {
				t.Errorf("%s %s/_ping: %d %v", method, v, answer.StatusCode, h)
			}
			if want := map[string]string{"GET": "OK", "HEAD": ""}[method]; answer.body != want {
				t.Errorf("%s %s/_ping: %q", method, v, answer.body)
			}
		}
	}
	e.asks([]ask{
		{"GET", "/v1.23/version", "", 400, "too old"},
		{"GET", "/v0.9/version", "", 400, "too old"},
		{"GET", "/v1.52/version", "", 400, "too new"},
		{"GET", "/v2.0/version", "", 400, "too new"},
		{"GET", "/v1.99999/version", "", 400, "too new"},
		{"GET", "/v1.99999999999999999999/version", "", 404, ""},
		{"GET", "/v1.-4/version", "", 404, ""},
		{"GET", "/v1./version", "", 404, ""},
		{"GET", "/v1.41", "", 404, ""},
		{"GET", "/v1.41/v1.41/version", "", 404, ""},
		{"GET", "/version", "", 200, `"ApiVersion":"1.51"`},
		{"GET", "//version", "", 200, ""},
		{"OPTIONS", "/version", "", 405, ""},
	})
}

// TestAPIBodies: bodies that are not what they ought to be.
func TestAPIBodies(t *testing.T) {
	e := newEngine(t, "docker")
	post := func(kind, body string) (int, string) {
		t.Helper()
		return e.http("POST", "/v1.51/containers/create", http.Header{"Content-Type": {kind}}, []byte(body))
	}
	for _, c := range []struct{ kind, body, text string }{
		{"application/json", "", "EOF"},
		{"application/json", "{", "JSON"},
		{"application/json", `{"Image":7}`, "JSON"},
		{"application/json", `[]`, "JSON"},
		{"application/json", `{"Image":"box"}{"Image":"other"}`, "after JSON"},
		{"application/json", `{"Image":"box"} trailing`, "JSON"},
		{"application/json", `{"Labels":{"a":"b\u0000c"}}`, "NUL"},
		{"application/json", strings.Repeat("[", 100_000), "JSON"},
		{"application/json", `{"Labels":` + strings.Repeat(`{"a":`, 50_000), "JSON"},
		{"application/json", `{"Image":"` + strings.Repeat("x", 9<<20) + `"}`, "larger than"},
		{"text/plain", `{"Image":"box"}`, "Content-Type"},
		{"application/x-tar", `{"Image":"box"}`, "Content-Type"},
		{"application/jsonnonsense", `{"Image":"box"}`, "Content-Type"},
		{"", `{"Image":"box"}`, "Content-Type"},
		{"nonsense", `{"Image":"box"}`, "Content-Type"},
	} {
		status, body := post(c.kind, c.body)
		if status != 400 || !strings.Contains(body, c.text) || len(body) > 1<<12 {
			t.Errorf("%s %.60s: %d %.300s, want %q", c.kind, c.body, status, body, c.text)
		}
	}
	if status, body := post("application/json; charset=utf-8", `{"Image":"no-such"}`); status != 404 {
		t.Errorf("with a charset: %d %s", status, body)
	}
	if status, body := e.http("GET", "/containers/"+url.PathEscape(strings.Repeat("x", 4000)+"\x00\x1b[31m")+"/json", nil, nil); status != 404 || len(body) > 1<<13 || strings.Contains(body, "\x1b") {
		t.Errorf("a name of 4000 bytes: %d %.300q", status, body)
	}
	if status, _ := e.http("GET", "/containers/%2e%2e%2f%2e%2e%2fetc/json", nil, nil); status != 404 {
		t.Errorf("a name that leads out: %d", status)
	}
}

// TestAPIRawRequests: what no client of HTTP sends.
func TestAPIRawRequests(t *testing.T) {
	e := newEngine(t, "docker")
	for _, c := range []struct{ request, status string }{
		{"nonsense\r\n\r\n", "400"},
		{"GET /_ping HTTP/1.1\r\n\r\n", "400"}, // no host
		{"GET /containers/../../_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", "404"},
		{"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\nX: " + strings.Repeat("x", 2<<20) + "\r\n\r\n", "431"},
		{"POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n{}", "400"},
		{"POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
		{"GET /_ping HTTP/1.0\r\n\r\n", "200"},
	} {
		conn, err := net.Dial("unix", e.socket)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		go func() { _, _ = io.WriteString(conn, c.request) }() // an early answer may cut it short
		line, err := bufio.NewReader(conn).ReadString('\n')
		if f := strings.Fields(line); len(f) < 2 || f[1] != c.status {
			t.Errorf("%.60q: %q %v, want %s", c.request, line, err, c.status)
		}
		_ = conn.Close()
	}
}

// An answer is one with its headers.
type answer struct {
	*http.Response
	body string
}

func (e *engine) do(method, path string, body []byte) answer {
	e.Helper()
	conn, err := net.Dial("unix", e.socket)
	if err != nil {
		e.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r, err := http.NewRequest(method, "http://docker"+path, bytes.NewReader(body))
	if err == nil {
		r.Close = true
		err = r.Write(conn)
	}
	if err != nil {
		e.Fatal(err)
	}
	a, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		e.Fatal(fmt.Errorf("%s %s: %w", method, path, err))
	}
	data, err := io.ReadAll(io.LimitReader(a.Body, 1<<20))
	if err != nil {
		e.Fatal(err)
	}
	return answer{a, string(data)}
}
