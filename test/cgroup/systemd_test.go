package cgroup

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// systemctl calls it and returns what it prints.
func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// reload makes systemd write again what it knows of every unit.
func reload(t *testing.T) {
	t.Helper()
	systemctl(t, "daemon-reload")
}
