package engine

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/container"
	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// events returns what has happened so far.
func (e *engine) events(f event.Filter) []events.Message {
	e.t.Helper()
	var out []events.Message
	err := event.Open(filepath.Join(e.dir, "run", "events")).Follow(context.Background(), time.Unix(1, 0), time.Now(), f, func(m events.Message) error {
		if m.Type != events.NetworkEventType { // of networks, which come between, test/network has tests
			out = append(out, m)
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

func actions(list []events.Message) string {
	var out []string
	for _, m := range list {
		out = append(out, string(m.Action))
	}
	return strings.Join(out, " ")
}

// until waits for something, ten seconds at most.
func (e *engine) until(what string, is func() bool) {
	e.t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("never: %s", what)
		}
	}
}

// TestEvents: what happens to a container is told in order, with what Docker tells of it.
func TestEvents(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.create(func(q *option.Create) {
		q.Name, q.Config.Labels = "web", map[string]string{"tier": "front"}
	}, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	if err := e.Pause(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	if err := e.Unpause(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(ctx, "web", option.Stop{}); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(ctx, "web", option.Remove{}); err != nil {
		t.Fatal(err)
	}
	all := e.events(nil)
	if got := actions(all); got != "create start pause unpause kill die stop destroy" {
		t.Errorf("%s", got)
	}
	for _, m := range all {
		a := m.Actor.Attributes
		if m.Type != events.ContainerEventType || m.Actor.ID != id || a["name"] != "web" || a["image"] != "busybox" || a["tier"] != "front" || m.Scope != "local" || m.TimeNano == 0 {
			t.Errorf("%+v", m)
		}
		if m.Action == events.ActionDie && (a["exitCode"] != "3" || a["execDuration"] != "0") || m.Action == events.ActionKill && a["signal"] != "15" {
			t.Errorf("%+v", m)
		}
	}
	if r := e.run(func(q *option.Create) { q.Host.AutoRemove, q.Name = true, "brief" }, "", "true"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	e.until("destroyed", func() bool {
		return actions(e.events(event.Filter{"container": {"brief"}})) == "create attach start die destroy"
	})
}

// TestMemoryEvents: a child that the kernel kills is told while the container goes on, and a first process that it kills once.
func TestMemoryEvents(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	limited := func(q *option.Create) { q.Host.Memory, q.Host.MemorySwap, q.Host.NetworkMode = 16<<20, 16<<20, "none" }
	id := e.create(limited, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 1000")
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	e.until("oom", func() bool { return actions(e.events(nil)) == "create start oom" })
	if c, err := e.Get(id); err != nil || c.State.Phase != control.Running {
		t.Errorf("%+v, %v", c, err)
	}
	first := e.create(limited, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
	if err := e.Start(ctx, first); err != nil {
		t.Fatal(err)
	}
	if code, err := e.exit(first); code != 137 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	e.until("die", func() bool { return actions(e.events(event.Filter{"container": {first}})) == "create start oom die" })
	if c, err := e.Get(first); err != nil || !c.State.OOMKilled {
		t.Errorf("%+v, %v", c, err)
	}
}

func healthCheck(script string) *api.HealthConfig {
	return &api.HealthConfig{Test: []string{"CMD-SHELL", script}, Interval: 30 * time.Millisecond, Timeout: 20 * time.Second, Retries: 2}
}

// TestHealth: a program becomes healthy, unhealthy and healthy again, and what its checks print is kept, but not all.
func TestHealth(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.create(func(q *option.Create) {
		q.Config.Healthcheck = healthCheck("echo checked; yes xxxxxxxxx | head -n 2000; test -e /tmp/well")
	}, "sh", "-c", "touch /tmp/well; sleep 1000")
	status := func() string {
		return string(e.health(id).Status)
	}
	if s := status(); s != "" {
		t.Errorf("before the start: %s", s)
	}
	if err := e.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	in := func(script string) {
		t.Helper()
		c, err := e.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		path := "/proc/" + strconv.Itoa(c.State.PID) + "/root/tmp/well"
		if script == "rm" {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	e.until("healthy", func() bool { return status() == "healthy" })
	in("rm")
	e.until("unhealthy", func() bool { return status() == "unhealthy" })
	in("touch")
	e.until("healthy again", func() bool { return status() == "healthy" })
	time.Sleep(400 * time.Millisecond)
	h := e.health(id)
	if h.FailingStreak != 0 || len(h.Log) != 5 || h.Log[4].ExitCode != 0 || !strings.HasPrefix(h.Log[4].Output, "checked\nxxx") || len(h.Log[4].Output) > 4096 || len(h.Log[4].Output) < 4000 {
		t.Errorf("%+v", h)
	}
	var last time.Time
	for _, r := range h.Log {
		if r.Start.Before(last) || r.End.Before(r.Start) {
			t.Errorf("%+v", r)
		}
		last = r.Start
	}
	if got := actions(e.events(event.Filter{"event": {"health_status"}})); got != "health_status: healthy health_status: unhealthy health_status: healthy" {
		t.Errorf("%s", got)
	}
	if err := e.Stop(ctx, id, option.Stop{Timeout: new(time.Duration)}); err != nil {
		t.Error(err)
	}
}

// TestHealthLimits: a check that does not end is killed and counts as failed; failures while the program starts do not; one that cannot be run is a failure with its reason.
func TestHealthLimits(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	long := healthCheck("echo waiting; sleep 100 & sleep 100")
	long.Timeout = 100 * time.Millisecond
	absent := &api.HealthConfig{Test: []string{"CMD", "/no/such"}, Interval: 20 * time.Millisecond, Retries: 1}
	slow := healthCheck("false")
	slow.StartPeriod, slow.StartInterval = time.Hour, 10*time.Millisecond
	ids := map[string]string{}
	for name, h := range map[string]*api.HealthConfig{"long": long, "absent": absent, "slow": slow} {
		id := e.create(func(q *option.Create) { q.Config.Healthcheck = h }, "sleep", "1000")
		if err := e.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
		ids[name] = id
	}
	health := func(name string) *api.Health { return e.health(ids[name]) }
	e.until("unhealthy by time", func() bool { return health("long").Status == "unhealthy" })
	if r := health("long").Log[0]; r.ExitCode != -1 || !strings.HasPrefix(r.Output, "Health check exceeded timeout (100ms): waiting") {
		t.Errorf("%+v", r)
	}
	e.until("unhealthy without a program", func() bool { return health("absent").Status == "unhealthy" })
	if r := health("absent").Log[0]; r.ExitCode == 0 || !strings.Contains(r.Output, "/no/such") {
		t.Errorf("%+v", r)
	}
	e.until("five failures", func() bool { return len(health("slow").Log) == 5 })
	if h := health("slow"); h.Status != "starting" || h.FailingStreak != 0 || h.Log[4].ExitCode != 1 {
		t.Errorf("%+v", h)
	}
	for _, id := range ids { // a container with a check ends as quickly as one without
		begin := time.Now()
		if err := e.Kill(ctx, id, "KILL"); err != nil {
			t.Error(err)
		}
		if _, err := e.exit(id); err != nil || time.Since(begin) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	}
}

// TestHealthActions: what is done to an unhealthy container.
func TestHealthActions(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	for action, want := range map[string]string{"kill": "exited 137 false 0", "stop": "exited 137 true 0", "restart": "running 0 false 1"} {
		id := e.create(func(q *option.Create) {
			q.Config.Healthcheck = healthCheck("test -e /tmp/x")
			q.Host.Annotations = map[string]string{container.OnFailure: action}
		}, "sh", "-c", "test -e /data/again && touch /tmp/x; touch /data/again; sleep 1000")
		if err := e.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
		got := ""
		for range 500 {
			c, err := e.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			if got = strings.Join([]string{string(c.State.Phase), strconv.Itoa(c.State.ExitCode), strconv.FormatBool(c.State.ByHand), strconv.Itoa(c.State.Restarts)}, " "); got == want {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", action, got, want)
		}
	}
	for _, bad := range []func(q *option.Create){
		func(q *option.Create) { q.Config.Healthcheck = &api.HealthConfig{Test: []string{"RUN", "x"}} },
		func(q *option.Create) { q.Config.Healthcheck = &api.HealthConfig{Test: []string{"CMD"}} },
		func(q *option.Create) {
			q.Config.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "x"}, Interval: 3}
		},
		func(q *option.Create) {
			q.Config.Healthcheck = &api.HealthConfig{Test: []string{"CMD", "x"}, Retries: -1}
		},
		func(q *option.Create) { q.Host.Annotations = map[string]string{container.OnFailure: "kill"} },
	} {
		q := option.Create{Config: api.Config{Image: "busybox", Cmd: []string{"true"}}}
		bad(&q)
		if _, err := e.Create(ctx, q); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%+v: %v", q.Config.Healthcheck, err)
		}
	}
	if list, err := e.List(context.Background(), option.List{All: true}); err != nil || slices.ContainsFunc(list, func(c api.Summary) bool { return strings.HasPrefix(c.Command, "true") }) {
		t.Errorf("something was left of what was refused: %v", err)
	}
}

// TestMoreEvents: programs that are run in a container, restart, export and commit.
func TestMoreEvents(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.started(nil, "sleep", "1000")
	exec, err := e.ExecCreate(ctx, id, api.ExecCreateRequest{Cmd: []string{"sh", "-c", "exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	err = e.ExecStart(ctx, exec, option.Exec{}, func(bool) (option.Streams, error) { return option.Streams{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	zero := time.Duration(0)
	if err := e.Restart(ctx, id, option.Stop{Timeout: &zero}); err != nil {
		t.Fatal(err)
	}
	if err := e.Export(ctx, id, io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(ctx, option.Commit{Container: id}); err != nil {
		t.Fatal(err)
	}
	list := e.events(nil)
	if got := actions(list); got != "create start exec_create: sh -c exit 3 exec_start: sh -c exit 3 exec_die kill kill die stop start restart export commit" {
		t.Errorf("%s", got)
	}
	for _, m := range list {
		if strings.HasPrefix(string(m.Action), "exec_") && m.Actor.Attributes["execID"] != exec || m.Action == events.ActionExecDie && m.Actor.Attributes["exitCode"] != "3" {
			t.Errorf("%+v", m)
		}
	}
	if got := actions(e.events(event.Filter{"event": {"exec_start"}})); got != "exec_start: sh -c exit 3" {
		t.Errorf("%s", got)
	}
}
