package engine

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
)

// TestInit: with --init the program is not the first process, is told to stop, and its orphans are reaped; the init is out of its reach, and leaves no trace in its layer.
func TestInit(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	init := func(q *option.Create) { on := true; q.Host.Init = &on }
	if r := e.run(init, "", "sh", "-c", "echo $$ $PPID; cat /proc/1/cmdline | tr '\\0' ' '; exit 4"); r.code != 4 || !strings.HasSuffix(r.out, " 1\n/dev/init -- sh -c echo $$ $PPID; cat /proc/1/cmdline | tr '\\0' ' '; exit 4 ") {
		t.Errorf("%+v", r)
	}
	if r := e.run(init, "", "no-such-program"); r.code != 127 || r.problems != "cannot execute: no-such-program\n" {
		t.Errorf("%+v", r)
	}
	if r := e.run(init, "", "sh", "-c", "echo x 2>/dev/null >/dev/init; rm -f /dev/init 2>/dev/null; chmod 777 /dev/init 2>/dev/null; stat -c '%a %u %s' /dev/init"); !strings.HasPrefix(r.out, "555 65534 ") {
		t.Errorf("%+v", r)
	}
	if r := e.run(func(q *option.Create) { init(q); q.Config.Tty = true }, "", "sh", "-c", "test -t 0 && echo $$ && ps -o pid,pgid,comm >/dev/null && echo terminal"); r.code != 0 || !strings.Contains(r.out, "terminal") {
		t.Errorf("%+v", r)
	}
	id := e.started(init, "sh", "-c", "trap 'exit 3' TERM; (sleep 0.01 &); (sleep 0.01 &); while :; do sleep 0.05; done")
	c, err := e.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	e.until("reaped", func() bool {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(c.State.PID) + "/task/" + strconv.Itoa(c.State.PID) + "/children")
		return err == nil && len(strings.Fields(string(b))) == 1
	})
	time.Sleep(200 * time.Millisecond)
	if err := e.Kill(ctx, id, "TERM"); err != nil {
		t.Fatal(err)
	}
	if code, err := e.exit(id); code != 3 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	list, err := e.Changes(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range list {
		if strings.HasPrefix(change.Path, "/dev/") {
			t.Errorf("%+v", change)
		}
	}
}
