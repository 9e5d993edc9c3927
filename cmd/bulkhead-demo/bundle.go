package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// embedded holds the image: one program, put there by the Makefile. The directory is committed without it.
//
//go:embed embed
var embedded embed.FS

const reportName = "bulkhead-report"

// limits are what the demo adds to the level's own.
type limits struct {
	memory int64 // MiB
	pids   int64
	cpus   float64
}

// cpuPeriod is the kernel's default, in microseconds.
const cpuPeriod = 100000

// configuration is the level's configuration on this host, with the limits, and the report program to run.
func configuration(level defaults.Level, l limits) *specs.Spec {
	host := defaults.ThisHost()
	spec := defaults.Spec(level, host)
	spec.Process.Args = []string{"/" + reportName, "--host", hostNamespaces()}
	if host.Rootless {
		return spec // no cgroup is ours to limit
	}
	memory, quota, period := l.memory<<20, int64(l.cpus*cpuPeriod), uint64(cpuPeriod)
	spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &memory}
	spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &l.pids}
	spec.Linux.Resources.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	return spec
}

// hostNamespaces lists this process's namespaces as the report takes them.
func hostNamespaces() string {
	var list []string
	for _, name := range []string{"user", "pid", "net", "mnt", "uts", "ipc", "cgroup", "time"} {
		link, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			continue // a kernel without this kind
		}
		list = append(list, name+"="+strings.TrimSuffix(strings.TrimPrefix(link, name+":["), "]"))
	}
	return strings.Join(list, ",")
}

// demonstrate writes the bundle, runs it and removes it.
func demonstrate(ctx context.Context, s *settings, spec *specs.Spec, out [2]io.Writer) (int, error) {
	program, err := embedded.ReadFile("embed/" + reportName)
	if err != nil {
		return 1, errdef.WithHint(errdef.Errorf(errdef.NotFound, "image: this program was built without %s", reportName), "make build puts it in")
	}
	runtime, err := runtimeProgram(s.runtime)
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "bulkhead-demo-")
	if err != nil {
		return 1, fmt.Errorf("bundle: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := writeBundle(dir, spec, program); err != nil {
		return 1, fmt.Errorf("bundle: %w", err)
	}
	id := "bulkhead-demo-" + strconv.Itoa(os.Getpid())
	common := []string{"--root", filepath.Join(dir, "state")}
	cmd := exec.CommandContext(ctx, runtime, append(common, "run", "--bundle", dir, id)...)
	cmd.Stdout, cmd.Stderr = out[0], out[1]
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	code, err := exitCode(cmd.Run())
	if code != 0 {
		// Whatever was left behind goes; that there is nothing is what usually happens.
		_ = exec.Command(runtime, append(common, "delete", "--force", id)...).Run()
	}
	return code, err
}

// writeBundle makes the root file system, which belongs to root inside, and config.json. The directories above it can be passed through
// but not listed: the container's ids are strangers on the host.
func writeBundle(dir string, spec *specs.Spec, program []byte) error {
	root := filepath.Join(dir, "rootfs")
	if err := os.Chmod(dir, 0o711); err != nil {
		return err
	}
	made := []string{root}
	for _, name := range []string{"proc", "dev", "sys", "tmp", "run"} { // what is mounted over
		made = append(made, filepath.Join(root, name))
	}
	for _, path := range made {
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	}
	report := filepath.Join(root, reportName)
	if err := os.WriteFile(report, program, 0o755); err != nil {
		return err
	}
	for _, path := range append(made, report) {
		if err := giveToRoot(path, spec); err != nil {
			return err
		}
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644)
}

// giveToRoot gives a path to the ids that are root's inside.
func giveToRoot(path string, spec *specs.Spec) error {
	if len(spec.Linux.UIDMappings) == 0 {
		return nil
	}
	return os.Lchown(path, int(spec.Linux.UIDMappings[0].HostID), int(spec.Linux.GIDMappings[0].HostID))
}
