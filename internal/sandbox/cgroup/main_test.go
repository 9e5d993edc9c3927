package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain fails when the tests leave a descriptor of a cgroup, a program or a watch open, or a cgroup behind.
func TestMain(m *testing.M) {
	code := m.Run()
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err == nil && (strings.Contains(target, "bulkhead-test") || strings.Contains(target, "bpf-prog") || strings.Contains(target, "inotify") ||
			strings.HasPrefix(target, usualMount) && !goOwn(target)) {
			fmt.Fprintf(os.Stderr, "left open: %s\n", target)
			code = 1
		}
	}
	left, _ := filepath.Glob(fmt.Sprintf(usualMount+"/*/bulkhead-test*-%d-*", os.Getpid()))
	for _, dir := range left {
		fmt.Fprintf(os.Stderr, "left behind: %s\n", dir)
		code = 1
	}
	os.Exit(code)
}

// goOwn reports whether it is a file that Go's runtime keeps open to follow the limit of CPUs (since Go 1.25).
func goOwn(target string) bool {
	switch filepath.Base(target) {
	case "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us":
		return true
	}
	return false
}
