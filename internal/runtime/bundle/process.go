package bundle

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
)

// Limits of the kernel on a process.
const (
	maxGroups   = 65536     // NGROUPS_MAX, setgroups(2)
	maxUmask    = 0o777     // umask(2)
	noID        = 1<<32 - 1 // (uid_t)-1, which setresuid(2) takes for "leave as it is"
	minOOMScore = -1000     // proc_pid_oom_score_adj(5)
	maxOOMScore = 1000      //
	maxNice     = 19        // sched(7)
	minNice     = -20       //
	maxRealtime = 99        // sched(7): 1 to 99 for SCHED_FIFO and SCHED_RR
	maxIOPrio   = 7         // ioprio_set(2)
	maxConsole  = 1<<16 - 1 // struct winsize, ioctl_tty(2)
)

var rlimits = []string{ // getrlimit(2)
	"RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_LOCKS", "RLIMIT_MEMLOCK", "RLIMIT_MSGQUEUE",
	"RLIMIT_NICE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_RTPRIO", "RLIMIT_RTTIME", "RLIMIT_SIGPENDING", "RLIMIT_STACK",
}

func (c *checker) process(p *specs.Process) {
	if len(p.Args) == 0 {
		c.bad("process.args", `name the program and its arguments: "args": ["sh"]`, "want at least one element")
	} else if p.Args[0] == "" {
		c.bad("process.args[0]", "name the program", "is empty")
	}
	c.cstrings("process.args", p.Args)
	c.env("process.env", p.Env)
	c.absolute("process.cwd", p.Cwd)
	c.user(&p.User)
	c.console(p)
	c.rlimits(p.Rlimits)
	c.capabilities(p.Capabilities)
	c.line("process.apparmorProfile", p.ApparmorProfile)
	c.line("process.selinuxLabel", p.SelinuxLabel)
	if p.OOMScoreAdj != nil {
		intRange(c, "process.oomScoreAdj", *p.OOMScoreAdj, minOOMScore, maxOOMScore)
	}
	c.scheduler(p.Scheduler)
	c.ioPriority(p.IOPriority)
	if a := p.ExecCPUAffinity; a != nil {
		c.cpuList("process.execCPUAffinity.initial", a.Initial)
		c.cpuList("process.execCPUAffinity.final", a.Final)
	}
}

// env checks NAME=VALUE entries (environ(7)). A value may be a secret, and is not repeated.
func (c *checker) env(field string, env []string) {
	for i, e := range env {
		if strings.IndexByte(e, 0) < 0 && strings.IndexByte(e, '=') > 0 {
			continue
		}
		name, _, _ := strings.Cut(e, "=")
		if strings.IndexByte(e, 0) >= 0 {
			c.bad(fieldAt(field, i), "remove the NUL byte", "%q holds a NUL byte", name)
		}
		c.bad(fieldAt(field, i), "write NAME=VALUE", "want a name and '=', found %q", name)
	}
}

func (c *checker) user(u *specs.User) {
	if u.UID == noID {
		c.bad("process.user.uid", "choose another", "%d means \"no user\" to the kernel", u.UID)
	}
	if u.GID == noID {
		c.bad("process.user.gid", "choose another", "%d means \"no group\" to the kernel", u.GID)
	}
	if u.Umask != nil {
		intRange(c, "process.user.umask", *u.Umask, 0, maxUmask)
	}
	if len(u.AdditionalGids) > maxGroups {
		c.bad("process.user.additionalGids", "drop some", "want at most %d, found %d", maxGroups, len(u.AdditionalGids))
	}
	if i := slices.Index(u.AdditionalGids, noID); i >= 0 {
		c.bad(fieldAt("process.user.additionalGids", i), "choose another", "%d means \"no group\" to the kernel", uint32(noID))
	}
}

func (c *checker) console(p *specs.Process) {
	b := p.ConsoleSize
	switch {
	case b == nil:
	case !p.Terminal:
		c.warn("process.consoleSize", "is ignored, as process.terminal is false")
	case b.Height > maxConsole || b.Width > maxConsole:
		c.bad("process.consoleSize", "it is in characters", "want at most %d, found %d by %d", maxConsole, b.Height, b.Width)
	}
}

func (c *checker) rlimits(list []specs.POSIXRlimit) {
	for i, r := range list {
		field := fieldAt("process.rlimits", i)
		if !oneOf(c, field+".type", r.Type, rlimits) {
			return
		}
		if slices.ContainsFunc(list[:i], func(o specs.POSIXRlimit) bool { return o.Type == r.Type }) {
			c.bad(field+".type", "keep one of them", "%s is set twice", r.Type)
			return // so the search above is short: after at most 17 entries one is unknown or there twice
		}
		if r.Soft > r.Hard {
			c.bad(field+".soft", "lower it, or raise hard", "want at most the hard limit %d, found %d", r.Hard, r.Soft)
		}
	}
}

// capabilities warns of what the kernel does not know or will not raise: config.md, Linux Process, wants a warning for it and no
// failure. Sets that contradict each other are refused, as by capset(2).
func (c *checker) capabilities(s *specs.LinuxCapabilities) {
	if s == nil {
		return
	}
	const field = "process.capabilities"
	set := func(name string, list []string) (set capability.Set) {
		for _, word := range list {
			if n, known := capability.Number(word); known {
				set |= capability.Of(n)
			} else {
				c.warn(field+"."+name, "%q is no capability that is known, and is not granted", word)
			}
		}
		return set
	}
	sets := capability.Sets{
		Bounding:    set("bounding", s.Bounding),
		Effective:   set("effective", s.Effective),
		Inheritable: set("inheritable", s.Inheritable),
		Permitted:   set("permitted", s.Permitted),
		Ambient:     set("ambient", s.Ambient),
	}
	if extra := sets.Effective &^ sets.Permitted; extra != 0 {
		c.bad(field+".effective", "add them to permitted, or drop them", "holds %s, which permitted does not", strings.Join(extra.Names(), " "))
	}
	if extra := sets.Inheritable &^ sets.Bounding; extra != 0 {
		c.bad(field+".inheritable", "add them to bounding, or drop them", "holds %s, which bounding does not", strings.Join(extra.Names(), " "))
	}
	if _, dropped := sets.SplitAmbient(); dropped != 0 {
		c.warn(field+".ambient", "%s is not both permitted and inheritable, and is not granted", strings.Join(dropped.Names(), " "))
	}
}

var (
	policies = []specs.LinuxSchedulerPolicy{
		specs.SchedOther, specs.SchedFIFO, specs.SchedRR, specs.SchedBatch, specs.SchedISO, specs.SchedIdle, specs.SchedDeadline,
	}
	schedulerFlags = []specs.LinuxSchedulerFlag{
		specs.SchedFlagResetOnFork, specs.SchedFlagReclaim, specs.SchedFlagDLOverrun, specs.SchedFlagKeepPolicy, specs.SchedFlagKeepParams,
		specs.SchedFlagUtilClampMin, specs.SchedFlagUtilClampMax,
	}
)

// scheduler checks what sched_setattr(2) would refuse.
func (c *checker) scheduler(s *specs.Scheduler) {
	if s == nil {
		return
	}
	const field = "process.scheduler."
	if !oneOf(c, field+"policy", s.Policy, policies) {
		return
	}
	if s.Policy == specs.SchedISO {
		c.bad(field+"policy", "use SCHED_OTHER", "the kernel reserves SCHED_ISO and does not implement it")
	}
	for i, f := range s.Flags {
		oneOf(c, fieldAt(field+"flags", i), f, schedulerFlags)
	}
	intRange(c, field+"nice", s.Nice, minNice, maxNice)
	if realtime := s.Policy == specs.SchedFIFO || s.Policy == specs.SchedRR; realtime {
		intRange(c, field+"priority", s.Priority, 1, maxRealtime)
	} else if s.Priority != 0 {
		c.bad(field+"priority", "drop it, or use SCHED_FIFO or SCHED_RR", "%s has no priority", s.Policy)
	}
	c.deadline(s)
}

// deadline checks the parameters of SCHED_DEADLINE: runtime <= deadline <= period (sched(7)), and at least 1,024 ns of runtime.
func (c *checker) deadline(s *specs.Scheduler) {
	const field = "process.scheduler."
	if s.Policy != specs.SchedDeadline {
		if s.Runtime != 0 || s.Deadline != 0 || s.Period != 0 {
			c.bad(field+"runtime", "drop runtime, deadline and period, or use SCHED_DEADLINE", "%s has no deadline", s.Policy)
		}
		return
	}
	const minRuntime, maxTime = 1024, 1<<63 - 1
	intRange(c, field+"runtime", s.Runtime, minRuntime, maxTime)
	intRange(c, field+"deadline", s.Deadline, s.Runtime, maxTime)
	if s.Period != 0 {
		intRange(c, field+"period", s.Period, s.Deadline, maxTime)
	}
}

func (c *checker) ioPriority(p *specs.LinuxIOPriority) {
	if p == nil {
		return
	}
	oneOf(c, "process.ioPriority.class", p.Class, []specs.IOPriorityClass{specs.IOPRIO_CLASS_RT, specs.IOPRIO_CLASS_BE, specs.IOPRIO_CLASS_IDLE})
	intRange(c, "process.ioPriority.priority", p.Priority, 0, maxIOPrio)
}

// identity checks that the users and groups of the process exist in a new user namespace: the kernel answers EINVAL otherwise, long
// after the container has begun to exist.
func (c *checker) identity() {
	path, ok := c.namespace(specs.UserNamespace)
	if !ok || path != "" {
		return
	}
	u, l := &c.spec.Process.User, c.spec.Linux
	if !mapped(l.UIDMappings, u.UID) {
		c.bad("process.user.uid", "map it in linux.uidMappings", "user %d is not mapped in the container's user namespace", u.UID)
	}
	if !mapped(l.GIDMappings, u.GID) {
		c.bad("process.user.gid", "map it in linux.gidMappings", "group %d is not mapped in the container's user namespace", u.GID)
	}
	for i, g := range u.AdditionalGids {
		if !mapped(l.GIDMappings, g) {
			c.bad(fieldAt("process.user.additionalGids", i), "map it in linux.gidMappings",
				"group %d is not mapped in the container's user namespace", g)
		}
	}
}

func mapped(mappings []specs.LinuxIDMapping, id uint32) bool {
	return slices.ContainsFunc(mappings, func(m specs.LinuxIDMapping) bool { return id >= m.ContainerID && id-m.ContainerID < m.Size })
}
