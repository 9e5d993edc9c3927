package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

func logging(driver string, options ...string) func(*option.Create) {
	return func(q *option.Create) {
		q.Host.LogConfig = api.LogConfig{Type: driver, Config: map[string]string{}}
		for _, o := range options {
			name, value, _ := strings.Cut(o, "=")
			q.Host.LogConfig.Config[name] = value
		}
	}
}

// logged returns what a log of json-file has, as it was printed.
func logged(t *testing.T, path string) (text string, first map[string]any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for l := range strings.Lines(string(data)) {
		var e map[string]any
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if first == nil {
			first = e
		}
		b.WriteString(e["log"].(string))
	}
	return b.String(), first
}

// TestLogOptions: what is no option of a driver is refused when the container is made, by its name; and a driver that answers nobody when it is started.
func TestLogOptions(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	for _, test := range []struct {
		driver, option, want string
		kind                 errdef.Kind
	}{
		{"fluentd", "", `log-driver "fluentd"`, errdef.Unsupported},
		{"json-file", "max-sze=1m", "log-opt max-sze: unknown log opt", errdef.Invalid},
		{"json-file", "max-size=many", "log-opt max-size", errdef.Invalid},
		{"json-file", "max-file=0", "log-opt max-file", errdef.Invalid},
		{"json-file", "mode=fast", "log-opt mode", errdef.Invalid},
		{"json-file", "compress=perhaps", "log-opt compress", errdef.Invalid},
		{"json-file", "max-buffer-size=1m", "log-opt max-buffer-size: is for mode=non-blocking", errdef.Invalid},
		{"json-file", "tag={{.Nope}}", "log-opt tag", errdef.Invalid},
		{"json-file", "labels-regex=(", "log-opt labels-regex", errdef.Invalid},
		{"journald", "max-size=1m", "log-opt max-size: unknown log opt", errdef.Invalid},
		{"syslog", "syslog-address=host", "log-opt syslog-address", errdef.Invalid},
		{"syslog", "syslog-address=tcp+tls://host:1", "log-opt syslog-address: tcp+tls", errdef.Unsupported},
		{"syslog", "syslog-facility=nope", "log-opt syslog-facility", errdef.Invalid},
		{"syslog", "syslog-format=rfc1", "log-opt syslog-format", errdef.Invalid},
		{"syslog", "labels=a", "log-opt labels", errdef.Unsupported},
		{"none", "max-size=1m", "log-opt max-size", errdef.Invalid},
	} {
		q := option.Create{Config: api.Config{Image: "busybox", Cmd: []string{"true"}}}
		logging(test.driver, strings.Fields(test.option)...)(&q)
		if _, err := e.Create(ctx, q); !errdef.Is(err, test.kind) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s %s: %v", test.driver, test.option, err)
		}
	}
	for driver, change := range map[string]func(*option.Create){
		"syslog": logging("syslog", "syslog-address=tcp://127.0.0.1:1"), "journald": logging("journald"),
	} {
		if _, err := os.Stat("/run/systemd/journal/socket"); driver == "journald" && err == nil {
			continue // this machine has one
		}
		id := e.create(change, "true")
		if err := e.Start(ctx, id); !errdef.Is(err, errdef.Unavailable) || !strings.Contains(err.Error(), "log driver "+driver) || errdef.Hint(err) == "" {
			t.Errorf("%s: %v", driver, err)
		}
	}
}

// TestLogs: labels, variables and the tag with each line; nothing with the driver none; binary output as text, output without an end of line.
func TestLogs(t *testing.T) {
	e := newEngine(t)
	id := e.create(func(q *option.Create) {
		logging("json-file", "labels=tier,absent", "env-regex=^AP", "tag={{.Name}}/{{.ImageName}}")(q)
		q.Name, q.Config.Labels, q.Config.Env = "web", map[string]string{"tier": "front", "other": "x"}, []string{"APP=shop", "NO=x"}
	}, "sh", "-c", `echo -e 'bin\0\xff\x1b[31m'; echo -n end`)
	e.finish(id)
	text, first := logged(t, e.LogPath(id))
	if text != "bin\x00\uFFFD\x1b[31m\nend" || fmt.Sprint(first["attrs"]) != "map[APP:shop tag:web/busybox tier:front]" {
		t.Errorf("%q, %v", text, first)
	}
	id = e.create(logging("none"), "echo", "x")
	e.finish(id)
	if _, err := os.Stat(e.LogPath(id)); !os.IsNotExist(err) {
		t.Errorf("the driver none keeps a log: %v", err)
	}
	for _, mode := range []string{"mode=blocking", "mode=non-blocking"} {
		id = e.create(logging("json-file", mode), "seq", "1", "20000")
		begin := time.Now()
		e.finish(id)
		text, _ = logged(t, e.LogPath(id))
		if !strings.HasPrefix(text, "1\n2\n") || !strings.HasSuffix(text, "\n20000\n") || strings.Count(text, "\n") != 20000 || time.Since(begin) > 4*time.Second {
			t.Errorf("%s: %d lines after %v", mode, strings.Count(text, "\n"), time.Since(begin))
		}
	}
}

// finish starts a container and waits for its end.
func (e *engine) finish(id string) {
	e.t.Helper()
	if err := e.Start(context.Background(), id); err != nil {
		e.t.Fatal(err)
	}
	if code, err := e.exit(id); code != 0 || err != nil {
		e.t.Errorf("%d, %v", code, err)
	}
}

// TestFullDisk: a program that prints more than the disk takes goes on to its end, which is recorded.
func TestFullDisk(t *testing.T) {
	e := newEngine(t)
	dir := filepath.Join(e.dir, "root", "containers")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=700"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		list, err := e.List(context.Background(), option.List{All: true})
		if err != nil {
			t.Error(err)
		}
		for _, c := range list {
			if err := e.Remove(context.Background(), c.ID, option.Remove{Force: true}); err != nil {
				t.Error(err)
			}
		}
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	id := e.create(func(q *option.Create) { q.Config.Tty = false }, "sh", "-c", "seq 1 100000; exit 5")
	if err := e.Start(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	if code, err := e.exit(id); code != 5 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	if c, err := e.Get(id); err != nil || c.State.Phase != control.Exited || c.State.ExitCode != 5 || c.State.Error != "" {
		t.Errorf("%+v, %v", c, err)
	}
	data, err := os.ReadFile(e.LogPath(id))
	if err != nil || len(data) < 1<<20 || !bytes.HasSuffix(data, []byte("}\n")) {
		t.Errorf("a log of %d bytes, %v", len(data), err)
	}
}
