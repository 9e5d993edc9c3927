package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	api "github.com/moby/moby/api/types/container"
)

// An item is an entry of an archive.
type item struct {
	name, data string
	kind       byte
	mode       int64
	uid        int
}

func pack(t *testing.T, items ...item) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := &tar.Header{Name: i.name, Typeflag: i.kind, Mode: i.mode, Uid: i.uid, Gid: i.uid, ModTime: time.Unix(1000000000, 0)}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(i.data))
		} else {
			h.Linkname = i.data
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, i.data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// copied lists what an archive of a container's file has: name, type and mode, owner, content or link.
func (e *engine) copied(id, path string) (string, error) {
	e.t.Helper()
	var b bytes.Buffer
	told := ""
	err := e.GetArchive(context.Background(), id, path, &b, func(st api.PathStat) error { told = st.Name; return nil })
	if err != nil {
		return "", err
	}
	var out []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			e.t.Fatalf("%s of %s: %v", path, told, err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			e.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %c %o %d %s", h.Name, h.Typeflag, h.Mode, h.Uid, string(data)+h.Linkname))
	}
	sort.Strings(out)
	return strings.Join(out, "\n"), nil
}

// TestCopy: files go in and come out of containers that run and that do not, with the owners that the container sees, through volumes and into a tmpfs.
func TestCopy(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	shared := filepath.Join(e.dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	id := e.create(func(q *option.Create) {
		q.Host.Binds = []string{shared + ":/data/shared", shared + ":/data/frozen:ro"}
		q.Host.Tmpfs = map[string]string{"/data/mem": ""}
	}, "sh", "-c", "while ! test -e /tmp/end; do sleep 0.02; done; stat -c '%u %a' /data/in/file /data/shared/one /data/mem/two; cat /etc/hosts")
	items := []item{
		{name: "in/", kind: tar.TypeDir, mode: 0o750, uid: 33},
		{name: "in/file", data: "content", mode: 0o4711, uid: 5},
		{name: "in/hard", data: "in/file", kind: tar.TypeLink},
		{name: "in/link", data: "/etc/passwd", kind: tar.TypeSymlink},
		{name: "in/deep/er/file", data: "x", uid: 0},
	}
	const want = "in/ 5 750 33 \nin/deep/ 5 755 0 \nin/deep/er/ 5 755 0 \nin/deep/er/file 0 644 0 x\nin/file 0 4711 5 content\nin/hard 1 4711 5 in/file\nin/link 2 777 0 /etc/passwd"
	for _, state := range []string{"created", "running", "ended"} {
		switch state {
		case "running":
			if err := e.Start(ctx, id); err != nil {
				t.Fatal(err)
			}
		case "ended":
			if err := e.PutArchive(ctx, id, "/tmp", pack(t, item{name: "end"}), option.Put{}); err != nil {
				t.Fatal(err)
			}
			if code, err := e.exit(id); code != 0 || err != nil {
				t.Errorf("%d, %v", code, err)
			}
		}
		if err := e.PutArchive(ctx, id, "/data", pack(t, items...), option.Put{NoOverwriteDirNonDir: true}); err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		if got, err := e.copied(id, "/data/in"); got != want || err != nil {
			t.Errorf("%s: %v\n%s\nwant\n%s", state, err, got, want)
		}
		if err := e.PutArchive(ctx, id, "/data/shared", pack(t, item{name: "one", data: state, uid: 7}), option.Put{}); err != nil {
			t.Errorf("%s: %v", state, err)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(shared, "one"), &st); err != nil || st.Uid != 7 {
			t.Errorf("%s: the volume's file belongs to %d, %v", state, st.Uid, err)
		}
		if got, err := e.copied(id, "/data/frozen/one"); got != "one 0 644 7 "+state || err != nil {
			t.Errorf("%s: %q, %v", state, got, err)
		}
		if err := e.PutArchive(ctx, id, "/data/frozen", pack(t, item{name: "two"}), option.Put{}); !errors.Is(err, syscall.EROFS) || !errdef.Is(err, errdef.Denied) {
			t.Errorf("%s: into a read-only volume: %v", state, err)
		}
		if state == "running" {
			if err := e.PutArchive(ctx, id, "/data/mem", pack(t, item{name: "two", uid: 9}), option.Put{}); err != nil {
				t.Error(err)
			}
			if err := e.PutArchive(ctx, id, "/etc", pack(t, item{name: "hosts", data: "changed\n"}), option.Put{}); err != nil {
				t.Error(err)
			}
		}
		if got, err := e.copied(id, "/"); err != nil || !strings.Contains(got, "./bin/busybox 0 755 0 ") || strings.Contains(got, "./proc/1") || strings.Contains(got, "./sys/kernel") {
			t.Errorf("%s: all of it: %d bytes, %v", state, len(got), err)
		} else if at := strings.Index(got, " 65534 "); at >= 0 && state != "running" { // there the host's /sys is nobody's
			t.Errorf("%s: somebody whom the container does not have: %.100q", state, got[max(0, at-50):])
		}
	}
	if text, _ := logged(t, e.LogPath(id)); text != "5 4711\n7 644\n9 644\nchanged\n" {
		t.Errorf("%q", text)
	}
}

// TestCopyPaths: what a path means, and what is refused.
func TestCopyPaths(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.create(func(q *option.Create) { q.Config.User = "5:6" }, "true")
	e.put(id, "/data", item{name: "dir/", kind: tar.TypeDir}, item{name: "dir/f", data: "x"}, item{name: "to", data: "dir", kind: tar.TypeSymlink}, item{name: "abs", data: "/data/to", kind: tar.TypeSymlink},
		item{name: "out", data: "../../../../../../etc", kind: tar.TypeSymlink}, item{name: "loop", data: "loop", kind: tar.TypeSymlink}, item{name: "pipe", kind: tar.TypeFifo})
	for path, want := range map[string]string{
		"/data/dir": "dir /", "data/dir": "dir /", "/data/to": "to /data/dir", "/data/to/": "to /", "/data/to/.": "to /", "/data/abs": "abs /data/dir", "/data/to/f": "f /", "/data/out": "out /etc",
		"/data/out/passwd": "passwd /", "/../../data/dir": "dir /", "/": "/ /", "/data/pipe": "pipe /",
	} {
		st, err := e.StatPath(ctx, id, path)
		if got := st.Name + " " + strings.TrimSuffix(st.LinkTarget, "/") + map[bool]string{true: "/"}[st.LinkTarget == ""]; err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]string{
		"/data/to": "to 2 777 0 dir", "/data/to/": "to/ 5 644 0 \nto/f 0 644 0 x", "/data/to/f": "f 0 644 0 x", "/data/pipe": "pipe 6 644 0 ", "/data/out/group": "group 0 644 0 root:x:0:\nwww:x:33:\n",
	} {
		if got, err := e.copied(id, path); got != want || err != nil {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for path, kind := range map[string]errdef.Kind{"/absent": errdef.NotFound, "/data/dir/f/x": errdef.NotFound, "/data/loop/x": errdef.Denied, "/a\x00b": errdef.Invalid} {
		if _, err := e.copied(id, path); !errdef.Is(err, kind) {
			t.Errorf("%q: %v", path, err)
		}
	}
	for _, test := range []struct {
		dir  string
		what item
		kind errdef.Kind
	}{
		{"/absent", item{name: "x"}, errdef.NotFound},
		{"/etc/passwd", item{name: "x"}, errdef.Invalid},
		{"/data", item{name: "../x"}, errdef.Invalid},
		{"/data", item{name: "a/../../x"}, errdef.Invalid},
		{"/data", item{name: "x", kind: tar.TypeLink, data: "../etc/passwd"}, errdef.Invalid},
		{"/data", item{name: "x", kind: tar.TypeChar}, errdef.Unsupported},
		{"/data", item{name: "x", uid: 70000}, errdef.Invalid},
		{"/data", item{name: "dir", data: "file"}, errdef.Conflict},
		{"/data", item{name: "to", kind: tar.TypeDir}, errdef.Conflict},
	} {
		if err := e.PutArchive(ctx, id, test.dir, pack(t, test.what), option.Put{NoOverwriteDirNonDir: true}); !errdef.Is(err, test.kind) {
			t.Errorf("%s %+v: %v", test.dir, test.what, err)
		}
	}
	e.put(id, "/data", item{name: "/dir", data: "now a file"}, item{name: "to", kind: tar.TypeDir, mode: 0o755})
	if got, err := e.copied(id, "/data/dir"); got != "dir 0 644 0 now a file" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := e.PutArchive(ctx, id, "/data", pack(t, item{name: "mine", uid: 33}), option.Put{CopyUIDGID: true}); err != nil {
		t.Error(err)
	}
	if got, err := e.copied(id, "/data/mine"); got != "mine 0 644 5 " || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := e.PutArchive(ctx, id, "/data", strings.NewReader("no archive at all"), option.Put{}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("%v", err)
	}
	if got := actions(e.events(nil)); !strings.Contains(got, "extract-to-dir") || !strings.Contains(got, "archive-path") {
		t.Error(got)
	}
	frozen := e.create(func(q *option.Create) { q.Host.ReadonlyRootfs = true }, "true")
	if err := e.PutArchive(ctx, frozen, "/data", pack(t, item{name: "x"}), option.Put{}); !errdef.Is(err, errdef.Denied) {
		t.Errorf("into a read-only root: %v", err)
	}
}

func (e *engine) put(id, dir string, items ...item) {
	e.t.Helper()
	if err := e.PutArchive(context.Background(), id, dir, pack(e.t, items...), option.Put{}); err != nil {
		e.t.Fatal(err)
	}
}

// TestCopyMounts: a mount of a container is neither taken away nor emptied by what is put in its place.
func TestCopyMounts(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	shared := filepath.Join(e.dir, "shared")
	if err := os.MkdirAll(filepath.Join(shared, "keep"), 0o755); err != nil {
		t.Fatal(err)
	}
	id := e.create(func(q *option.Create) { q.Host.Binds = []string{shared + ":/data/up/shared"} }, "sleep", "1000")
	for _, state := range []string{"created", "running"} {
		if state == "running" {
			if err := e.Start(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range []struct {
			dir string
			item
		}{{"/data/up", item{name: "shared", data: "x"}}, {"/data", item{name: "up", data: "x"}}, {"/data/up", item{name: "shared", kind: tar.TypeSymlink, data: "/"}}, {"/etc", item{name: "hosts", kind: tar.TypeSymlink, data: "/"}}} {
			if state == "created" && i.dir == "/etc" {
				continue // there is no such file yet
			}
			err := e.PutArchive(ctx, id, i.dir, pack(t, i.item), option.Put{})
			if !errdef.Is(err, errdef.Conflict) {
				t.Errorf("%s: %s/%s: %v", state, i.dir, i.name, err)
			}
		}
		if _, err := os.Stat(filepath.Join(shared, "keep")); err != nil {
			t.Fatalf("%s: the volume was emptied: %v", state, err)
		}
	}
	if st, err := e.StatPath(ctx, id, "/data/up/shared/keep"); err != nil || !st.Mode.IsDir() {
		t.Errorf("the volume is not mounted any more: %v, %v", st, err)
	}
}

// TestCopyRace: a container that swaps a directory for a link to the root, and a file for a FIFO and for a link, all the time, gets nothing of the host, changes nothing of it and holds nobody up
// (CVE-2018-15664). Seen: that what is in the way is found in the container as well as not, so that the race is one.
func TestCopyRace(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	victim := filepath.Join(e.dir, "victim")
	if err := os.MkdirAll(victim, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(victim, "secret"), []byte("host"), 0o666); err != nil {
		t.Fatal(err)
	}
	script := `mkdir -p /data/real VICTIM; echo inside >/data/real/secret; echo inside >VICTIM/secret; cd /data; ln -s VICTIM link; mkfifo pipe
while :; do mv real way; mv way real; mv link way; mv way link; mv pipe way; mv way pipe; done`
	script = strings.ReplaceAll(script, "VICTIM", victim)
	id := e.started(nil, "busybox", "sh", "-c", strings.NewReplacer("mkdir", "busybox mkdir", "ln ", "busybox ln ", "mkfifo", "busybox mkfifo", "mv", "busybox mv").Replace(script))
	e.until("the race has begun", func() bool { _, err := e.StatPath(ctx, id, "/data/pipe"); return err == nil })
	seen, missed := 0, 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		got, err := e.copied(id, "/data/way/secret")
		switch {
		case err == nil && strings.HasSuffix(got, "inside\n"):
			seen++
		case errdef.Is(err, errdef.NotFound):
			missed++
		default:
			t.Fatalf("%q, %v", got, err)
		}
		err = e.PutArchive(ctx, id, "/data/way", pack(t, item{name: "secret", data: "inside\n"}), option.Put{})
		if err != nil && !errdef.Is(err, errdef.NotFound) && !errdef.Is(err, errdef.Invalid) {
			t.Fatal(err)
		}
		if _, err := e.copied(id, "/data"); err != nil && !errdef.Is(err, errdef.NotFound) && !errdef.Is(err, errdef.Conflict) {
			t.Fatal(err)
		}
	}
	if seen == 0 || missed == 0 {
		t.Errorf("found %d times, missed %d times: no race", seen, missed)
	}
	entries, err := os.ReadDir(victim)
	data, err2 := os.ReadFile(filepath.Join(victim, "secret"))
	if err != nil || err2 != nil || len(entries) != 1 || string(data) != "host" {
		t.Errorf("the host's directory: %v, %q, %v, %v", entries, data, err, err2)
	}
}
