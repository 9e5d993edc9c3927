package verify

import (
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	"golang.org/x/sys/unix"
)

const capSysAdmin = unix.CAP_SYS_ADMIN

// sets are those that were declared.
func (c *comparison) sets() capability.Sets {
	s, _ := capability.FromSpec(c.d.Spec.Process.Capabilities)
	return s
}

func (c *comparison) bounding() capability.Set { return c.sets().Bounding }

// may reports whether some process inside can come to have a capability.
func (c *comparison) may(number int) bool { return c.most().Has(number) }

// most is what a process inside can come to have: with no_new_privs and an id that is not root's, what it has after the first execve(2); else the bounding set,
// by a program of root's or with the set-user-ID bit.
func (c *comparison) most() capability.Set {
	s, p := c.sets(), c.d.Spec.Process
	after := s.AfterExec(p.User.UID == 0)
	if !p.NoNewPrivileges || p.User.UID == 0 || after.Permitted.Has(unix.CAP_SETUID) {
		return s.Bounding
	}
	return after.Permitted | s.Inheritable
}

// capabilities finds what a process has and cannot have got. One in a user namespace of its own has all of them there, and none outside.
func (c *comparison) capabilities(p *Process) (out []finding, text string) {
	bounding, most := c.bounding(), c.most()
	text = "at most " + most.String()
	if p.Nested["user"] && c.mayNest() {
		return nil, text
	}
	for i := range p.Threads {
		t := &p.Threads[i]
		for _, s := range []struct {
			name string
			have uint64
			most capability.Set
		}{
			{"bounding", t.CapBounding, bounding},
			{"permitted", t.CapPermitted, most},
			{"effective", t.CapEffective, most},
			{"inheritable", t.CapInheritable, most},
			{"ambient", t.CapAmbient, most},
		} {
			if extra := capability.Set(s.have) &^ s.most; extra != 0 {
				out = append(out, finding{"capabilities", s.name + " capabilities", s.most.String(), "also " + strings.Join(extra.Names(), " "), hintEntered})
			}
		}
		if len(out) > 0 {
			break // the other threads are as bad
		}
	}
	return out, text
}

// rlimits finds hard limits above those declared. A process may lower its own.
func (c *comparison) rlimits(p *Process) (out []finding, text string) {
	if c.may(unix.CAP_SYS_RESOURCE) && !c.hasUserNS() {
		return nil, "the container may raise them"
	}
	said := make([]string, 0, 4)
	for _, l := range c.d.Spec.Process.Rlimits {
		have, ok := p.Rlimits[l.Type]
		if !ok {
			continue
		}
		name := strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_"))
		if have[1] > l.Hard || have[0] > l.Hard {
			out = append(out, finding{
				"limits", name, "at most " + limitText(l.Hard), limitText(have[0]) + ", " + limitText(have[1]),
				"prlimit --pid " + strconv.Itoa(p.PID) + " --" + name + "=" + limitText(l.Soft) + ":" + limitText(l.Hard),
			})
		}
		said = append(said, name+" "+limitText(l.Hard))
	}
	return out, strings.Join(said, ", ")
}

func limitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// rlimitNames are the lines of /proc/PID/limits, proc_pid_limits(5).
var rlimitNames = map[string]string{
	"Max cpu time": "RLIMIT_CPU", "Max file size": "RLIMIT_FSIZE", "Max data size": "RLIMIT_DATA", "Max stack size": "RLIMIT_STACK",
	"Max core file size": "RLIMIT_CORE", "Max resident set": "RLIMIT_RSS", "Max processes": "RLIMIT_NPROC", "Max open files": "RLIMIT_NOFILE",
	"Max locked memory": "RLIMIT_MEMLOCK", "Max address space": "RLIMIT_AS", "Max file locks": "RLIMIT_LOCKS", "Max pending signals": "RLIMIT_SIGPENDING",
	"Max msgqueue size": "RLIMIT_MSGQUEUE", "Max nice priority": "RLIMIT_NICE", "Max realtime priority": "RLIMIT_RTPRIO", "Max realtime timeout": "RLIMIT_RTTIME",
}

// parseLimits reads /proc/PID/limits: the name in 26 columns, then the soft and the hard limit.
func parseLimits(text string) map[string][2]uint64 {
	out := map[string][2]uint64{}
	for line := range strings.Lines(text) {
		if len(line) < 26 {
			continue
		}
		name, ok := rlimitNames[strings.TrimSpace(line[:26])]
		f := strings.Fields(line[26:])
		if !ok || len(f) < 2 {
			continue
		}
		out[name] = [2]uint64{limitOf(f[0]), limitOf(f[1])}
	}
	return out
}

func limitOf(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return unix.RLIM_INFINITY
	}
	return n
}
