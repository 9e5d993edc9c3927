package verify

import (
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	processLabel = "system_u:system_r:container_t:s0:c1,c2"
	filesLabel   = "system_u:object_r:container_file_t:s0:c1,c2"
)

func TestContextOf(t *testing.T) {
	for options, want := range map[string]string{
		"": "", "rw,seclabel": "", `rw,context="u:r:t:s0:c1,c2",size=64k`: "u:r:t:s0:c1,c2", "rw,context=u:r:t:s0,size=64k": "u:r:t:s0", `context="a`: "a",
		`rw,rootcontext="u:r:t:s0:c1,context=x",size=1`: "", `rw,rootcontext="u:r:t:s0:c1,c2",context=u:r:t:s0`: "u:r:t:s0", "rw,fscontext=x": "", `"`: "", `a"b,c"d,context=z`: "z",
	} {
		if got := contextOf(options); got != want {
			t.Errorf("%s: %q, want %q", options, got, want)
		}
	}
}

// labelled is a healthy container with labels.
func labelled() (*Declared, *Facts) {
	d, f := healthy()
	f.SELinux = true
	d.Spec.Process.SelinuxLabel, d.Spec.Linux.MountLabel = processLabel, filesLabel
	f.Processes[0].SELinux = processLabel
	for i := range f.Mounts {
		if m := &f.Mounts[i]; m.Type == "overlay" || m.Type == "tmpfs" {
			m.Super += `,context="` + filesLabel + `"`
		}
	}
	return d, f
}

// TestLabels: a process with another label and a mount whose files have another are found, those of label=nested are not.
func TestLabels(t *testing.T) {
	at := func(f *Facts, point string) *procfs.Mount {
		for i := range f.Mounts {
			if f.Mounts[i].Point == point {
				return &f.Mounts[i]
			}
		}
		t.Fatal(point)
		return nil
	}
	for name, c := range map[string]struct {
		change func(*Declared, *Facts)
		wrong  int
	}{
		"nothing":          {func(*Declared, *Facts) {}, 0},
		"another process":  {func(_ *Declared, f *Facts) { f.Processes[0].SELinux = "unconfined_u:unconfined_r:unconfined_t:s0" }, 1},
		"other categories": {func(_ *Declared, f *Facts) { f.Processes[0].SELinux = "system_u:system_r:container_t:s0:c3,c4" }, 1},
		"the root":         {func(_ *Declared, f *Facts) { at(f, "/").Super = "rw,seclabel,upperdir=/u" }, 1},
		"a tmpfs": {func(_ *Declared, f *Facts) {
			at(f, "/dev").Super = `rw,size=64k,mode=755,context="system_u:object_r:container_file_t:s0:c3,c4"`
		}, 1},
		"nested": {func(d *Declared, f *Facts) {
			d.Spec.Mounts = append(d.Spec.Mounts, specs.Mount{Destination: "/absent", Type: "bind", Source: "/sys/fs/selinux", Options: []string{"bind"}})
			f.Processes[0].SELinux = "system_u:system_r:container_t:s0:c1"
		}, 1}, // the mount that is not there
		"a mount with a label of its own": {func(d *Declared, f *Facts) {
			d.Spec.Mounts[1].Options = append(d.Spec.Mounts[1].Options, `rootcontext="`+filesLabel+`"`)
			at(f, "/dev").Super = "rw,size=64k,mode=755"
		}, 0},
		"not confined": {func(d *Declared, f *Facts) {
			d.Spec.Process.SelinuxLabel, f.Processes[0].SELinux = "", "unconfined_u:unconfined_r:unconfined_t:s0"
		}, 0},
		"a directory of the host": {func(d *Declared, f *Facts) { d.Upper, at(f, "/").Super = "", "rw,seclabel" }, 0},
		"no SELinux": {func(_ *Declared, f *Facts) {
			f.SELinux, f.Processes[0].SELinux, at(f, "/").Super = false, "", "rw,upperdir=/u"
		}, 0},
	} {
		d, f := labelled()
		c.change(d, f)
		if got := Compare(d, f).Differences(); len(got) != c.wrong {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
