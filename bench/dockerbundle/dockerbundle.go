// Package dockerbundle makes the OCI bundle that Docker would make for `docker run busybox true`, so that benchmarks and
// attacks judge every runtime on what users really start, and not on an empty configuration.
//
// It holds Docker's defaults of today as data: the fourteen capabilities, the mounts, the masked and read-only paths, the device
// rule, and the default seccomp profile flattened for that capability set (seccomp.json: what github.com/moby/profiles/seccomp
// v0.3.0 gives for amd64, with the kernel and capability conditions already decided). Six namespaces: pid, network, mount, uts,
// ipc, cgroup.
//
//	dir := t.TempDir()
//	err := dockerbundle.Rootfs(filepath.Join(dir, "rootfs"))
//	err = dockerbundle.Write(dir, dockerbundle.Spec("/bin/true"))
//
// It is not a container engine: there is one image, made of the host's static busybox, and no layer, no network and no cleanup.
//
// Security: nothing here protects anything. A spec that a test weakens is weakened for that test only; Spec returns a new one
// at each call.
package dockerbundle

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

//go:embed seccomp.json
var profile []byte

// Busybox is where Debian's busybox-static puts its program.
const Busybox = "/bin/busybox"

// applets are the names under /bin of the image; all are links to one file.
var applets = []string{"sh", "true", "sleep", "cat", "ls", "id", "echo", "env", "kill", "mkdir", "touch", "ln", "mv", "test"}

// Capabilities returns the fourteen capabilities that Docker leaves to a container.
func Capabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	}
}

// Seccomp returns Docker's default profile for Capabilities. On arm64 the list is the same with that architecture's names for
// the entry points; calls that arm64 lacks are in it all the same, as runtimes must skip unknown names of an allow rule.
func Seccomp() *specs.LinuxSeccomp {
	var p specs.LinuxSeccomp
	if err := json.Unmarshal(profile, &p); err != nil {
		panic("dockerbundle: seccomp.json: " + err.Error())
	}
	if runtime.GOARCH == "arm64" {
		p.Architectures = []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	}
	return &p
}

// Spec returns Docker's default configuration with the given command line, without a terminal. The cgroup path is left empty
// (the runtime derives it from the container's id).
func Spec(args ...string) *specs.Spec {
	caps := Capabilities()
	return &specs.Spec{
		Version:  "1.0.2", // what Debian's runc 1.1.5 and crun 1.8.1 accept
		Hostname: "bench",
		Root:     &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args:            args,
			Cwd:             "/",
			Env:             []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=bench"},
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Mounts: mounts(),
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.CgroupNamespace},
			},
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Seccomp:   Seccomp(),
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
				"/sys/devices/virtual/powercap", "/sys/firmware",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

func mounts() []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{
			Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
		},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{
			Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"},
		},
	}
}

// WithoutMount removes the mount with that destination, if it is there.
func WithoutMount(spec *specs.Spec, destination string) {
	kept := spec.Mounts[:0]
	for _, m := range spec.Mounts {
		if m.Destination != destination {
			kept = append(kept, m)
		}
	}
	spec.Mounts = kept
}

// Write writes spec as config.json into the bundle directory dir, which it creates.
func Write(dir string, spec *specs.Spec) error {
	data, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		return fmt.Errorf("encode config.json: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
		return fmt.Errorf("write config.json: %w", err)
	}
	return nil
}

// Rootfs makes an image in dir: busybox with a few applets, a user database, and the mount points that every image has. A
// missing busybox-static is an error.
func Rootfs(dir string) error {
	program, err := os.ReadFile(Busybox)
	if err != nil {
		return fmt.Errorf("read busybox (Debian package busybox-static): %w", err)
	}
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return fmt.Errorf("create image: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o1777); err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	files := map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return fmt.Errorf("write image: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), program, 0o755); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	for _, name := range applets {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			return fmt.Errorf("link applet %s: %w", name, err)
		}
	}
	return nil
}
