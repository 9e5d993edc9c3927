package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bulkhead-engine/bulkhead/bench/dockerbundle"
)

// filteredCalls runs the program of bench/calls in containers, with Docker's profile under each runtime and once without any,
// and returns a line each. The filters of runc and crun are libseccomp's.
func filteredCalls(work string, programs []program) []string {
	lines := []string{"nanoseconds per system call: getppid (always allowed), personality (argument looked at)"}
	unfiltered := false
	for _, p := range programs {
		if p.argv != nil {
			continue
		}
		if !unfiltered {
			if line, err := filteredCall(work, &p, false); err == nil {
				lines = append(lines, "without a filter: "+line)
				unfiltered = true
			}
		}
		line, err := filteredCall(work, &p, true)
		if err != nil {
			line = err.Error()
		}
		lines = append(lines, p.Name+": "+line)
	}
	return lines
}

func filteredCall(work string, p *program, filter bool) (string, error) {
	program, err := os.ReadFile(filepath.Join(work, "calls"))
	if err != nil {
		return "", fmt.Errorf("read program: %w", err)
	}
	if err := os.WriteFile(filepath.Join(work, "rootfs/calls"), program, 0o755); err != nil {
		return "", fmt.Errorf("write program: %w", err)
	}
	spec := dockerbundle.Spec("/calls")
	spec.Root.Path = filepath.Join(work, "rootfs")
	dockerbundle.WithoutMount(spec, "/sys/fs/cgroup")
	spec.Linux.Resources = nil
	if !filter {
		spec.Linux.Seccomp = nil
	}
	bundle := filepath.Join(work, "calls-bundle")
	if err := dockerbundle.Write(bundle, spec); err != nil {
		return "", err
	}
	series := "none"
	if p.noDisabled {
		series = "unified"
	}
	argv := command(series, work, p)
	argv = append(argv, "run", "--bundle", bundle, fmt.Sprintf("bench-%d-calls", os.Getpid()))
	const script = `mount --make-rprivate / && umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$0" "$@"`
	out, err := exec.Command("/bin/busybox", append([]string{"unshare", "-m", "sh", "-c", script}, argv...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

// seccompBenchmarks returns what `go test -bench` of the compiler prints, or why it could not be had.
func seccompBenchmarks() []string {
	const pkg = "./internal/sandbox/seccomp"
	if _, err := os.Stat(pkg); err != nil || lookPath("go") == "" { // a machine of the lab has no compiler
		return nil
	}
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", ".", "-benchtime", "300ms", pkg).CombinedOutput()
	if err != nil {
		return []string{"go test -bench: " + err.Error()}
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Benchmark") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
