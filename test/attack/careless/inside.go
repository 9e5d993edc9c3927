package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// setup mounts everything below the root by its path.
func setup(spec *specs.Spec, bundle string) {
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	root := filepath.Join(bundle, spec.Root.Path)
	must(unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""))
	for key, value := range spec.Linux.Sysctl {
		must(os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0))
	}
	for _, m := range spec.Mounts {
		mount(root, &m, spec.Annotations["careless.check"] != "")
	}
	for _, name := range []string{"null", "zero", "random", "tty"} {
		node := filepath.Join(root, "dev", name)
		if _, err := os.Stat(node); err == nil {
			continue // the image brings one
		}
		f, err := os.Create(node) // follows a link of the image
		if err != nil {
			continue
		}
		_ = f.Close()
		_ = unix.Mount("/dev/"+name, node, "", unix.MS_BIND, "")
	}
	if spec.Process.Terminal {
		console := filepath.Join(root, "dev/console")
		if f, err := os.OpenFile(console, os.O_CREATE|os.O_RDWR, 0o600); err == nil {
			_ = f.Close()
		}
		tty, _ := os.Readlink("/proc/self/fd/0")
		_ = unix.Mount(tty, console, "", unix.MS_BIND, "")
	}
}

// mount checks that no link is in the way, and then trusts the path that it has checked.
func mount(root string, m *specs.Mount, check bool) {
	target := filepath.Join(root, m.Destination)
	if check {
		for try := 0; isLink(root, m.Destination); try++ {
			if try > 1000 {
				return
			}
		}
		// As wide a gap as real runtimes had with much to do between the two, so that nobody's luck, nor an emulator's, hides it.
		time.Sleep(500 * time.Microsecond)
	}
	source := m.Source
	if info, err := os.Stat(source); err == nil && !info.IsDir() && m.Type == "bind" {
		must(os.MkdirAll(filepath.Dir(target), 0o755))
		if f, err := os.Create(target); err == nil {
			_ = f.Close()
		}
	} else {
		must(os.MkdirAll(target, 0o755))
	}
	kind, flags, data := m.Type, uintptr(0), ""
	switch kind {
	case "cgroup":
		source, kind, flags = "/sys/fs/cgroup", "", unix.MS_BIND|unix.MS_REC
	case "bind":
		kind, flags = "", unix.MS_BIND|unix.MS_REC
	case "devpts":
		data = "newinstance,ptmxmode=0666,mode=0620"
	case "tmpfs":
		data = "mode=755"
	}
	_ = unix.Mount(source, target, kind, flags, data)
}

func isLink(root, destination string) bool {
	at := root
	for _, part := range strings.Split(destination, "/") {
		at = filepath.Join(at, part)
		if info, err := os.Lstat(at); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return true
		}
	}
	return false
}

func enter(root string) {
	cwd, err := unix.Open(".", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(err)
	must(unix.Chdir(root))
	must(unix.PivotRoot(".", "."))
	must(unix.Unmount(".", unix.MNT_DETACH))
	_ = unix.Fchdir(cwd) // back to where the configuration said, wherever that is
}

// mask binds the image's own /dev/null over what should not be seen, by path.
func mask(spec *specs.Spec) {
	for _, p := range spec.Linux.MaskedPaths {
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			_ = unix.Mount("tmpfs", p, "tmpfs", unix.MS_RDONLY, "")
		} else if err == nil {
			_ = unix.Mount("/dev/null", p, "", unix.MS_BIND, "")
		}
	}
	for _, p := range spec.Linux.ReadonlyPaths {
		if unix.Mount(p, p, "", unix.MS_BIND|unix.MS_REC, "") == nil {
			_ = unix.Mount("", p, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
	}
}

// wait says that the container is ready and polls for start, both in the state directory.
func wait(state int) {
	if fd, err := unix.Openat(state, "ready", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600); err == nil {
		_ = unix.Close(fd)
	}
	for range 30000 {
		var st unix.Stat_t
		if unix.Fstatat(state, "start", &st, 0) == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// credentials sets the bounding set as every other set too, the inheritable and ambient ones included.
func credentials(p *specs.Process) {
	if p.User.UID != 0 || p.User.GID != 0 {
		_ = unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0)
		must(syscall.Setgid(int(p.User.GID))) // and setgroups is forgotten
		must(syscall.Setuid(int(p.User.UID)))
	}
	if p.Capabilities == nil {
		return
	}
	var bits uint64
	for i, name := range names {
		for _, c := range p.Capabilities.Bounding {
			if c == "CAP_"+name {
				bits |= 1 << i
			}
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(bits), uint32(bits>>32)
	data := [2]unix.CapUserData{{Effective: low, Permitted: low, Inheritable: low}, {Effective: high, Permitted: high, Inheritable: high}}
	_ = unix.Capset(&header, &data[0])
	for i := range names {
		if bits&(1<<i) != 0 {
			_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(i), 0, 0)
		}
	}
}

// names are the capabilities by number.
var names = strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
	NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
	SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
	MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)
