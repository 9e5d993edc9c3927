package selinux

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	policy "github.com/opencontainers/selinux/go-selinux"
	policylabel "github.com/opencontainers/selinux/go-selinux/label"
	"golang.org/x/sys/unix"
)

// enforcing skips a test of what only an enforcing kernel can show, and fails it on a machine that was booted to be one.
func enforcing(t *testing.T) {
	t.Helper()
	if Current() == Enforcing {
		return
	}
	if os.Getenv("BULKHEAD_TEST_LSM") == "selinux" {
		t.Fatalf("this machine was booted for SELinux, and it is %v", Current())
	}
	t.Skip("SELinux does not enforce on this machine")
}

func pool(t *testing.T) (*Pool, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pool")
	p, err := OpenPool(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, dir
}

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// claims returns who has what in a pool's directory.
func claims(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range []string{dir, filepath.Join(dir, "levels")} {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			data, err := os.ReadFile(filepath.Join(d, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			all[e.Name()] = strings.ReplaceAll(strings.TrimSuffix(string(data), "\n"), "\n", ", ")
		}
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Without SELinux there are no labels, and whoever asks for one is told.
func TestAllocateWithout(t *testing.T) {
	if Current() != Disabled {
		t.Skip("SELinux is in force")
	}
	p, dir := pool(t)
	for _, o := range []Options{{}, {Disable: true}, {Kind: Init}} {
		if l, err := p.Allocate(background(t), "c", o); err != nil || l != (Labels{}) {
			t.Errorf("%+v: %+v, %v", o, l, err)
		}
	}
	for _, o := range []Options{{Type: "x_t"}, {Level: "s0"}, {Nested: true}, {User: "u"}, {Role: "r"}, {FileType: "f"}} {
		if l, err := p.Allocate(background(t), "c", o); !errdef.Is(err, errdef.Unsupported) || errdef.Hint(err) == "" {
			t.Errorf("%+v: %+v, %v", o, l, err)
		}
	}
	if got := claims(t, dir); len(got) != 0 {
		t.Errorf("claimed: %v", got)
	}
	if err := Check("u:r:t:s0"); !errdef.Is(err, errdef.Unsupported) {
		t.Error(err)
	}
	if l, err := Unlabelled("u:r:t:s0"); l != "" || err != nil {
		t.Errorf("%q, %v", l, err)
	}
}

// The labels are those that the library of Docker and Podman makes of the same options, but for the categories that it draws.
func TestSELinuxAsLibrary(t *testing.T) {
	enforcing(t)
	p, dir := pool(t)
	ctx := background(t)
	plain := func(label, level string) string { return strings.TrimSuffix(label, ":"+level) }
	for _, values := range []string{
		"", "disable", "type:spc_t", "type:container_engine_t", "level:s0:c1,c2", "level:s0", "level:s0-s0:c0.c1023", "filetype:container_ro_file_t", "user:unconfined_u role:unconfined_r type:unconfined_t",
		"type:container_t level:s0:c5", "role:system_r",
	} {
		list := strings.Fields(values)
		wantProcess, wantMount, err := policylabel.InitLabels(list)
		must(t, err)
		policy.ClearLabels()
		o, err := ParseOptions(list)
		must(t, err)
		got, err := p.Allocate(ctx, "c", o)
		if err != nil {
			t.Errorf("%q: %v", values, err)
			continue
		}
		theirs, _ := parseLabel(wantMount)
		if got.Level == "" && (got.Mount != wantMount || got.Process != wantProcess) || plain(got.Process, got.Level) != plain(wantProcess, theirs.level) ||
			got.Level != "" && plain(got.Mount, got.Level) != plain(wantMount, theirs.level) || o.Level != "" && got.Level != theirs.level {
			t.Errorf("%q: %+v, the library: %s %s", values, got, wantProcess, wantMount)
		}
		must(t, p.Release(ctx, "c", got.Level))
	}
	if got := claims(t, dir); len(got) != 0 {
		t.Errorf("claims left: %v", got)
	}
	for _, kind := range []Kind{Plain, Init, KVM} {
		l, err := p.Allocate(ctx, "c", Options{Kind: kind})
		if err != nil || !strings.HasPrefix(l.Process, "system_u:system_r:container_") {
			t.Errorf("%d: %+v, %v", kind, l, err)
		}
	}
}

// A label that the policy does not have is refused before anything is started, with the part that is wrong, and nothing stays claimed.
func TestSELinuxRefusedLabel(t *testing.T) {
	enforcing(t)
	p, dir := pool(t)
	for option, part := range map[string]string{
		"type:no_such_t": `type "no_such_t"`, "user:no_such_u": `user "no_such_u"`, "role:no_such_r": `role "no_such_r"`, "filetype:no_such_file_t": `type "no_such_file_t"`,
		"level:s9": `level "s9"`, "level:s0:c5-s0:c1": `level "s0:c5-s0:c1"`, "type:bin_t": `role "system_r" with user "system_u" and type "bin_t"`,
	} {
		o, err := ParseOptions([]string{option})
		must(t, err)
		l, err := p.Allocate(background(t), "c", o)
		if !errdef.Is(err, errdef.Invalid) || !strings.Contains(err.Error(), part) || errdef.Hint(err) == "" {
			t.Errorf("%s: %+v, %v (%s)", option, l, err, errdef.Hint(err))
		}
	}
	if got := claims(t, dir); len(got) != 0 {
		t.Errorf("claimed: %v", got)
	}
}

// What label=disable gives on this host is what the kernel then gives.
func TestSELinuxUnlabelled(t *testing.T) {
	enforcing(t)
	own, err := policy.CurrentLabel()
	must(t, err)
	l, err := Unlabelled("system_u:object_r:container_file_t:s0:c1022,c1023")
	if err != nil || Check(l) != nil {
		t.Errorf("%q, %v", l, err)
	}
	t.Logf("%s starts a program of container_file_t as %s", own, l)
	if l, err := Unlabelled("x"); err == nil {
		t.Errorf("a label that is none: %q", l)
	}
}

// The real attribute, by the exported function: private, shared, again, on a mount that keeps no labels, and refused by the policy.
func TestSELinuxRelabel(t *testing.T) {
	enforcing(t)
	root := sub(t, "a/", "a/b", "a/link->b", "pipe|")
	ctx := background(t)
	label := func(path string) string {
		l, err := policy.LfileLabel(filepath.Join(root, path))
		must(t, err)
		return l
	}
	const private, shared = "system_u:object_r:container_file_t:s0:c1,c2", "system_u:object_r:container_file_t:s0"
	for _, c := range []struct {
		shared  bool
		written int
		want    string
	}{{false, 5, private}, {false, 0, private}, {true, 5, shared}, {true, 0, shared}} {
		done, err := Relabel(ctx, root, Volume{Label: private, Shared: c.shared})
		if err != nil || done.Written != c.written || done.Seen != 5 {
			t.Errorf("%+v: %+v, %v", c, done, err)
		}
		for _, path := range []string{".", "a", "a/b", "a/link", "pipe"} {
			if got := label(path); got != c.want {
				t.Errorf("%s is %s, want %s", path, got, c.want)
			}
		}
	}
	if done, err := Relabel(ctx, root, Volume{Label: "system_u:object_r:no_such_t:s0:c1"}); !errdef.Is(err, errdef.Invalid) || done.Seen != 0 {
		t.Errorf("no label of the policy: %+v, %v", done, err)
	}
	// A type for processes is no type for files here: the policy's relabelto and associate rules refuse it.
	if done, err := Relabel(ctx, root, Volume{Label: "system_u:system_r:container_t:s0:c1"}); !errdef.Is(err, errdef.Denied) || done.Written != 0 || !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		t.Errorf("denied by the policy: %+v, %v", done, err)
	}
	for option, written := range map[string]bool{"context=" + shared: false, "": true} {
		point := t.TempDir()
		must(t, unix.Mount("tmpfs", point, "tmpfs", 0, option))
		t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
		must(t, os.WriteFile(filepath.Join(point, "file"), nil, 0o644))
		if done, err := Relabel(ctx, point, Volume{Label: private}); err != nil || done.Unsupported == written || (done.Written == 2) != written {
			t.Errorf("on a tmpfs with %q: %+v, %v", option, done, err)
		}
	}
	refusedBefore, err := policy.FileLabel("/etc/passwd")
	must(t, err)
	if done, err := Relabel(ctx, "/etc/passwd", Volume{Label: private}); !errdef.Is(err, errdef.Denied) || done.Seen != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if after, err := policy.FileLabel("/etc/passwd"); err != nil || after != refusedBefore {
		t.Errorf("the host's: %s, %v, was %s", after, err, refusedBefore)
	}
}
