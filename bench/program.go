package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/test/built"
)

// program is one that is measured. An OCI runtime has the command line of runc; another one has a fixed argv.
type program struct {
	Name    string `json:"name"`
	Path    string `json:"-"` // says nothing to a reader elsewhere
	Version string `json:"version"`

	argv       []string // not nil: not an OCI runtime
	noDisabled bool     // has no --cgroup-manager=disabled
	boot       bool     // its --version is measured too
}

const (
	ours       = "bulkhead-runtime"
	debianRunc = "runc (Debian)"
	debianCrun = "crun (Debian)"
	otherRunc  = "runc ($RUNC)"
	otherCrun  = "crun ($CRUN)"
	bareTrue   = "fork+exec of true"
	emptyGo    = "empty Go program"
	bubblewrap = "bubblewrap"
)

// findPrograms returns what this machine has, in the order of measurement. $BULKHEAD names a built bulkhead-runtime; otherwise it
// is built from this tree.
func findPrograms(work string) ([]program, error) {
	list := []program{
		{Name: bareTrue, Path: "/bin/busybox", argv: []string{filepath.Join(work, "rootfs/bin/true")}},
		{Name: emptyGo, Path: filepath.Join(work, "empty"), argv: []string{filepath.Join(work, "empty")}},
	}
	path := os.Getenv("BULKHEAD")
	if _, err := os.Stat("cmd/bulkhead-runtime/main.go"); path == "" && err == nil {
		path = filepath.Join(work, ours)
		if err := built.Program(path, "./cmd/bulkhead-runtime"); err != nil {
			return nil, err
		}
	}
	candidates := []program{
		{Name: ours, Path: path, boot: true},
		{Name: otherCrun, Path: os.Getenv("CRUN"), boot: true},
		{Name: debianCrun, Path: lookPath("crun"), boot: true},
		{Name: otherRunc, Path: os.Getenv("RUNC"), boot: true, noDisabled: true},
		{Name: debianRunc, Path: lookPath("runc"), boot: true, noDisabled: true},
		{Name: bubblewrap, Path: lookPath("bwrap"), argv: bubblewrapArgv(work)},
	}
	for _, p := range candidates {
		if p.Path == "" {
			continue
		}
		version, err := exec.Command(p.Path, "--version").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s --version: %w: %s", p.Path, err, version)
		}
		p.Version, _, _ = strings.Cut(string(version), "\n")
		list = append(list, p)
	}
	return list, nil
}

func lookPath(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}

// bubblewrapArgv comes as near to the bundle as bubblewrap's options allow: the same namespaces, capabilities and root, its own
// smaller set of mounts and devices, no masked paths, no cgroup, and no seccomp filter (it wants a compiled one).
func bubblewrapArgv(work string) []string {
	argv := []string{
		"/usr/bin/bwrap", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-ipc", "--unshare-cgroup",
		"--hostname", "bench", "--new-session", "--die-with-parent", "--as-pid-1",
		"--bind", filepath.Join(work, "rootfs"), "/", "--proc", "/proc", "--dev", "/dev", "--mqueue", "/dev/mqueue",
		"--tmpfs", "/dev/shm", "--ro-bind", "/sys", "/sys", "--cap-drop", "ALL",
	}
	for _, c := range []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
		"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
	} {
		argv = append(argv, "--cap-add", c)
	}
	return append(argv, "/bin/true")
}
