package spec

import (
	"fmt"
	"os"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// schedOf is the scheduling of a process, seen from outside.
func schedOf(t *testing.T, pid int) *unix.SchedAttr {
	t.Helper()
	attr, err := unix.SchedGetAttr(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return attr
}

// TestScheduler: process.scheduler of the first process and of one that joins.
func TestScheduler(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want   string // policy, nice, priority, flags
		policy specs.LinuxSchedulerPolicy
		nice   int32
		flags  []specs.LinuxSchedulerFlag
	}{
		{"0 7 0 0", specs.SchedOther, 7, nil},
		{"3 -5 0 0", specs.SchedBatch, -5, nil},
		{"5 0 0 0", specs.SchedIdle, 0, nil},
		{"3 2 0 1", specs.SchedBatch, 2, []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}},
	} {
		b := newBox(t, "sleep", "60")
		b.spec.Process.Scheduler = &specs.Scheduler{Policy: c.policy, Nice: c.nice, Flags: c.flags}
		attr := schedOf(t, b.up())
		if got := fmt.Sprint(attr.Policy, attr.Nice, attr.Priority, attr.Flags); got != c.want {
			t.Errorf("%s: %s, want %s", c.policy, got, c.want)
		}
		same(t, facts(b.ok("exec", b.id, "inside", "report").out), map[string]string{"sched": c.want})
	}
}

// TestRealtime: SCHED_FIFO and SCHED_RR, or the error that says why not: with real-time group scheduling a cgroup has no budget at first.
func TestRealtime(t *testing.T) {
	t.Parallel()
	for policy, number := range map[specs.LinuxSchedulerPolicy]uint32{specs.SchedFIFO: unix.SCHED_FIFO, specs.SchedRR: unix.SCHED_RR} {
		b := newBox(t, "sleep", "60")
		b.spec.Process.Scheduler = &specs.Scheduler{Policy: policy, Priority: 3}
		if _, err := os.Stat("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"); err == nil {
			b.refused("sched_setattr", "real-time budget")
			b.spec.Linux.Resources.CPU = &specs.LinuxCPU{RealtimePeriod: ptr(uint64(1000000)), RealtimeRuntime: ptr(int64(10000))}
		}
		if attr := schedOf(t, b.up()); attr.Policy != number || attr.Priority != 3 {
			t.Errorf("%s: %+v", policy, attr)
		}
	}
}

// TestDeadline: SCHED_DEADLINE, which may not fork (sched(7)), so that it has to be the last thing that a starting process does.
func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]specs.LinuxSchedulerFlag{nil, {specs.SchedFlagResetOnFork}} {
		b := newBox(t, "sleep", "60")
		b.spec.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedDeadline, Flags: flags, Runtime: 2000000, Deadline: 20000000, Period: 30000000}
		pid := b.up()
		attr := schedOf(t, pid)
		if attr.Policy != unix.SCHED_DEADLINE || attr.Runtime != 2000000 || attr.Deadline != 20000000 || attr.Period != 30000000 {
			t.Errorf("%+v", attr)
		}
		b.ok("exec", "--detach", "--pid-file", b.path("pid"), b.id, "sleep", "60")
		var joined int
		if _, err := fmt.Sscan(read(t, b.path("pid")), &joined); err != nil {
			t.Fatal(err)
		}
		if attr := schedOf(t, joined); attr.Policy != unix.SCHED_DEADLINE || attr.Period != 30000000 {
			t.Errorf("exec with flags %v: %+v", flags, attr)
		}
	}
}

// TestIOPriority: each class.
func TestIOPriority(t *testing.T) {
	t.Parallel()
	for class, want := range map[specs.IOPriorityClass]string{
		specs.IOPRIO_CLASS_RT: "1 5", specs.IOPRIO_CLASS_BE: "2 5", specs.IOPRIO_CLASS_IDLE: "3 5",
	} {
		b := newBox(t)
		b.spec.Process.IOPriority = &specs.LinuxIOPriority{Class: class, Priority: 5}
		same(t, b.report(), map[string]string{"ioprio": want})
		b.spec.Process.Args = []string{"sleep", "60"}
		const who = 1 // IOPRIO_WHO_PROCESS
		prio, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, who, uintptr(b.up()), 0)
		if got := fmt.Sprint(prio>>13, prio&7); errno != 0 || got != want {
			t.Errorf("%s from outside: %s, %v", class, got, errno)
		}
		same(t, facts(b.ok("exec", b.id, "inside", "report").out), map[string]string{"ioprio": want})
	}
}

// TestExecCPUAffinity is about processes that join, and not about the container's first one. Without final, the kernel decides.
func TestExecCPUAffinity(t *testing.T) {
	t.Parallel()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if all.Count() < 2 || !all.IsSet(0) || !all.IsSet(1) {
		cannot(t, "CPUs 0 and 1 are needed, there are %d", all.Count())
	}
	b := newBox(t, "inside", "report")
	whole := b.report()["cpus"]
	b.spec.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "1"}
	same(t, b.report(), map[string]string{"cpus": whole})
	b.spec.Process.Args = []string{"sleep", "60"}
	b.up()
	same(t, facts(b.ok("exec", b.id, "inside", "report").out), map[string]string{"cpus": "[1]"})

	c := newBox(t, "sleep", "60")
	c.spec.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "8190"}
	c.up()
	if r := c.call("exec", c.id, "true"); r.code == 0 || !strings.Contains(r.err, "execCPUAffinity.initial") {
		t.Errorf("CPU 8190: exit status %d: %s", r.code, r.err)
	}
	d := newBox(t, "true")
	d.spec.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "1-"}
	d.refused("process.execCPUAffinity.initial")
}

// TestMemoryPolicy: linux.memoryPolicy of all modes that a machine with one node can have.
func TestMemoryPolicy(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/numa_maps"); err != nil {
		cannot(t, "kernel without NUMA: %v", err)
	}
	for _, c := range []struct {
		policy specs.LinuxMemoryPolicy
		want   string // mode and flags, nodes
		maps   string
	}{
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0"}, "2 1", "bind:0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0"}, "3 1", "interleave:0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolPreferred, Nodes: "0"}, "1 1", "prefer:0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolPreferredMany, Nodes: "0"}, "5 1", "prefer (many):0"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolLocal}, "4 0", "local"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolDefault}, "0 0", "default"},
		{specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}, "32770 1", "bind=static:0"},
	} {
		b := newBox(t)
		b.spec.Linux.MemoryPolicy = &c.policy
		same(t, b.report(), map[string]string{"mempolicy": c.want})
		if c.want != "2 1" {
			continue
		}
		b.spec.Process.Args = []string{"sleep", "60"}
		if maps := read(t, fmt.Sprintf("/proc/%d/numa_maps", b.up())); !strings.Contains(maps, " "+c.maps+" ") {
			t.Errorf("from outside: no %q in %.300s", c.maps, maps)
		}
	}
	for field, policy := range map[string]specs.LinuxMemoryPolicy{
		"linux.memoryPolicy.mode":  {Mode: "MPOL_BEST"},
		"linux.memoryPolicy.nodes": {Mode: specs.MpolBind, Nodes: "zero"},
		"linux.memoryPolicy.flags": {Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{"MPOL_F_FAST"}},
		"linux.memoryPolicy":       {Mode: specs.MpolBind, Nodes: "63"}, // no such node
	} {
		b := newBox(t, "true")
		b.spec.Linux.MemoryPolicy = &policy
		b.refused(field)
	}
}

// TestPersonality: linux.personality is seen in uname(2) and personality(2).
func TestPersonality(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	machine := b.report()["machine"]
	if machine != "x86_64" {
		cannot(t, "a machine of type %s has other names", machine)
	}
	b.spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
	same(t, b.report(), map[string]string{"machine": "i686", "personality": "8"})
	b.spec.Process.Args = []string{"uname", "-m"}
	if out := b.output(); out != "i686\n" {
		t.Errorf("uname -m: %q", out)
	}
	b.spec.Linux.Personality.Domain = specs.PerLinux
	same(t, b.report(), map[string]string{"machine": "x86_64", "personality": "0"})
	b.spec.Linux.Personality.Domain = "WINDOWS"
	b.refused("linux.personality.domain")
	b.spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"X"}}
	b.refused("linux.personality.flags")
}
