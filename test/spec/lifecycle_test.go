package spec

import (
	"os"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestHeadless: a container whose first thread has ended is not stopped while others of its threads run, and can be killed and deleted.
func TestHeadless(t *testing.T) {
	t.Parallel()
	for _, kind := range []specs.LinuxNamespaceType{"", specs.PIDNamespace} {
		b := newBox(t, "inside", "headless")
		b.without(kind)
		pid := b.up()
		for deadline := time.Now().Add(patience); statusOf(t, pid)["State"] != "Z (zombie)"; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the first thread does not end")
			}
		}
		if got := b.state().Status; got != specs.StateRunning {
			t.Errorf("status %s, want running", got)
		}
		if r := b.call("delete", b.id); r.code == 0 {
			t.Error("deleted without --force while it runs")
		}
		b.ok("kill", b.id, "KILL")
		b.await(specs.StateStopped)
		b.ok("delete", b.id)
		b.nothing()

		c := newBox(t, "inside", "headless")
		c.without(kind)
		pid = c.up()
		time.Sleep(50 * time.Millisecond)
		c.ok("delete", "--force", c.id)
		if _, err := os.Stat("/proc/" + decimal(pid) + "/root/bin"); err == nil {
			t.Error("its threads are left")
		}
		c.nothing()
	}
}
