package api

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/test/need"
	"github.com/bulkhead-engine/bulkhead/test/terminal"
	"github.com/moby/moby/api/types/container"
)

const (
	patience = 40 * time.Second // for what must happen
	lookTime = 20 * time.Millisecond
)

// applets of busybox that containers of the tests call by name.
const applets = "sh sleep cat echo ls id pwd stty tty env grep head kill mkdir touch rm dd yes true false seq test wc mount chmod stat tr cut"

// box is an archive with busybox, its applets, two users, and a directory /data.
func box(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(need.Program(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, data string) {
		h.Size = int64(len(data))
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write([]byte(data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add(&tar.Header{Name: "bin/busybox", Mode: 0o755}, string(data))
	for name := range strings.FieldsSeq(applets) {
		add(&tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, "")
	}
	for _, dir := range []string{"dev", "proc", "sys", "tmp"} {
		add(&tar.Header{Name: dir, Mode: 0o1777, Typeflag: tar.TypeDir}, "")
	}
	add(&tar.Header{Name: "etc/passwd", Mode: 0o644}, "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
	add(&tar.Header{Name: "etc/group", Mode: 0o644}, "root:x:0:\nuser:x:1000:\n")
	add(&tar.Header{Name: "data/content", Mode: 0o644}, "of the image\n")
	add(&tar.Header{Name: "data/no-program", Mode: 0o755}, "neither ELF nor script")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// eachBox runs a test with every docker command there is, against an engine of its own that has an image "box".
func eachBox(t *testing.T, f func(t *testing.T, e *engine)) {
	needsRoot(t)
	archive := box(t)
	each(t, func(t *testing.T, e *engine) {
		e.boxed(archive)
		f(t, e)
	})
}

// anyBox runs a test once, with the newest docker command there is.
func anyBox(t *testing.T, f func(t *testing.T, e *engine)) {
	needsRoot(t)
	all := clients(t)
	path := all["newer"]
	if path == "" {
		path = all["debian"]
	}
	e := newEngine(t, path)
	e.boxed(box(t))
	f(t, e)
}

func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root runs containers yet")
	}
}

// boxed makes the image, and sees to it that no container is left.
func (e *engine) boxed(archive []byte) {
	e.Helper()
	if r := e.feed(archive, "import", "-c", `CMD ["/bin/sh"]`, "-", "box"); r.code != 0 {
		e.Fatalf("import: %+v", r)
	}
	e.Cleanup(func() {
		if ids := strings.Fields(e.try("ps", "-aq", "--no-trunc").out); len(ids) > 0 {
			if r := e.try(append([]string{"rm", "-f", "-v"}, ids...)...); r.code != 0 {
				e.Errorf("rm -f of all: %+v", r)
			}
		}
	})
}

// sleeper starts a container that does nothing, and ends at once when it is told to.
func (e *engine) sleeper(name string, args ...string) string {
	e.Helper()
	return strings.TrimSpace(e.ok(append(append([]string{"run", "-d", "--name", name}, args...), "box", "sh", "-c", "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done")...))
}

// exits runs a command and compares its exit status.
func (e *engine) exits(code int, args ...string) result {
	e.Helper()
	r := e.try(args...)
	if r.code != code {
		e.Errorf("docker %s: exit %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.err)
	}
	return r
}

// says runs a command that must work and compares its output.
func (e *engine) says(want string, args ...string) {
	e.Helper()
	if got := e.ok(args...); got != want {
		e.Errorf("docker %s: %q, want %q", strings.Join(args, " "), got, want)
	}
}

// until asks until the answer is yes.
func (e *engine) until(what string, holds func() bool) {
	e.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(lookTime) {
		if time.Now().After(end) {
			e.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// screen starts a command on a terminal.
func (e *engine) screen(args ...string) *terminal.Screen {
	e.Helper()
	return terminal.Start(e.TB, e.command(e.Context(), args...))
}

// begin starts a command whose output goes to a buffer.
func (e *engine) begin(out *shown, args ...string) *exec.Cmd {
	e.Helper()
	cmd := e.command(e.Context(), args...)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// ended waits for a command and returns its exit status.
func (e *engine) ended(cmd *exec.Cmd) int {
	e.Helper()
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // the status is looked at
	if !timer.Stop() {
		e.Errorf("%v hangs", cmd.Args)
	}
	return cmd.ProcessState.ExitCode()
}

// inspect is what the API says of a container, without a docker command.
func (e *engine) inspect(name string) container.InspectResponse {
	e.Helper()
	status, body := e.http(http.MethodGet, "/containers/"+name+"/json", nil, nil)
	var c container.InspectResponse
	if err := json.Unmarshal([]byte(body), &c); err != nil || status != http.StatusOK {
		e.Fatalf("inspect %s: %d %s: %v", name, status, body, err)
	}
	return c
}
