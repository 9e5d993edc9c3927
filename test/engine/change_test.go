package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/engine/option"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/event"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
	api "github.com/moby/moby/api/types/container"
)

// started makes and starts a container.
func (e *engine) started(change func(*option.Create), args ...string) string {
	e.t.Helper()
	id := e.create(change, args...)
	if err := e.Start(context.Background(), id); err != nil {
		e.t.Fatal(err)
	}
	return id
}

// TestRename: the old name is free, the new one is taken, and a container that removes itself gives back the name that it has then.
func TestRename(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	named := func(name string, rm bool) func(*option.Create) {
		return func(q *option.Create) { q.Name, q.Host.AutoRemove = name, rm }
	}
	id := e.started(named("one", true), "sleep", "1000")
	other := e.create(named("other", false), "true")
	for to, kind := range map[string]errdef.Kind{"other": errdef.Exists, "one": errdef.Invalid, "no name": errdef.Invalid, "": errdef.Invalid} {
		if err := e.Rename(ctx, "one", to); !errdef.Is(err, kind) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if err := e.Rename(ctx, "one", "two"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Get("one"); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("the old name: %v", err)
	}
	if c, err := e.Get("two"); err != nil || c.ID != id || c.Name != "two" {
		t.Errorf("%+v, %v", c, err)
	}
	if err := e.Rename(ctx, other, "one"); err != nil { // which is free
		t.Error(err)
	}
	if err := e.Kill(ctx, "two", "KILL"); err != nil {
		t.Fatal(err)
	}
	e.until("removed", func() bool { _, err := e.Get(id); return errdef.Is(err, errdef.NotFound) })
	e.until("the claim removed", func() bool {
		_, err := os.Stat(filepath.Join(e.dir, "root", "names", "two"))
		return os.IsNotExist(err)
	})
	if c, err := e.Get("one"); err != nil || c.ID != other {
		t.Errorf("%+v, %v: the end of one container has taken another's name", c, err)
	}
	m := e.events(event.Filter{"event": {"rename"}})
	if len(m) != 2 || m[0].Actor.Attributes["oldName"] != "/one" || m[0].Actor.Attributes["name"] != "two" {
		t.Errorf("%+v", m)
	}
	if m := e.events(event.Filter{"event": {"die"}}); len(m) != 1 || m[0].Actor.Attributes["name"] != "two" {
		t.Errorf("%+v", m)
	}
}

// TestRenameKilled: a claim that a killed rename has left is nobody's: the container has its old name, and the new one can be had.
func TestRenameKilled(t *testing.T) {
	e := newEngine(t)
	id := e.create(func(q *option.Create) { q.Name = "one" }, "true")
	claim := filepath.Join(e.dir, "root", "names", "two")
	dead := func() {
		if err := os.WriteFile(claim, []byte(id+" 4194304\n"), 0o600); err != nil { // no process has that number
			t.Fatal(err)
		}
	}
	dead()
	if _, err := e.Get("two"); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("%v", err)
	}
	if err := e.Sweep(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(claim); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	dead()
	e.create(func(q *option.Create) { q.Name = "two" }, "true")
	if c, err := e.Get("one"); err != nil || c.ID != id {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestUpdate: limits are set on what runs and stay for the next start; what cannot be is refused and changes nothing.
func TestUpdate(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	limit := func() string {
		if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
			return "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"
		}
		return "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max"
	}()
	id := e.started(func(q *option.Create) { q.Host.Memory = 64 << 20 }, "sh", "-c", limit+"; while ! test -e /tmp/go; do sleep 0.02; done; "+limit)
	e.until("the first look", func() bool {
		b, err := os.ReadFile(e.LogPath(id))
		return err == nil && strings.Count(string(b), "\n") == 2
	})
	pids := int64(77)
	for _, u := range []api.UpdateConfig{
		{Resources: api.Resources{Memory: 1 << 20}},
		{Resources: api.Resources{CgroupParent: "/x"}},
		{Resources: api.Resources{PidsLimit: &pids, MemorySwap: 1 << 20}},
		{RestartPolicy: api.RestartPolicy{Name: "sometimes"}},
	} {
		if _, err := e.Update(ctx, id, u); err == nil {
			t.Errorf("%+v is taken", u)
		}
	}
	if c, err := e.Get(id); err != nil || c.Host.PidsLimit != nil || c.Host.Memory != 64<<20 {
		t.Errorf("what was refused was kept: %+v, %v", c.Host.Resources, err)
	}
	if _, err := e.Update(ctx, id, api.UpdateConfig{Resources: api.Resources{Memory: 96 << 20, MemorySwap: 192 << 20, PidsLimit: &pids}}); err != nil {
		t.Fatal(err)
	}
	c, err := e.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/"+strconv.Itoa(c.State.PID)+"/root/tmp/go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, err := e.exit(id); code != 0 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	text, _ := logged(t, e.LogPath(id))
	if got := strings.Fields(text); len(got) != 4 || got[0] != strconv.Itoa(64<<20) || got[2] != strconv.Itoa(96<<20) || got[1] == "77" || got[3] != "77" {
		t.Errorf("%q", got)
	}
	if err := e.Start(ctx, id); err != nil { // with the new limits from the start
		t.Fatal(err)
	}
	e.until("the next run", func() bool { text, _ = logged(t, e.LogPath(id)); return strings.Count(text, "\n") >= 6 })
	if got := strings.Fields(text); got[4] != strconv.Itoa(96<<20) || got[5] != "77" {
		t.Errorf("%q", got)
	}
	id = e.started(nil, "sleep", "1000")
	if _, err := e.Update(ctx, id, api.UpdateConfig{RestartPolicy: api.RestartPolicy{Name: "always"}}); err != nil {
		t.Fatal(err)
	}
	if c, err = e.Get(id); err != nil || c.State.PID == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := syscall.Kill(c.State.PID, syscall.SIGKILL); err != nil { // not by the engine: the policy counts
		t.Fatal(err)
	}
	e.until("restarted", func() bool {
		again, err := e.Get(id)
		return err == nil && again.State.Restarts >= 1 && again.State.Phase == control.Running
	})
	if got := actions(e.events(event.Filter{"event": {"update"}})); got != "update update" {
		t.Errorf("%s", got)
	}
}

// TestStats: one sample with something to compare it to, one without, and a stream that ends with the container.
func TestStats(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.started(func(q *option.Create) { q.Name, q.Host.Memory = "busy", 64<<20 }, "sh", "-c", "while :; do :; done")
	var got []api.StatsResponse
	keep := func(r api.StatsResponse) error { got = append(got, r); return nil }
	if err := e.Stats(ctx, id, false, false, keep); err != nil || len(got) != 1 {
		t.Fatalf("%d, %v", len(got), err)
	}
	r := got[0]
	used, all := r.CPUStats.CPUUsage.TotalUsage-r.PreCPUStats.CPUUsage.TotalUsage, r.CPUStats.SystemUsage-r.PreCPUStats.SystemUsage
	if r.ID != id || r.Name != "/busy" || used < 1e7 || used > all || r.CPUStats.OnlineCPUs == 0 || r.MemoryStats.Limit != 64<<20 || r.MemoryStats.Usage == 0 || r.PidsStats.Current != 1 || r.Read.Sub(r.PreRead) < statsPause {
		t.Errorf("%d of %d: %+v", used, all, r)
	}
	got = nil
	if err := e.Stats(ctx, id, false, true, keep); err != nil || len(got) != 1 || !got[0].PreRead.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	got = nil
	done := make(chan error, 1)
	go func() { done <- e.Stats(ctx, id, true, false, keep) }()
	time.Sleep(1500 * time.Millisecond)
	if err := e.Kill(ctx, id, "KILL"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil || len(got) < 2 || got[1].PreRead != got[0].Read {
			t.Errorf("%d samples, %v", len(got), err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the stream goes on")
	}
	got = nil
	if err := e.Stats(ctx, id, false, false, keep); err != nil || len(got) != 1 || !got[0].Read.IsZero() {
		t.Errorf("of a container that has ended: %+v, %v", got, err)
	}
}

const statsPause = 900 * time.Millisecond

// TestTop: the container's processes and no others, with the options of ps, and without a ps.
func TestTop(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	id := e.started(nil, "sh", "-c", "sleep 1000 & sleep 2000; true")
	e.until("both", func() bool {
		r, err := e.Top(ctx, id, "")
		return err == nil && len(r.Processes) == 3
	})
	look := func(args string) string {
		t.Helper()
		r, err := e.Top(ctx, id, args)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range r.Processes {
			if len(p) != len(r.Titles) {
				t.Errorf("%q of %q", p, r.Titles)
			}
			out = append(out, p[len(p)-1])
		}
		slices.Sort(out)
		return strings.Join(out, "|")
	}
	const want = "sh -c sleep 1000 & sleep 2000; true|sleep 1000|sleep 2000"
	if got := strings.Join(strings.Fields(look("")), " "); got != want {
		t.Errorf("%q", got)
	}
	if got := strings.Join(strings.Fields(look("-eo pid,args")), " "); got != want {
		t.Errorf("%q", got)
	}
	if got := look("aux"); strings.Count(got, "|") != 2 {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{"-eo comm", "--no-such-option"} {
		if _, err := e.Top(ctx, id, bad); !errdef.Is(err, errdef.Invalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	t.Setenv("PATH", "/nonexistent")
	if got := strings.Join(strings.Fields(look("")), " "); got != want {
		t.Errorf("without ps: %q", got)
	}
	if _, err := e.Top(ctx, id, "aux"); !errdef.Is(err, errdef.Unsupported) {
		t.Errorf("%v", err)
	}
	if err := e.Kill(ctx, id, "KILL"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.exit(id); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Top(ctx, id, ""); !errdef.Is(err, errdef.Conflict) {
		t.Errorf("of a container that has ended: %v", err)
	}
}

// TestPrune: what runs stays, what the filters leave out stays, and what killed commands left goes.
func TestPrune(t *testing.T) {
	e := newEngine(t)
	ctx := context.Background()
	label := func(l string) func(*option.Create) {
		return func(q *option.Create) { q.Config.Labels = map[string]string{"keep": l} }
	}
	running := e.started(label("no"), "sleep", "1000")
	kept := e.create(label("yes"), "true")
	gone := e.create(label("no"), "sh", "-c", "dd if=/dev/zero of=/data/file bs=1k count=100 2>/dev/null")
	e.finish(gone)
	if _, err := e.Prune(ctx, option.Filters{"colour": {"red"}}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("%v", err)
	}
	if r, err := e.Prune(ctx, option.Filters{"until": {"1h"}}); err != nil || len(r.ContainersDeleted) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	// What a killed create and a killed rm leave.
	half := strings.Repeat("a", 64)
	for path, data := range map[string]string{"containers/" + half + ".new/x": "", "containers/" + half + ".old/x": "", "names/half": half + " 4194304\n", "ranges/9": half + " 4194304\n"} {
		path = filepath.Join(e.dir, "root", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := e.Prune(ctx, option.Filters{"label!": {"keep=yes"}})
	if err != nil || len(r.ContainersDeleted) != 1 || r.ContainersDeleted[0] != gone || r.SpaceReclaimed < 100<<10 || r.SpaceReclaimed > 200<<10 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, id := range []string{running, kept} {
		if _, err := e.Get(id); err != nil {
			t.Error(err)
		}
	}
	for dir, want := range map[string]int{"containers": 2, "names": 2, "ranges": 2} {
		if entries, err := os.ReadDir(filepath.Join(e.dir, "root", dir)); err != nil || len(entries) != want {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
	}
}

// TestTidy: a create that comes upon the claims of a killed one removes all that this has left.
func TestTidy(t *testing.T) {
	e := newEngine(t)
	half := strings.Repeat("a", 64)
	for path, data := range map[string]string{"containers/" + half + ".new/x": "", "names/half": half + " 4194304\n", "ranges/0": half + " 4194304\n"} {
		path = filepath.Join(e.dir, "root", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.create(nil, "true")
	for dir, want := range map[string]int{"containers": 1, "names": 1, "ranges": 1} {
		if entries, err := os.ReadDir(filepath.Join(e.dir, "root", dir)); err != nil || len(entries) != want {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
	}
}
