package cgroup

import (
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestPause: many processes stand still, are counted as such by the kernel, go on, and can be killed as they stand.
func TestPause(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "forks", "200")
		b.up()
		b.background("spin", "2")
		eventually(t, "200 processes", func() bool { return b.number("pids.current") > 200 })
		b.ok("pause", b.id)
		if got := b.state().Status; got != "paused" {
			t.Errorf("status %s", got)
		}
		if unified && b.key("frozen", "cgroup.events") != 1 || !unified && b.value("freezer.state") != "FROZEN" {
			t.Error("the kernel does not say that all stand still")
		}
		from := b.cpuTime()
		time.Sleep(200 * time.Millisecond)
		if used := b.cpuTime() - from; used > 0 {
			t.Errorf("%d µs of CPU time used meanwhile", used)
		}
		if r := b.call("exec", b.id, "/bin/inside", "try", "read:/proc/self/stat"); r.code == 0 || !strings.Contains(r.err, "paused") {
			t.Errorf("exec: exit status %d: %s", r.code, r.err)
		}
		b.ok("resume", b.id)
		eventually(t, "it uses CPU time again", func() bool { return b.cpuTime() > from })
		b.ok("pause", b.id)
		late := b.start("exec", "--ignore-paused", b.id, "/bin/inside", "try", "create:/tmp/late")
		time.Sleep(200 * time.Millisecond)
		if exists(b.dir+"/rootfs/tmp/late") || !running(late.Process.Pid) {
			t.Error("a process that was started in the paused container ran, or nobody waits for it")
		}
		b.ok("resume", b.id)
		eventually(t, "and runs when it is resumed", func() bool { return exists(b.dir + "/rootfs/tmp/late") })
		b.ok("pause", b.id)
		b.ok("delete", "--force", b.id)
		if running(b.pid) { // a zombie is for the machine's first process to reap, which it does when it likes
			t.Error("the first process is still there")
		}
	})
}

// TestKillAll: a container that forks all the time, without a pid namespace, ends as a whole.
func TestKillAll(t *testing.T) {
	each(t, func(t *testing.T, d driver) {
		b := newBox(t, d, "forks", "100")
		var kept []specs.LinuxNamespace
		for _, ns := range b.spec.Linux.Namespaces {
			if ns.Type != specs.PIDNamespace {
				kept = append(kept, ns)
			}
		}
		b.spec.Linux.Namespaces = kept
		b.res.Pids = &specs.LinuxPids{Limit: ptr(int64(300))}
		b.up()
		b.background("forks", "100")
		b.ok("kill", "--all", b.id, "KILL")
		eventually(t, "nobody is left", func() bool { return len(leftProcessesOf(b.id)) == 0 })
	})
}

func leftProcessesOf(id string) (list []string) {
	for _, p := range leftProcesses() {
		pid := strings.Fields(p)[1]
		if strings.Contains(lastDir(int(number(pid)), "pids"), id) {
			list = append(list, p)
		}
	}
	return list
}
