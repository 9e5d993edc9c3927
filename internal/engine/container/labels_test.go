package container

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/selinux"
	"github.com/bulkhead-engine/bulkhead/internal/selinux/category"
	api "github.com/moby/moby/api/types/container"
)

// TestLabelOptions: label= counts before all, and without it the flags that turn SELinux off do, as with Docker.
func TestLabelOptions(t *testing.T) {
	s := &Service{}
	for name, c := range map[string]struct {
		host api.HostConfig
		want selinux.Options
		off  string
		kind errdef.Kind
	}{
		"default":    {},
		"own":        {host: api.HostConfig{PidMode: "private", IpcMode: "shareable"}},
		"network":    {host: api.HostConfig{NetworkMode: "host"}},
		"disable":    {host: api.HostConfig{SecurityOpt: []string{"label=disable"}}, want: selinux.Options{Disable: true}},
		"as before":  {host: api.HostConfig{SecurityOpt: []string{"label:type:x_t"}}, want: selinux.Options{Type: "x_t"}},
		"privileged": {host: api.HostConfig{Privileged: true}, want: selinux.Options{Disable: true}, off: "privileged"},
		"pid":        {host: api.HostConfig{PidMode: "host"}, want: selinux.Options{Disable: true}, off: "pid=host"},
		"ipc":        {host: api.HostConfig{IpcMode: "host"}, want: selinux.Options{Disable: true}, off: "ipc=host"},
		"asked all the same": {
			host: api.HostConfig{Privileged: true, PidMode: "host", SecurityOpt: []string{"label=level:s0:c1,c2", "label=nested"}},
			want: selinux.Options{Level: "s0:c1,c2", Nested: true},
		},
		"wrong":       {host: api.HostConfig{SecurityOpt: []string{"label=what"}}, kind: errdef.Invalid},
		"both":        {host: api.HostConfig{SecurityOpt: []string{"label=disable", "label=type:x_t"}}, kind: errdef.Invalid},
		"no category": {host: api.HostConfig{SecurityOpt: []string{"label=level:s0:c1024"}}, kind: errdef.Invalid},
	} {
		got, off, err := s.labelOptions(&Record{Host: c.host})
		if err != nil {
			if c.kind == 0 || !errdef.Is(err, c.kind) || errdef.Hint(err) == "" || !strings.Contains(err.Error(), "security-opt") {
				t.Errorf("%s: %v (%s)", name, err, errdef.Hint(err))
			}
			continue
		}
		if got != c.want || off != c.off || c.kind != 0 {
			t.Errorf("%s: %+v, %q", name, got, off)
		}
	}
}

// TestLabelsWithout: where SELinux is not in force nothing is claimed or labelled, what asks for a label is refused, and labels of a time when it was are not used.
func TestLabelsWithout(t *testing.T) {
	if selinux.Current() != selinux.Disabled {
		t.Skip("SELinux is in force")
	}
	s := &Service{}
	s.o.Root = t.TempDir()
	r := &Record{ID: strings.Repeat("a", 64)}
	if err := s.takeLabels(context.Background(), r); err != nil || r.SELinux != nil || r.mountLabel() != "" {
		t.Errorf("%+v, %v", r.SELinux, err)
	}
	r.Host.SecurityOpt = []string{"label=type:container_t"}
	if err := s.takeLabels(context.Background(), r); !errdef.Is(err, errdef.Unsupported) || errdef.Hint(err) == "" || !strings.Contains(err.Error(), "label") {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(s.o.Root); err != nil || len(entries) > 0 {
		t.Errorf("made: %v, %v", entries, err)
	}
	r.SELinux = &SELinux{selinux.Labels{Process: "u:r:t:s0:c1,c2", Mount: "u:object_r:f:s0:c1,c2", Level: "s0:c1,c2"}, ""}
	if r.label() != "" || r.mountLabel() != "" || r.pipeLabel() != "" || r.labelFacts().Mount != "" {
		t.Errorf("labels of another time: %+v", r.labelFacts())
	}
	if err := errors.Join(s.sweepLabels(), s.labelFiles(r)); err != nil {
		t.Error(err)
	}
}

// TestLabelsKept: a record keeps the labels, what is removed gives them back, and what is no more has no claim after a sweep.
func TestLabelsKept(t *testing.T) {
	s := &Service{}
	s.o.Root = t.TempDir()
	if err := os.MkdirAll(filepath.Join(s.o.Root, "containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	pool, err := category.Open(s.labels())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	records := map[string]*Record{}
	for _, id := range []string{"a", "b", "c", "d"} {
		r := &Record{ID: strings.Repeat(id, 64)}
		level, err := pool.Draw(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		r.SELinux = &SELinux{selinux.Labels{Process: "u:r:t:" + level, Mount: "u:object_r:f:" + level, Level: level}, "pid=host"}
		records[id] = r
	}
	data, err := json.Marshal(records["a"])
	if err != nil {
		t.Fatal(err)
	}
	var again Record
	if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again.SELinux, records["a"].SELinux) {
		t.Errorf("%+v, %v", again.SELinux, err)
	}
	for id, suffix := range map[string]string{"a": "", "b": ".new"} {
		if err := os.Mkdir(s.dir(records[id].ID)+suffix, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	claimed := func(id string) bool {
		_, err := os.Stat(filepath.Join(s.labels(), strings.TrimPrefix(records[id].SELinux.Level, "s0:")))
		return err == nil
	}
	s.dropLabels(records["d"])
	if claimed("d") || !claimed("c") {
		t.Error("dropped is another than was asked for")
	}
	if err := s.sweepLabels(); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{"a": true, "b": true, "c": false, "d": false} {
		if got := claimed(id); got != want {
			t.Errorf("%s: claimed is %v after the sweep", id, got)
		}
	}
}
