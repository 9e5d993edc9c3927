package event

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/events"
)

func message(id string, attributes map[string]string) events.Message {
	return New(events.ContainerEventType, events.ActionStart, id, attributes)
}

// past returns what is in a record now.
func past(t *testing.T, l *Log, f Filter) []events.Message {
	t.Helper()
	var out []events.Message
	err := l.Follow(context.Background(), time.Unix(1, 0), time.Now(), f, func(m events.Message) error {
		out = append(out, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAppend(t *testing.T) {
	l := Open(filepath.Join(t.TempDir(), "events"))
	if got := past(t, l, nil); len(got) != 0 {
		t.Errorf("nothing has happened, and there is %v", got)
	}
	want := message("abc", map[string]string{"name": "web\n\x1b[31m", "image": "nginx"})
	if err := l.Append(want); err != nil {
		t.Fatal(err)
	}
	got := past(t, l, nil)
	if len(got) != 1 || got[0].Actor.ID != "abc" || got[0].Actor.Attributes["name"] != "web\n\x1b[31m" || got[0].TimeNano != want.TimeNano || got[0].Scope != "local" {
		t.Errorf("%+v", got)
	}
	st, err := os.Stat(l.path(current))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if got := l.Follow(context.Background(), time.Time{}, time.Now().Add(20*time.Millisecond), nil, func(events.Message) error { return errors.New("the past was told") }); got != nil {
		t.Error(got)
	}
}

// TestLong: what is too long is cut, and the event is there.
func TestLong(t *testing.T) {
	l := Open(t.TempDir())
	many := map[string]string{"name": "web", "big": strings.Repeat("x", maxLine)}
	for i := range 3000 {
		many[fmt.Sprintf("label-%d-%s", i, strings.Repeat("k", i))] = strings.Repeat("y", 700)
	}
	for _, a := range []map[string]string{{"name": "web", "big": strings.Repeat("x", 10*maxLine)}, many, {"name": "web", strings.Repeat("k", 2*maxLine): "v"}} {
		if err := l.Append(message("abc", a)); err != nil {
			t.Error(err)
		}
	}
	got := past(t, l, nil)
	if len(got) != 3 || len(got[0].Actor.Attributes["big"]) != maxValue {
		t.Fatalf("%d events", len(got))
	}
	for _, m := range got {
		if m.Actor.Attributes["name"] != "web" {
			t.Errorf("the name is gone: %.200v", m.Actor.Attributes)
		}
	}
}

// TestTorn: a line that is half there does not hide the next.
func TestTorn(t *testing.T) {
	l := Open(t.TempDir())
	torn := "{\"Type\":\"cont\n" + strings.Repeat("z", 3*maxLine) + "\n"
	if err := os.WriteFile(l.path(current), []byte(torn), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(message("abc", nil)); err != nil {
		t.Fatal(err)
	}
	if got := past(t, l, nil); len(got) != 1 || got[0].Actor.ID != "abc" {
		t.Errorf("%+v", got)
	}
}

// TestFollow: many writers, files that are renamed all the time, and two readers that see every line once, and those of one writer in order. The readers are as fast as the writers here,
// because those wait for them now and then.
func TestFollow(t *testing.T) {
	const writers, each = 6, 400
	l := Open(t.TempDir())
	l.max = 8 << 10
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var readers, all sync.WaitGroup
	seen := make(chan int, 2*writers*each)
	done := errors.New("all seen")
	for n := range 2 {
		readers.Go(func() {
			last, count := map[string]int{}, 0
			err := l.Follow(ctx, time.Unix(1, 0), time.Time{}, nil, func(m events.Message) error {
				var i int
				if _, err := fmt.Sscan(m.Actor.Attributes["n"], &i); err != nil || i != last[m.Actor.ID]+1 {
					t.Errorf("reader %d: %s: %d after %d", n, m.Actor.ID, i, last[m.Actor.ID])
				}
				last[m.Actor.ID] = i
				seen <- n
				if count++; count == writers*each {
					return done
				}
				return nil
			})
			if err != done {
				t.Errorf("reader %d: %v after %d", n, err, count)
			}
		})
	}
	pace := make(chan bool, 40) // how far writers may be ahead of both readers
	go func() {
		counts := [2]int{}
		for n := range seen {
			if counts[n]++; counts[n] <= counts[1-n] {
				<-pace
			}
		}
	}()
	for w := range writers {
		all.Go(func() {
			for i := range each {
				select {
				case pace <- true:
				case <-ctx.Done():
					return
				}
				if err := l.Append(message(fmt.Sprint("writer-", w), map[string]string{"n": fmt.Sprint(i + 1), "pad": strings.Repeat("x", 40)})); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	readers.Wait()
	close(seen)
	if st, err := os.Stat(l.path(before)); err != nil || st.Size() > 2*l.max {
		t.Errorf("the record is not bounded: %v, %v", st, err)
	}
}

func TestEnd(t *testing.T) {
	l := Open(t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := l.Follow(ctx, time.Time{}, time.Time{}, nil, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	if err := l.Follow(context.Background(), time.Time{}, time.Now().Add(50*time.Millisecond), nil, nil); err != nil {
		t.Error(err)
	}
	if err := l.Follow(context.Background(), time.Time{}, time.Time{}, Filter{"colour": {"red"}}, nil); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("%v", err)
	}
}

func TestFilter(t *testing.T) {
	m := events.Message{Type: events.ContainerEventType, Action: "exec_create: sh -c true", Scope: "local", Actor: events.Actor{
		ID: "abcdef", Attributes: map[string]string{"name": "web", "image": "nginx:1.2", "tier": "front", "zone": "a"},
	}}
	pull := events.Message{Type: events.ImageEventType, Action: events.ActionPull, Actor: events.Actor{ID: "host:80/x:tag", Attributes: map[string]string{"name": "host:80/x"}}}
	volume := events.Message{Type: events.VolumeEventType, Action: events.ActionMount, Actor: events.Actor{ID: "data", Attributes: map[string]string{"container": "abcdef"}}}
	for _, test := range []struct {
		f    Filter
		m    *events.Message
		want bool
	}{
		{nil, &m, true},
		{Filter{"type": nil}, &m, true},
		{Filter{"type": {"container", "image"}}, &m, true},
		{Filter{"type": {"image"}}, &m, false},
		{Filter{"event": {"exec_create"}}, &m, true},
		{Filter{"event": {"exec"}}, &m, false},
		{Filter{"event": {"exec_create: sh -c true"}}, &m, true},
		{Filter{"container": {"we"}}, &m, true},
		{Filter{"container": {"abc"}}, &m, true},
		{Filter{"container": {"eb"}}, &m, false},
		{Filter{"container": {"abc"}}, &volume, true},
		{Filter{"container": {"x"}}, &volume, false},
		{Filter{"volume": {"data"}}, &volume, true},
		{Filter{"volume": {"data"}}, &m, false},
		{Filter{"image": {"nginx"}}, &m, true},
		{Filter{"image": {"nginx:1.2"}}, &m, true},
		{Filter{"image": {"nginx:1"}}, &m, false},
		{Filter{"image": {"host:80/x"}}, &pull, true},
		{Filter{"image": {"host"}}, &pull, false},
		{Filter{"label": {"tier", "zone=a"}}, &m, true},
		{Filter{"label": {"tier", "zone=b"}}, &m, false},
		{Filter{"scope": {"local"}}, &m, true},
		{Filter{"scope": {"swarm"}}, &m, false},
		{Filter{"type": {"container"}, "image": {"redis"}}, &m, false},
	} {
		if got := test.f.Match(test.m); got != test.want {
			t.Errorf("%v: %v: %v", test.f, test.m.Action, got)
		}
	}
}
