package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/ocijson"
)

// write makes a bundle with the default spec, or with config if it is not empty.
func write(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if config == "" {
		config = string(ocijson.AppendIndent(nil, ocijson.AppendSpec(nil, Default(false)), "\t"))
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigName), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLoad(t *testing.T) {
	dir := write(t, "")
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if b.Dir != dir || b.Rootfs != filepath.Join(dir, "rootfs") || b.Spec.Process.Args[0] != "sh" || len(b.Warnings) != 0 {
		t.Errorf("bundle %+v", b)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, ConfigName)); string(data) != string(b.Config) {
		t.Errorf("Config is not what the file holds")
	}

	t.Run("relative directory", func(t *testing.T) {
		t.Chdir(dir)
		if b, err := Load("."); err != nil || b.Dir != dir {
			t.Errorf("got %+v, %v", b, err)
		}
	})
	t.Run("symbolic link to config.json", func(t *testing.T) {
		other := write(t, "")
		if err := os.Remove(filepath.Join(other, ConfigName)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(dir, ConfigName), filepath.Join(other, ConfigName)); err != nil {
			t.Fatal(err)
		}
		if b, err := Load(other); err != nil || b.Rootfs != filepath.Join(other, "rootfs") {
			t.Errorf("got %+v, %v", b, err)
		}
	})
}

// TestLoadFile replaces config.json by things that are no configuration. None may make Load wait.
func TestLoadFile(t *testing.T) {
	tests := []struct {
		name string
		make func(path string) error
		want string
		kind errdef.Kind
	}{
		{"none", func(string) error { return nil }, "no such file", errdef.NotFound},
		{"FIFO", func(p string) error { return syscall.Mkfifo(p, 0o600) }, "not a regular file", errdef.Invalid},
		{"directory", func(p string) error { return os.Mkdir(p, 0o700) }, "not a regular file", errdef.Invalid},
		{"link to a device", func(p string) error { return os.Symlink("/dev/zero", p) }, "not a regular file", errdef.Invalid},
		{"link to itself", func(p string) error { return os.Symlink(p, p) }, "too many levels", errdef.Internal},
		{"too large", func(p string) error { return sparse(p, MaxConfigSize+1) }, "larger than 16 MiB", errdef.Invalid},
		{"zeros", func(p string) error { return sparse(p, 100) }, "want an object", errdef.Invalid},
		{"empty", func(p string) error { return sparse(p, 0) }, "end of the document", errdef.Invalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := write(t, "")
			path := filepath.Join(dir, ConfigName)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := Load(dir)
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), test.want) || errdef.KindOf(err) != test.kind {
					t.Errorf("got %v (%v), want %q (%v)", err, errdef.KindOf(err), test.want, test.kind)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("Load waits")
			}
		})
	}
}

func sparse(path string, size int64) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

func TestLoadRoot(t *testing.T) {
	tests := []struct {
		name string
		make func(root string) error
		want string
	}{
		{"none", func(string) error { return nil }, "does not exist"},
		{"file", func(p string) error { return sparse(p, 0) }, "is not a directory"},
		{"link", func(p string) error { return os.Symlink("/", p) }, "is a symbolic link"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := write(t, "")
			root := filepath.Join(dir, "rootfs")
			if err := os.Remove(root); err != nil {
				t.Fatal(err)
			}
			if err := test.make(root); err != nil {
				t.Fatal(err)
			}
			_, err := Load(dir)
			if err == nil || !strings.Contains(err.Error(), "config.json: root.path: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if errdef.Hint(err) == "" {
				t.Errorf("%v: no hint", err)
			}
		})
	}
}

// TestLoadHostNetwork joins the caller's own network namespace by its path, which must count as none.
func TestLoadHostNetwork(t *testing.T) {
	spec := Default(false)
	spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_forward": "1"}
	if _, err := Load(write(t, string(ocijson.AppendSpec(nil, spec)))); err != nil {
		t.Errorf("own network namespace: %v", err)
	}
	for i := range spec.Linux.Namespaces {
		if ns := &spec.Linux.Namespaces[i]; ns.Type == "network" {
			ns.Path = "/proc/self/ns/net"
		}
	}
	_, err := Load(write(t, string(ocijson.AppendSpec(nil, spec))))
	if err == nil || !strings.Contains(err.Error(), `linux.sysctl["net.ipv4.ip_forward"]`) {
		t.Errorf("host's network namespace: %v", err)
	}
}

func TestLoadProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "process.json")
	for doc, want := range map[string]string{
		`{"args": ["ls"], "cwd": "/", "user": {"uid": 1}}`: "",
		`{"args": [], "cwd": "/"}`:                         "process.json: process.args: want at least one element",
		`{"args": ["ls"]}`:                                 "process.json: process.cwd: want an absolute path",
		`{"args": "ls"}`:                                   "process.json: args: want an array, found a string (line 1, column 10)",
		`{"args": ["ls"], "cwd": "/"} x`:                   "follows the end",
	} {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := LoadProcess(path)
		if want == "" {
			if err != nil || p.Args[0] != "ls" || p.User.UID != 1 {
				t.Errorf("%s: %+v, %v", doc, p, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) || errdef.KindOf(err) != errdef.Invalid {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
}
