package cgroup

import (
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// forked reads the answer of the load "forks".
func forked(t *testing.T, out string) (n int, why string) {
	t.Helper()
	if _, err := fmt.Sscanf(strings.TrimSpace(out), "forked %d %s", &n, &why); err != nil && n == 0 {
		t.Fatalf("%q: %v", out, err)
	}
	return n, why
}

// TestPids: fork is refused at the limit, and counted as refused; raised and lowered on the running container.
func TestPids(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "sleep")
		b.res.Pids = &specs.LinuxPids{Limit: ptr(int64(40))}
		b.up()
		n, why := forked(t, b.exec("children", "100").out)
		if n < 5 || n > 39 || why != "EAGAIN" {
			t.Errorf("%d children, then %q, with at most 40 tasks", n, why)
		}
		if b.key("max", "pids.events") == 0 {
			t.Error("pids.events does not count what was refused")
		}
		if now := b.number("pids.current"); now > 40 {
			t.Errorf("%d tasks, 40 are allowed", now)
		}
		b.ok("kill", b.id, "KILL")
		b.await(specs.StateStopped)

		c := newBox(t, d, "sleep")
		c.res.Pids = &specs.LinuxPids{Limit: ptr(int64(40))}
		c.up()
		for _, limit := range []int64{120, 60, -1} {
			if r := c.update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: &limit}}); r.code != 0 {
				t.Fatal(r.err)
			}
			if got := c.number("pids.max"); got != limit {
				t.Errorf("pids.max %d, want %d", got, limit)
			}
		}
		if n, why := forked(t, c.exec("children", "100").out); n != 100 {
			t.Errorf("without a limit: %d children, then %s", n, why)
		}
	})
}
