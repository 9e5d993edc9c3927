package assemble

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	processLabel = "system_u:system_r:container_t:s0:c1,c2"
	filesLabel   = "system_u:object_r:container_file_t:s0:c1,c2"
)

// TestLabels: the labels that the engine has drawn stand in the configuration, and what was given up of them is recorded.
func TestLabels(t *testing.T) {
	for name, c := range map[string]struct {
		labels Labels
		change func(*container.HostConfig)
		weaker string // the flags
	}{
		"none":         {Labels{}, func(*container.HostConfig) {}, ""},
		"default":      {Labels{Process: processLabel, Mount: filesLabel}, func(*container.HostConfig) {}, ""},
		"disabled":     {Labels{Mount: filesLabel}, func(h *container.HostConfig) { h.SecurityOpt = []string{"label=disable"} }, "security-opt label=disable"},
		"without":      {Labels{}, func(h *container.HostConfig) { h.SecurityOpt = []string{"label=disable"} }, "security-opt label=disable"},
		"pid":          {Labels{Mount: filesLabel, Off: "pid=host"}, func(h *container.HostConfig) { h.PidMode = "host" }, "pid=host pid=host"},
		"level":        {Labels{Process: processLabel, Mount: filesLabel}, func(h *container.HostConfig) { h.SecurityOpt = []string{"label=level:s0:c1,c2"} }, "security-opt label=level:s0:c1,c2"},
		"type":         {Labels{Process: processLabel, Mount: filesLabel}, func(h *container.HostConfig) { h.SecurityOpt = []string{"label=type:spc_t"} }, "security-opt label=type:spc_t"},
		"type of file": {Labels{Process: processLabel, Mount: filesLabel}, func(h *container.HostConfig) { h.SecurityOpt = []string{"label=filetype:x_t"} }, ""},
	} {
		r := ask(func(_ *container.Config, h *container.HostConfig) { c.change(h) })
		r.Facts.Labels = c.labels
		out, err := Spec(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out.Spec.Process.SelinuxLabel != c.labels.Process || out.Spec.Linux.MountLabel != c.labels.Mount {
			t.Errorf("%s: %q, %q", name, out.Spec.Process.SelinuxLabel, out.Spec.Linux.MountLabel)
		}
		var flags []string
		for _, w := range out.Weaker {
			flags = append(flags, w.Flag)
		}
		if got := strings.Join(flags, " "); got != c.weaker {
			t.Errorf("%s: weaker is %q, want %q", name, got, c.weaker)
		}
	}
	r := ask(func(_ *container.Config, h *container.HostConfig) { h.SecurityOpt = []string{"label=type:spc_t"} })
	if _, err := Spec(r); !errdef.Is(err, errdef.Unsupported) || errdef.Hint(err) == "" {
		t.Errorf("a label on a host without SELinux: %v", err)
	}
}

// TestLabelsNested: selinuxfs is shown, nothing hides it, and the files of a tmpfs may have labels of their own.
func TestLabelsNested(t *testing.T) {
	r := ask(func(_ *container.Config, h *container.HostConfig) {
		h.SecurityOpt, h.Tmpfs = []string{"label=nested"}, map[string]string{"/t": ""}
	})
	points, err := Points(&r.Config, &r.Host, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	r.Points = points
	r.Facts.Labels = Labels{Process: processLabel, Mount: filesLabel, Show: []string{"/sys/fs/selinux"}, Nested: true}
	out, err := Spec(r)
	if err != nil {
		t.Fatal(err)
	}
	l := out.Spec.Linux
	if slices.Contains(l.MaskedPaths, "/sys/fs/selinux") || slices.Contains(l.ReadonlyPaths, "/sys/fs/selinux") {
		t.Errorf("hidden: %v, %v", l.MaskedPaths, l.ReadonlyPaths)
	}
	shown, sys := -1, -1
	for i, m := range out.Spec.Mounts {
		own := slices.Contains(m.Options, `rootcontext="`+filesLabel+`"`)
		if own != (m.Type == "tmpfs") {
			t.Errorf("%s: %v", m.Destination, m.Options)
		}
		switch m.Destination {
		case "/sys/fs/selinux":
			shown = i
		case "/sys":
			sys = i
		}
	}
	if shown < sys || shown < 0 {
		t.Errorf("selinuxfs is mount %d, /sys %d", shown, sys)
	}
	r.Facts.Labels = Labels{Process: processLabel, Mount: filesLabel}
	r.Host.SecurityOpt = nil
	if out, err = Spec(r); err != nil || slices.ContainsFunc(out.Spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/sys/fs/selinux" }) {
		t.Errorf("shown without being asked for: %v", err)
	}
}
