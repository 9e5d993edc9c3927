package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// swap exchanges two names as fast as it can until stop is closed, as a container on a shared volume would.
func swap(a, b string, stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case <-stop:
			return
		default:
			_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
		}
	}
}

// TestSwappedDirectory is CVE-2021-30465, CVE-2024-45310 and CVE-2019-19921: mounts lie below a directory of a shared volume that
// another container exchanges with a link all the time. Nothing may be made or mounted where the link leads.
func TestSwappedDirectory(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		host, changed := hostDir(t)
		volume := t.TempDir()
		d, l := filepath.Join(volume, "d"), filepath.Join(volume, "l")
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		symlink(t, strings.Repeat("../", 20)+host, l)
		b := newBundle(t, "/bin/true")
		b.spec.Annotations = map[string]string{"careless.check": "1"}
		b.spec.Linux.Seccomp = nil
		source := filepath.Join(b.dir, "file")
		writeFile(t, source, "x", 0o644)
		base := append(b.spec.Mounts, specs.Mount{Destination: "/vol", Type: "bind", Source: volume, Options: []string{"rbind", "rw"}})
		stop, done := make(chan struct{}), make(chan struct{})
		go swap(d, l, stop, done)
		defer func() { close(stop); <-done }()
		started, tried, until := 0, 0, p.window(6*time.Second)
		for tried < 5000 && time.Now().Before(until) {
			tried++
			b.spec.Mounts = append(base[:len(base):len(base)],
				specs.Mount{Destination: fmt.Sprintf("/vol/d/a%d/b", tried), Type: "tmpfs", Source: "tmpfs"},
				specs.Mount{Destination: fmt.Sprintf("/vol/d/f%d", tried), Type: "bind", Source: source, Options: []string{"bind"}},
				specs.Mount{Destination: fmt.Sprintf("/vol/d/c%d", tried), Type: "bind", Source: b.dir, Options: []string{"rbind"}})
			if _, code := p.run(t, b); code == 0 {
				started++
			}
			if c := changed(); c != "" {
				return fmt.Sprintf("after %d starts: %s", tried, c)
			}
		}
		t.Logf("%d of %d containers started", started, tried)
		if started == 0 {
			t.Error("no container started: the race was never run")
		}
		return ""
	})
}

// TestImageLinks: a hostile image has links where the runtime makes directories, files, devices and mounts: CVE-2025-31133,
// CVE-2025-52565, CVE-2026-41579 and many before. Each case must leave the host's directory alone, whether the container
// starts or not.
func TestImageLinks(t *testing.T) {
	bind := func(from, to string) specs.Mount {
		return specs.Mount{Destination: to, Type: "bind", Source: from, Options: []string{"rbind", "rw"}}
	}
	tmpfs := func(to string) specs.Mount { return specs.Mount{Destination: to, Type: "tmpfs", Source: "tmpfs"} }
	up := strings.Repeat("../", 30)
	cases := map[string]func(t *testing.T, b *bundle, host string){
		"dev": func(t *testing.T, b *bundle, host string) { symlink(t, host, filepath.Join(b.rootfs, "dev")) },
		"dev without a mount": func(t *testing.T, b *bundle, host string) {
			b.spec.Mounts = b.spec.Mounts[:1]
			symlink(t, host, filepath.Join(b.rootfs, "dev"))
		},
		"dev null dangling": func(t *testing.T, b *bundle, host string) {
			b.spec.Mounts = b.spec.Mounts[:1]
			symlink(t, filepath.Join(host, "null"), filepath.Join(b.rootfs, "dev/null"))
		},
		"absolute": func(t *testing.T, b *bundle, host string) {
			symlink(t, host, filepath.Join(b.rootfs, "a"))
			b.spec.Mounts = append(b.spec.Mounts, tmpfs("/a/b/c"))
		},
		"relative": func(t *testing.T, b *bundle, host string) {
			symlink(t, up+host, filepath.Join(b.rootfs, "a"))
			b.spec.Mounts = append(b.spec.Mounts, tmpfs("/a/b/c"))
		},
		"chain": func(t *testing.T, b *bundle, host string) {
			symlink(t, "b", filepath.Join(b.rootfs, "a"))
			symlink(t, "./c", filepath.Join(b.rootfs, "b"))
			symlink(t, host, filepath.Join(b.rootfs, "c"))
			b.spec.Mounts = append(b.spec.Mounts, tmpfs("/a/b/c"))
		},
		"file onto a dangling link": func(t *testing.T, b *bundle, host string) {
			symlink(t, up+filepath.Join(host, "new"), filepath.Join(b.rootfs, "f"))
			b.spec.Mounts = append(b.spec.Mounts, bind(filepath.Join(b.dir, "config.json"), "/f"))
		},
		"file onto a hard link": func(t *testing.T, b *bundle, host string) {
			if err := os.Link(filepath.Join(host, "precious"), filepath.Join(b.rootfs, "f")); err != nil {
				t.Fatal(err)
			}
			b.spec.Mounts = append(b.spec.Mounts, bind(filepath.Join(b.dir, "config.json"), "/f"))
		},
		"dots in the destination": func(t *testing.T, b *bundle, host string) {
			b.spec.Mounts = append(b.spec.Mounts, tmpfs("/"+up+host+"/new"))
		},
		"root is a link": func(t *testing.T, b *bundle, host string) {
			symlink(t, host, b.rootfs)
		},
		"link on a volume": func(t *testing.T, b *bundle, host string) {
			volume := t.TempDir()
			symlink(t, up+host, filepath.Join(volume, "l"))
			b.spec.Mounts = append(b.spec.Mounts, bind(volume, "/vol"), tmpfs("/vol/l/new"))
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			prove(t, func(t *testing.T, p *program) string {
				host, changed := hostDir(t)
				b := newBundle(t, "/bin/true")
				prepare(t, b, host)
				out, code := p.run(t, b)
				t.Logf("exit status %d: %.200s", code, out)
				if name == "dev" && p == careless {
					return "its mount over the host's directory, in a namespace that is gone"
				}
				return changed()
			})
		})
	}
}
