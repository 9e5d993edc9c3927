package attack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestProcReplaced is CVE-2019-16884, CVE-2023-27561, CVE-2023-28642 and CVE-2025-52881: the image or a volume puts something of its
// own where the runtime and the container expect procfs and sysfs. The container must not start, or must have the real ones.
func TestProcReplaced(t *testing.T) {
	volume := func(to string) func(*testing.T, *bundle) {
		return func(t *testing.T, b *bundle) {
			fake := t.TempDir()
			for _, d := range []string{"self/attr", "sys/kernel", "kernel"} {
				if err := os.MkdirAll(filepath.Join(fake, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: to, Type: "bind", Source: fake, Options: []string{"rbind", "rw"}})
		}
	}
	cases := map[string]func(t *testing.T, b *bundle){
		"volume on proc":         volume("/proc"),
		"volume on proc with //": volume("//proc/"),
		"volume on proc/..":      volume("/bin/../proc"),
		"volume through link": func(t *testing.T, b *bundle) {
			symlink(t, "proc", filepath.Join(b.rootfs, "p"))
			volume("/p")(t, b)
		},
		"tmpfs on proc": func(t *testing.T, b *bundle) {
			b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/proc", Type: "tmpfs", Source: "tmpfs"})
		},
		"proc is a link to a directory of the host": func(t *testing.T, b *bundle) {
			host, _ := hostDir(t)
			symlink(t, host, filepath.Join(b.rootfs, "proc"))
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			prove(t, func(t *testing.T, p *program) string {
				b := newBundle(t, "/attacker", "filesystems", "/proc", "/proc/self/attr", "/proc/sys/kernel")
				prepare(t, b)
				out, code := p.run(t, b)
				t.Logf("exit status %d: %s", code, out)
				if code != 0 {
					return ""
				}
				for line := range strings.Lines(out) {
					if strings.HasPrefix(line, "/proc") && !strings.HasSuffix(strings.TrimSpace(line), "0x9fa0") { // PROC_SUPER_MAGIC
						return "the container started with a false procfs: " + strings.TrimSpace(line)
					}
				}
				return ""
			})
		})
	}
}

// TestProcFilesReplaced: a volume over a file or directory below /proc by which the runtime sets labels and sysctls.
func TestProcFilesReplaced(t *testing.T) {
	for _, to := range []string{"/proc/self/attr", "/proc/self", "/proc/sys", "/proc/sys/kernel", "/proc/sysrq-trigger"} {
		t.Run(strings.ReplaceAll(to[1:], "/", "_"), func(t *testing.T) {
			prove(t, func(t *testing.T, p *program) string {
				b := newBundle(t, "/attacker", "filesystems", to)
				source := t.TempDir()
				if to == "/proc/sysrq-trigger" {
					source = filepath.Join(source, "file")
					writeFile(t, source, "", 0o644)
				}
				b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: to, Type: "bind", Source: source, Options: []string{"rbind", "rw"}})
				out, code := p.run(t, b)
				t.Logf("exit status %d: %s", code, out)
				if code == 0 && to == "/proc/self" && p == careless {
					return "started; /proc/self of another process was covered"
				}
				if code == 0 && !strings.Contains(out, "0x9fa0") {
					return "the container started with a false " + to
				}
				return ""
			})
		})
	}
}

// TestMaskThroughNull is CVE-2025-31133: what hides a path is the image's own /dev/null, which is a link to a file of its choice.
func TestMaskThroughNull(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		volume := t.TempDir()
		symlink(t, "../open", filepath.Join(volume, "null"))
		b := newBundle(t, "/attacker", "stat", "/proc/timer_list", "/proc/interrupts")
		writeFile(t, filepath.Join(b.rootfs, "open"), "anything", 0o666)
		for i := range b.spec.Mounts {
			if m := &b.spec.Mounts[i]; m.Destination == "/dev" {
				*m = specs.Mount{Destination: "/dev", Type: "bind", Source: volume, Options: []string{"rbind", "rw"}}
			}
		}
		b.spec.Linux.MaskedPaths = []string{"/proc/timer_list", "/proc/interrupts"}
		out, code := p.run(t, b)
		t.Logf("exit status %d: %s", code, out)
		if code != 0 {
			return ""
		}
		for line := range strings.Lines(out) {
			if !strings.Contains(line, "char 1:3") && !strings.Contains(line, "no such file") {
				return "a masked path is not /dev/null: " + strings.TrimSpace(line)
			}
		}
		return ""
	})
}

// TestMasksHold reads what Docker hides, as root of the container with all capabilities.
func TestMasksHold(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		b := newBundle(t, "/attacker", "stat", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts")
		if p == careless {
			b.spec.Linux.MaskedPaths = nil // what a runtime without the field does
		}
		out, code := p.run(t, b)
		if code != 0 {
			t.Fatalf("run: %s", out)
		}
		for line := range strings.Lines(out) {
			if !strings.Contains(line, "char 1:3") && !strings.Contains(line, "no such file") {
				return "not masked: " + strings.TrimSpace(line)
			}
		}
		return ""
	})
}

// TestSysctl is CVE-2022-0811: a setting of the host, by its own name, by another way to write it, or behind a separator in the
// value of a harmless one. The host's value is put back.
func TestSysctl(t *testing.T) {
	const file = "/proc/sys/kernel/printk_ratelimit_burst"
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	value := "27"
	cases := []map[string]string{
		{"kernel.printk_ratelimit_burst": value},
		{"kernel/printk_ratelimit_burst": value},
		{"net/../kernel/printk_ratelimit_burst": value},
		{"net.../kernel/printk_ratelimit_burst": value},
		{"net.ipv4/../../kernel/printk_ratelimit_burst": value},
		{"fs.mqueue/../../kernel/printk_ratelimit_burst": value},
		{"kernel.shm_rmid_forced": "1+kernel.printk_ratelimit_burst=" + value},
		{"kernel.shm_rmid_forced": "1\nkernel.printk_ratelimit_burst=" + value},
		{"kernel.shm_rmid_forced=1+kernel.printk_ratelimit_burst": value},
	}
	prove(t, func(t *testing.T, p *program) string {
		defer func() {
			if err := os.WriteFile(file, before, 0o644); err != nil {
				t.Error(err)
			}
		}()
		for _, c := range cases {
			b := newBundle(t, "/bin/true")
			b.spec.Linux.Sysctl = c
			out, code := p.run(t, b)
			after, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(after) != string(before) {
				return fmt.Sprintf("%v changed the host", c)
			}
			for key := range c { // the value of a harmless one is the kernel's to parse
				if code == 0 && key != "kernel.shm_rmid_forced" {
					return fmt.Sprintf("%s was accepted: %s", key, out)
				}
			}
		}
		return ""
	})
}

// TestSysctlOfTheHostsNamespace: a network setting without a network namespace is the host's.
func TestSysctlOfTheHostsNamespace(t *testing.T) {
	prove(t, func(t *testing.T, p *program) string {
		for key, kind := range map[string]specs.LinuxNamespaceType{
			"net.ipv4.ip_default_ttl": specs.NetworkNamespace, "kernel.shm_rmid_forced": specs.IPCNamespace,
		} {
			file := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
			value, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b := newBundle(t, "/bin/true")
			b.spec.Linux.Sysctl = map[string]string{key: strings.TrimSpace(string(value))} // harmless if it is written
			for i := range b.spec.Linux.Namespaces {
				if b.spec.Linux.Namespaces[i].Type == kind {
					b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces[:i:i], b.spec.Linux.Namespaces[i+1:]...)
					break
				}
			}
			if kind == specs.IPCNamespace { // a message queue file system needs the namespace too
				for i := range b.spec.Mounts {
					if b.spec.Mounts[i].Type == "mqueue" {
						b.spec.Mounts[i] = specs.Mount{Destination: "/dev/mqueue", Type: "tmpfs", Source: "tmpfs"}
					}
				}
			}
			if out, code := p.run(t, b); code == 0 {
				return fmt.Sprintf("%s was accepted without a namespace: %s", key, out)
			}
		}
		return ""
	})
}
