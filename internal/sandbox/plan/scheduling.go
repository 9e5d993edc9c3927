package plan

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// scheduling applies scheduler, I/O priority, affinity, memory policy and personality.
func (b *builder) scheduling(p *specs.Process) error {
	if l := b.spec.Linux; l != nil && l.Personality != nil {
		domain, err := personality(l.Personality)
		if err != nil {
			return err
		}
		b.add(op.Raw("personality", unix.SYS_PERSONALITY, op.Flag(domain, string(l.Personality.Domain))).Because("linux.personality"))
	}
	if p.IOPriority != nil {
		class, ok := ioClasses[p.IOPriority.Class]
		if !ok {
			return errdef.Errorf(errdef.Invalid, "process.ioPriority.class: unknown class %q", p.IOPriority.Class)
		}
		const who = 1 // IOPRIO_WHO_PROCESS
		value := class<<13 | uint64(p.IOPriority.Priority)
		b.add(op.Raw("ioprio_set", unix.SYS_IOPRIO_SET, op.Flag(uint32(who), "IOPRIO_WHO_PROCESS"), op.Num(0), op.Num(value)).Because("process.ioPriority").
			Hinted("the real-time class needs CAP_SYS_ADMIN or CAP_SYS_NICE on the host"))
	}
	if p.Scheduler != nil {
		attr, err := Scheduling(p.Scheduler)
		if err != nil {
			return err
		}
		if !b.forkLate { // else at BarrierSched
			b.add(op.Raw("sched_setattr", unix.SYS_SCHED_SETATTR, op.Num(0), op.Data(schedAttr(attr), string(p.Scheduler.Policy)), op.Num(0)).
				Because("process.scheduler").Hinted(SchedulingHint))
		}
	}
	return b.memoryPolicy()
}

var ioClasses = map[specs.IOPriorityClass]uint64{"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}

var policies = map[specs.LinuxSchedulerPolicy]uint32{
	specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3, specs.SchedISO: 4, specs.SchedIdle: 5, specs.SchedDeadline: 6,
}

var schedFlags = map[specs.LinuxSchedulerFlag]uint64{
	specs.SchedFlagResetOnFork: 1, specs.SchedFlagReclaim: 2, specs.SchedFlagDLOverrun: 4, specs.SchedFlagKeepPolicy: 8,
	specs.SchedFlagKeepParams: 16, specs.SchedFlagUtilClampMin: 32, specs.SchedFlagUtilClampMax: 64,
}

// SchedulingHint says why sched_setattr(2) fails.
const SchedulingHint = "this policy or priority needs CAP_SYS_NICE on the host, and with cgroup v1 a real-time budget in the container's cpu cgroup"

// Scheduling is what sched_setattr(2) takes for process.scheduler. An unknown policy or flag is of kind Invalid.
func Scheduling(s *specs.Scheduler) (*unix.SchedAttr, error) {
	policy, ok := policies[s.Policy]
	if !ok {
		return nil, errdef.Errorf(errdef.Invalid, "process.scheduler.policy: unknown policy %q", s.Policy)
	}
	flags := uint64(0)
	for _, f := range s.Flags {
		bit, ok := schedFlags[f]
		if !ok {
			return nil, errdef.Errorf(errdef.Invalid, "process.scheduler.flags: unknown flag %q", f)
		}
		flags |= bit
	}
	const size = 48 // struct sched_attr of sched_setattr(2), first version
	return &unix.SchedAttr{
		Size: size, Policy: policy, Flags: flags, Nice: s.Nice, Priority: uint32(s.Priority), Runtime: s.Runtime, Deadline: s.Deadline, Period: s.Period,
	}, nil
}

// schedAttr is a struct sched_attr in memory.
func schedAttr(a *unix.SchedAttr) string {
	le := binary.LittleEndian
	out := le.AppendUint32(le.AppendUint32(nil, a.Size), a.Policy)
	out = le.AppendUint64(out, a.Flags)
	out = le.AppendUint32(out, uint32(a.Nice))
	out = le.AppendUint32(out, a.Priority)
	for _, v := range []uint64{a.Runtime, a.Deadline, a.Period} {
		out = le.AppendUint64(out, v)
	}
	return string(out)
}

func personality(p *specs.LinuxPersonality) (uint64, error) {
	if len(p.Flags) > 0 {
		return 0, errdef.Errorf(errdef.Invalid, "linux.personality.flags: the runtime specification defines none")
	}
	switch p.Domain {
	case specs.PerLinux:
		return 0, nil
	case specs.PerLinux32:
		return 8, nil
	}
	return 0, errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.personality.domain: unknown domain %q", p.Domain), "it is LINUX or LINUX32")
}

// Numbers of include/uapi/linux/mempolicy.h. MPOL_WEIGHTED_INTERLEAVE is of kernel 6.9, MPOL_PREFERRED_MANY of 5.15.
var memoryModes = map[specs.MemoryPolicyModeType]uint32{
	specs.MpolDefault: 0, specs.MpolPreferred: 1, specs.MpolBind: 2, specs.MpolInterleave: 3, specs.MpolLocal: 4,
	specs.MpolPreferredMany: 5, specs.MpolWeightedInterleave: 6,
}

var memoryFlags = map[specs.MemoryPolicyFlagType]uint32{
	specs.MpolFStaticNodes: 1 << 15, specs.MpolFRelativeNodes: 1 << 14, specs.MpolFNumaBalancing: 1 << 13,
}

// memoryPolicy is set_mempolicy(2) for the container's first process; its children inherit it.
func (b *builder) memoryPolicy() error {
	if b.spec.Linux == nil || b.spec.Linux.MemoryPolicy == nil {
		return nil
	}
	m := b.spec.Linux.MemoryPolicy
	mode, ok := memoryModes[m.Mode]
	if !ok {
		return errdef.Errorf(errdef.Invalid, "linux.memoryPolicy.mode: unknown mode %q", m.Mode)
	}
	for _, f := range m.Flags {
		bit, ok := memoryFlags[f]
		if !ok {
			return errdef.Errorf(errdef.Invalid, "linux.memoryPolicy.flags: unknown flag %q", f)
		}
		mode |= bit
	}
	mask, err := cpuMask("linux.memoryPolicy.nodes", m.Nodes)
	if err != nil {
		return err
	}
	nodes := op.Num(0)
	if len(mask) > 0 {
		nodes = op.Data(string(mask), "nodes "+m.Nodes)
	}
	// The kernel takes the number of bits plus one (set_mempolicy(2), BUGS of its maxnode).
	b.add(op.Raw("set_mempolicy", unix.SYS_SET_MEMPOLICY, op.Flag(mode, string(m.Mode)), nodes, op.Num(len(mask)*8+1)).Because("linux.memoryPolicy").
		Hinted("the mode must be one of this kernel's, and the nodes of this machine's"))
	return nil
}

// affinity is sched_setaffinity(2) with a list of CPUs.
func (b *builder) affinity(field, list string) error {
	if list == "" {
		return nil
	}
	mask, err := cpuMask(field, list)
	if err != nil {
		return err
	}
	b.add(op.Raw("sched_setaffinity", unix.SYS_SCHED_SETAFFINITY, op.Num(0), op.Num(len(mask)), op.Data(string(mask), "CPUs "+list)).Because(field).
		Hinted("none of the CPUs of the list is there, or allowed by the container's cpuset"))
	return nil
}

// cpuMask turns a list such as 0-3,7 into a bit mask in whole 64-bit words. "" gives none.
func cpuMask(field, list string) ([]byte, error) {
	const most = 1 << 13 // NR_CPUS of the largest kernels
	var mask []byte
	for _, part := range strings.Split(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		first, last, isRange := strings.Cut(part, "-")
		lo, err := strconv.Atoi(first)
		hi := lo
		if err == nil && isRange {
			hi, err = strconv.Atoi(last)
		}
		if err != nil || lo < 0 || hi < lo || hi >= most {
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "%s: %q is no list of numbers", field, list), "write it as 0-3,7")
		}
		for n := lo; n <= hi; n++ {
			for len(mask) <= n/8 {
				mask = append(mask, make([]byte, 8)...)
			}
			mask[n/8] |= 1 << (n % 8)
		}
	}
	return mask, nil
}
