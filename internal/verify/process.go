package verify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/idmap"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/cgroup"
	"golang.org/x/sys/unix"
)

// A finding is what is wrong with a process.
type finding struct{ area, what, declared, found, hint string }

const (
	hintEntered = "somebody brought it in from outside: end it, and look for who did"
	hintMoved   = "move it back, or restart the container"
)

// process looks at one of the container's processes. What is right is told of the first one line by line, of the others in one.
func (c *comparison) process(p *Process, first bool) {
	who := "process " + strconv.Itoa(p.PID) + " (" + p.Comm + ")"
	if first {
		who = "first process"
	}
	steps := []struct {
		area, what string
		look       func(*Process) ([]finding, string)
	}{
		{"namespaces", "where it is", c.where},
		{"cgroup", "membership", c.membership},
		{"process", "user and groups", c.users},
		{"capabilities", "capabilities", c.capabilities},
		{"process", "no_new_privs", c.privileges},
		{"seccomp", "filter", c.seccomp},
		{"limits", "resource limits", c.rlimits},
		{"process", "oom_score_adj", c.oom},
		{"modules", "labels", c.labels},
		{"descriptors", "what it holds open", c.descriptors},
		{"process", "tracer", c.tracer},
	}
	wrong := 0
	for _, s := range steps {
		found, text := s.look(p)
		for _, f := range found {
			wrong++
			c.add(Check{Area: s.area, What: who + ": " + f.what, Declared: f.declared, Found: f.found, Verdict: Differs, Hint: f.hint, PID: p.PID})
		}
		if first && len(found) == 0 {
			c.add(Check{Area: s.area, What: who + ": " + s.what, Declared: text, Found: text, Verdict: OK, PID: p.PID})
		}
	}
	if !first && wrong == 0 {
		c.add(Check{Area: "process", What: who, Declared: "confined as the container", Found: "confined as the container", Verdict: OK, PID: p.PID})
	}
}

// where finds a process that is in some of the container's namespaces and not in others. One that made a namespace of its own below the container's, and may, is
// where it may be.
func (c *comparison) where(p *Process) (out []finding, text string) {
	init := &c.f.Processes[0]
	for _, k := range kinds {
		want, ok := init.NS[k.file]
		have, ok2 := p.NS[k.file]
		if !ok || !ok2 || want == have || p.Nested[k.file] && c.mayNest() && !c.isHost(k.file, have) {
			continue
		}
		out = append(out, finding{"namespaces", string(k.kind) + " namespace", nsText(want), c.whose(k.file, have), hintEntered})
	}
	return out, "in all of the container's namespaces"
}

// isHost reports whether a namespace is the host's.
func (c *comparison) isHost(file string, inode uint64) bool {
	return slices.ContainsFunc(c.f.Host, func(h Namespaces) bool { return h[file] == inode })
}

// membership finds a process that is not in the container's cgroups.
func (c *comparison) membership(p *Process) (out []finding, text string) {
	if c.d.Cgroup == nil {
		return nil, "none of its own"
	}
	for _, d := range c.d.Cgroup.Dirs {
		have, ok := p.Cgroups[key(d)]
		if want := "/" + d.Path; ok && !below(have, want) {
			out = append(out, finding{"cgroup", "cgroup of " + name(d), want, have, hintMoved})
		}
	}
	return out, "in all of the container's cgroups"
}

// key is how a Process names the hierarchy.
func key(d cgroup.RecordDir) string {
	if len(d.Controllers) == 0 {
		return ""
	}
	return d.Controllers[0]
}

func name(d cgroup.RecordDir) string {
	if len(d.Controllers) == 0 {
		return "cgroup v2"
	}
	return strings.Join(d.Controllers, ",")
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// users finds ids that the process cannot have got by itself: without CAP_SETUID, and with no_new_privs, they are those that were declared.
func (c *comparison) users(p *Process) (out []finding, text string) {
	u := c.d.Spec.Process.User
	anyUser := c.may(unix.CAP_SETUID) || !c.d.Spec.Process.NoNewPrivileges || p.Nested["user"]
	anyGroup := c.may(unix.CAP_SETGID) || !c.d.Spec.Process.NoNewPrivileges || p.Nested["user"]
	for i := range p.Threads {
		t := &p.Threads[i]
		for _, id := range t.UID {
			if in, ok := c.inside(c.f.UIDs, id); !ok || in != u.UID && !anyUser {
				out = append(out, finding{"process", "user", fmt.Sprint(u.UID), idText(id, in, ok), hintEntered})
			}
		}
		for _, id := range t.GID {
			if in, ok := c.inside(c.f.GIDs, id); !ok || in != u.GID && !anyGroup {
				out = append(out, finding{"process", "group", fmt.Sprint(u.GID), idText(id, in, ok), hintEntered})
			}
		}
		for _, id := range t.Groups {
			in, ok := c.inside(c.f.GIDs, id)
			if !ok || in != u.GID && !slices.Contains(u.AdditionalGids, in) && !anyGroup {
				out = append(out, finding{"process", "supplementary group", fmt.Sprint(u.AdditionalGids), idText(id, in, ok), hintEntered})
			}
		}
	}
	slices.SortFunc(out, func(a, b finding) int { return strings.Compare(a.what+a.found, b.what+b.found) })
	return slices.Compact(out), fmt.Sprintf("%d:%d", u.UID, u.GID)
}

// inside translates an id of the host.
func (c *comparison) inside(m []idmap.Range, id uint32) (uint32, bool) {
	if !c.hasUserNS() {
		return id, true
	}
	return idmap.ToInside(m, id)
}

func idText(outside, inside uint32, mapped bool) string {
	if !mapped {
		return fmt.Sprintf("%d on the host, which is nobody inside", outside)
	}
	return fmt.Sprintf("%d (%d on the host)", inside, outside)
}

// privileges: no_new_privs, once set, stays.
func (c *comparison) privileges(p *Process) (out []finding, text string) {
	if !c.d.Spec.Process.NoNewPrivileges {
		return nil, "off"
	}
	if slices.ContainsFunc(p.Threads, func(s procfs.Status) bool { return !s.NoNewPrivs }) {
		out = append(out, finding{"process", "no_new_privs", "on", "off", hintEntered})
	}
	return out, "on"
}

// seccomp: a process may add filters, and lose none.
func (c *comparison) seccomp(p *Process) (out []finding, text string) {
	if c.linux().Seccomp == nil {
		return nil, "none"
	}
	for i := range p.Threads {
		t := &p.Threads[i]
		if t.Seccomp != 2 {
			out = append(out, finding{"seccomp", "seccomp filter", "in force", map[int]string{0: "none", 1: "strict mode"}[t.Seccomp], hintEntered})
			break
		}
	}
	return out, "in force"
}

// tracer: who traces a process decides what it does.
func (c *comparison) tracer(p *Process) (out []finding, text string) {
	if p.Tracer == 0 || slices.ContainsFunc(c.f.Processes, func(q Process) bool { return q.PID == p.Tracer }) {
		return nil, "nobody outside of the container traces it"
	}
	return []finding{{"process", "traced by", "nobody", "process " + strconv.Itoa(p.Tracer) + " of the host", "end that process: it can change all that this one does"}}, ""
}

// descriptors are what leads out of the container without any path.
func (c *comparison) descriptors(p *Process) (out []finding, text string) {
	for _, o := range p.Outside {
		out = append(out, finding{"descriptors", "open", "nothing outside of the container's mounts", o, "a way out of the root (CVE-2024-21626): restart the container"})
	}
	return out, "no directory or disk outside of the container's mounts"
}

// oom: a process may make itself the likelier victim, and not the less likely one.
func (c *comparison) oom(p *Process) (out []finding, text string) {
	want := c.d.Spec.Process.OOMScoreAdj
	if want == nil {
		want = c.f.OOMScore
	}
	if want == nil || c.may(unix.CAP_SYS_RESOURCE) && !c.hasUserNS() {
		return nil, "not declared"
	}
	if p.OOMScore < *want {
		out = append(out, finding{"process", "oom_score_adj", strconv.Itoa(*want), strconv.Itoa(p.OOMScore), "echo " + strconv.Itoa(*want) + " >/proc/" + strconv.Itoa(p.PID) + "/oom_score_adj"})
	}
	return out, strconv.Itoa(*want)
}

// labels are those of AppArmor and SELinux.
func (c *comparison) labels(p *Process) (out []finding, text string) {
	var said []string
	if c.f.AppArmor {
		want := c.d.AppArmor
		if want == "" {
			want = c.d.Spec.Process.ApparmorProfile
		}
		have, _, _ := strings.Cut(p.AppArmor, " ")
		if want != "" && have != want && !strings.HasPrefix(have, want+"//") {
			out = append(out, finding{"modules", "AppArmor profile", want, p.AppArmor, hintEntered})
		}
		if want != "" && want != "unconfined" && have == want && !strings.HasSuffix(p.AppArmor, "(enforce)") {
			out = append(out, finding{"modules", "AppArmor profile", want + " (enforce)", p.AppArmor, "load the profile in enforce mode"})
		}
		said = append(said, "AppArmor "+want)
	}
	if want := c.d.Spec.Process.SelinuxLabel; c.f.SELinux && want != "" {
		// With label=nested a container may give its processes other labels, as far as the policy lets it.
		if p.SELinux != want && !c.nestedLabels() {
			out = append(out, finding{"modules", "SELinux label", want, p.SELinux, hintEntered})
		}
		said = append(said, "SELinux "+want)
	}
	if len(said) == 0 {
		return out, "no module labels processes here"
	}
	return out, strings.Join(said, ", ")
}
