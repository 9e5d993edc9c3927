package selinux

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

func TestShared(t *testing.T) {
	for mount, want := range map[string]string{"u:object_r:f_t:s0:c1,c2": "u:object_r:f_t:s0", "u:object_r:f_t:s0-s0:c0.c9": "u:object_r:f_t:s0", "u:object_r:f_t": "u:object_r:f_t"} {
		if got, err := Shared(mount); err != nil || got != want {
			t.Errorf("%s: %q, %v", mount, got, err)
		}
	}
	if got, err := Shared("f_t"); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestUsableType(t *testing.T) {
	const mount = "system_u:object_r:container_file_t:s0:c1,c2"
	for label, want := range map[string]bool{"system_u:object_r:container_file_t:s0": true, "u:object_r:container_file_t:s0:c3": true, "unconfined_u:object_r:user_home_t:s0": false, "": false, "x": false} {
		if got := UsableType(label, mount); got != want {
			t.Errorf("%q: %v", label, got)
		}
	}
}

func TestSameType(t *testing.T) {
	const label = "system_u:object_r:container_ro_file_t:s0"
	for other, want := range map[string]bool{
		label: true, "unconfined_u:object_r:container_ro_file_t:s0": true, "system_u:object_r:container_ro_file_t:s0:c1": false, "system_u:object_r:var_lib_t:s0": false, "": false,
	} {
		if got := SameType(other, label); got != want {
			t.Errorf("%q: %v", other, got)
		}
	}
}

// Without SELinux there is no label to be set, and none common to all containers.
func TestFilesWithout(t *testing.T) {
	if Current() != Disabled {
		t.Skip("SELinux is in force")
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, Set(file, ""))
	if got := Of(file); got != "" {
		t.Errorf("%q", got)
	}
	if got, err := Common(); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := (&Options{Type: "t"}).Without(); !errdef.Is(err, errdef.Unsupported) || errdef.Hint(err) == "" {
		t.Error(err)
	}
	must(t, (&Options{Disable: true}).Without())
}

// The label is written, once; a link gets its own.
func TestSELinuxSet(t *testing.T) {
	enforcing(t)
	root := sub(t, "file", "link->file")
	common, err := Common()
	if err != nil || common != "system_u:object_r:container_file_t:s0" {
		t.Fatalf("%q, %v", common, err)
	}
	before := Of(filepath.Join(root, "file"))
	must(t, Set(filepath.Join(root, "link"), common))
	if got := Of(filepath.Join(root, "link")); got != common || Of(filepath.Join(root, "file")) != before {
		t.Errorf("the link is %q, the file %q", got, Of(filepath.Join(root, "file")))
	}
	must(t, Set(filepath.Join(root, "file"), common))
	must(t, Set(filepath.Join(root, "file"), common))
	if got := Of(filepath.Join(root, "file")); got != common {
		t.Errorf("%q", got)
	}
	if err := Set(filepath.Join(root, "file"), "system_u:object_r:no_such_t:s0"); !errdef.Is(err, errdef.Invalid) {
		t.Error(err)
	}
	if err := Set(filepath.Join(root, "absent"), common); !errdef.Is(err, errdef.NotFound) {
		t.Error(err)
	}
}
