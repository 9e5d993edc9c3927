package selinux

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

func open(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// refused holds a guard to refuse a path, and nothing else of the package is let near it.
func refused(t *testing.T, g *guard, path string) {
	t.Helper()
	if err := g.check(open(t, path), path); !errdef.Is(err, errdef.Denied) || errdef.Hint(err) == "" || !strings.Contains(err.Error(), path) {
		t.Errorf("%s: %v", path, err)
	}
}

func newTestGuard(t *testing.T, extra ...string) *guard {
	t.Helper()
	g, err := newGuard(extra)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Every place of the host is refused by its name, through a link, and with slashes and dots in it.
func TestGuardPlaces(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, dir := range []string{".ssh/deep", "project"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g := newTestGuard(t)
	link := filepath.Join(t.TempDir(), "link")
	n := 0
	for _, path := range strings.Fields(`/ /usr /etc /home /root /var /boot /dev /proc /sys /run /lib /lib64 /bin /sbin /opt /srv /tmp /mnt /media /var/lib /var/log
		/var/run /usr/lib /usr/bin /usr/share/doc /usr/local /usr/local/bin /etc/passwd /etc/shadow /etc/ssl /etc/security /etc/pam.d/.. /bin/sh /proc/self /proc/sys/kernel
		/sys/kernel /sys/fs/cgroup /dev/null /dev/pts /usr/../etc //etc/ /etc/localtime ` + home + " " + home + "/.ssh " + home + "/.ssh/deep " + filepath.Dir(home)) {
		if !exists(path) {
			continue
		}
		n++
		refused(t, g, path)
		_ = os.Remove(link)
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		refused(t, g, link)
	}
	if n < 30 {
		t.Errorf("only %d places are there", n)
	}
	if err := g.check(open(t, home+"/project"), "project"); err != nil {
		t.Errorf("a directory in a home: %v", err)
	}
	if err := g.check(open(t, t.TempDir()), "dir"); err != nil {
		t.Errorf("a directory in /tmp: %v", err)
	}
}

// What the caller adds is guarded with all below and all above.
func TestGuardExtra(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/engine/layers", "a/enginex", "b"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	g := newTestGuard(t, dir+"/a/engine", dir+"/not-there")
	for _, d := range []string{"a/engine/layers", "a/engine", "a", "."} {
		refused(t, g, filepath.Join(dir, d))
	}
	for _, d := range []string{"b", "a/enginex"} {
		if err := g.check(open(t, filepath.Join(dir, d)), d); err != nil {
			t.Errorf("%s: %v", d, err)
		}
	}
}

// A guard that would guard nothing is a mistake of the caller's.
func TestGuardRelative(t *testing.T) {
	if g, err := newGuard([]string{"var/lib/bulkhead"}); !errdef.Is(err, errdef.Invalid) {
		t.Errorf("%v, %v", g, err)
	}
}

// A bind mount is what it shows: of a place, of what is above one, and of what is in one.
func TestGuardBindMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	engine := t.TempDir()
	for _, d := range []string{"x/state/deep", "x/y"} {
		if err := os.MkdirAll(filepath.Join(engine, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		source string
		ok     bool
	}{
		{"/etc", false},
		{"/", false},
		{"/usr/share", false},
		{"/usr/bin", false},
		{engine, false},
		{engine + "/x", false},
		{engine + "/x/state", false},
		{engine + "/x/state/deep", false},
		{engine + "/x/y", true},
	} {
		point := t.TempDir()
		if err := unix.Mount(c.source, point, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
		g := newTestGuard(t, engine+"/x/state")
		if !c.ok {
			refused(t, g, point)
		} else if err := g.check(open(t, point), point); err != nil {
			t.Errorf("%s: %v", c.source, err)
		}
	}
}

func TestGuardRules(t *testing.T) {
	at := func(p string) location { return location{8, 1, p} }
	g := &guard{where: []guarded{
		{at("/"), itself, "/"},
		{at("/home"), itself, "/home"},
		{at("/home"), children, "/home"},
		{at("/usr"), tree, "/usr"},
		{at("/usr/local"), itself, "/usr/local"},
		{at("/usr/local/bin"), tree, "/usr/local/bin"},
		{location{8, 2, "/"}, itself, "/data"},
		{location{8, 2, "/vol/home"}, itself, "/data/vol/home"},
	}}
	for path, ok := range map[string]bool{
		"/": false, "/srv": true, "/home": false, "/home/alice": false, "/home/alice/x": true, "/homes": true, "/usr": false, "/usr/x": false, "/usrx": true,
		"/usr/local": false, "/usr/local/x": true, "/usr/local/bin/x": false,
	} {
		err := g.checkLocation(at(path), func(string, ...any) error { return os.ErrPermission })
		if ok != (err == nil) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for path, ok := range map[string]bool{"/": false, "/vol": false, "/vol/home": false, "/vol/home/x": true, "/usr": true} {
		err := g.checkLocation(location{8, 2, path}, func(string, ...any) error { return os.ErrPermission })
		if ok != (err == nil) {
			t.Errorf("other disk, %s: %v", path, err)
		}
	}
}
