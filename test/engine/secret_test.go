package engine

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/image"
	api "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

// inMemory moves an engine's run directory to a tmpfs.
func (e *engine) inMemory() string {
	e.t.Helper()
	run, err := os.MkdirTemp("/dev/shm", "bh-engine-")
	if err != nil {
		e.t.Skip(err)
	}
	if err := os.Chmod(run, 0o711); err != nil {
		e.t.Fatal(err)
	}
	images, err := image.Open(image.Options{Root: filepath.Join(e.dir, "root"), Unpacker: filepath.Join(work, "bulkhead-unpack")})
	if err != nil {
		e.t.Fatal(err)
	}
	s, err := container.Open(container.Options{Root: filepath.Join(e.dir, "root"), Run: run, Images: images, Monitor: filepath.Join(work, "bulkhead-monitor"), Warn: func(err error) { e.t.Log(err) }})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		list, err := s.List(context.Background(), option.List{All: true})
		if err != nil {
			e.t.Error(err)
		}
		for _, c := range list {
			if err := s.Remove(context.Background(), c.ID, option.Remove{Force: true}); err != nil {
				e.t.Error(err)
			}
		}
		if entries, err := os.ReadDir(filepath.Join(run, "secrets")); err != nil || len(entries) > 0 {
			e.t.Errorf("secrets are left: %v, %v", entries, err)
		}
		if err := images.Close(); err != nil {
			e.t.Error(err)
		}
		if err := os.RemoveAll(run); err != nil {
			e.t.Error(err)
		}
	})
	e.Service = s
	return run
}

// TestSecrets: files and variables that the container sees, at each start, and that are in no record, in no layer and nowhere on the disk.
func TestSecrets(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	run := e.inMemory()
	const word = "xyzzy-7351"
	ask := func(q *option.Create) {
		q.Host.Tmpfs = map[string]string{"/run": ""}
		q.Secrets = []option.Secret{
			{Name: "key", Data: []byte(word)},
			{Name: "web", Data: []byte(word + "\x00"), UID: 33, GID: 33, Mode: 0o440},
			{Name: "deep", Target: "sub/name", Data: []byte(word), Mode: 0o444},
			{Name: "conf", Target: "/etc/app/conf", Data: []byte(word)},
			{Name: "TOKEN", Env: true, Data: []byte(word)},
			{Name: "other", Target: "HOME", Env: true, Data: []byte("/secret")},
		}
	}
	const script = "stat -c '%n %a %u:%g' /run/secrets/key /run/secrets/web /run/secrets/sub/name /etc/app/conf; cat /run/secrets/key /etc/app/conf; echo; echo $TOKEN $HOME; " +
		"echo x 2>/dev/null >/run/secrets/key || echo frozen; touch /run/secrets/new 2>/dev/null || echo closed"
	const want = "/run/secrets/key 400 0:0\n/run/secrets/web 440 33:33\n/run/secrets/sub/name 444 0:0\n/etc/app/conf 400 0:0\n" + word + word + "\n" + word + " /secret\nfrozen\nclosed\n"
	id := e.create(ask, "sh", "-c", script)
	for n := range 2 {
		e.finish(id)
		if text, _ := logged(t, e.LogPath(id)); text != strings.Repeat(want, n+1) {
			t.Errorf("%q", text)
		}
	}
	if err := os.Remove(e.LogPath(id)); err != nil { // the program has printed them
		t.Fatal(err)
	}
	count := 0
	look := func(dir string) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if bytes.Contains(data, []byte(word)) {
				count++
				if dir != run {
					t.Errorf("on the disk: %s", path)
				}
				if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 && !strings.Contains(path, "/secrets/") {
					t.Errorf("%s: %v, %v", path, info.Mode(), err)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	look(filepath.Join(e.dir, "root"))
	look(run)
	if count == 0 {
		t.Error("the search finds nothing: it looks for the wrong thing")
	}
	if st, err := os.Stat(filepath.Join(run, "secrets", id)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", st, err)
	}
	if c, err := e.Get(id); err != nil || len(c.Secrets) != 6 || c.Secrets[0].Data != nil {
		t.Errorf("%+v, %v", c.Secrets, err)
	}
	if err := os.RemoveAll(filepath.Join(run, "secrets")); err != nil { // as after a start of the machine
		t.Fatal(err)
	}
	if err := e.Start(ctx, id); !errdef.Is(err, errdef.NotFound) || !strings.Contains(err.Error(), `secret "key"`) || errdef.Hint(err) == "" {
		t.Errorf("%v", err)
	}
	if r := e.run(func(q *option.Create) { ask(q); q.Host.AutoRemove = true }, "", "sh", "-c", script); r.out != want {
		t.Errorf("%q", r.out)
	}
	e.until("removed", func() bool {
		l, err := e.List(context.Background(), option.List{All: true})
		return err == nil && len(l) == 1
	})
}

// TestSecretsRefused: what cannot be a secret, and a run directory that is on a disk.
func TestSecretsRefused(t *testing.T) {
	e := newEngine(t)
	disk := e.Service
	e.inMemory()
	for _, bad := range [][]option.Secret{
		{{Name: ""}},
		{{Name: "a/b"}},
		{{Name: ".."}},
		{{Name: "a", Target: "/"}},
		{{Name: "a", Target: "/run/secrets"}},
		{{Name: "a", Mode: 0o4755}},
		{{Name: "a", UID: 70000}},
		{{Name: "a", UID: -1}},
		{{Name: "a"}, {Name: "b", Target: "/run/secrets/a"}},
		{{Name: "A", Env: true, Mode: 0o400}},
		{{Name: "A=B", Env: true}},
		{{Name: "A", Env: true, Data: []byte("x\x00y")}},
		{{Name: "a", Data: make([]byte, 600_000)}},
		{{Name: "a", Target: "/data"}},
		{{Name: "a", Target: "b"}, {Name: "c", Target: "b/c"}},
		make([]option.Secret, 300),
	} {
		q := option.Create{Config: api.Config{Image: "busybox", Cmd: []string{"true"}}, Host: api.HostConfig{Tmpfs: map[string]string{"/data": ""}}, Secrets: bad}
		if r, err := e.Create(context.Background(), q); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%+v: %v, %v", bad[:min(len(bad), 2)], r, err)
		}
	}
	e.create(func(q *option.Create) { q.Secrets = []option.Secret{{Name: "a"}} }, "true")
	if isMemory(t, e.dir) {
		t.Skip("the work directory is in memory")
	}
	q := option.Create{Config: api.Config{Image: "busybox", Cmd: []string{"true"}}, Secrets: []option.Secret{{Name: "a"}}}
	if _, err := disk.Create(context.Background(), q); !errdef.Is(err, errdef.Unsupported) || errdef.Hint(err) == "" {
		t.Errorf("on a disk: %v", err)
	}
}

func isMemory(t *testing.T, dir string) bool {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return st.Type == unix.TMPFS_MAGIC
}
