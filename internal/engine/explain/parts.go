package explain

import (
	"path"
	"slices"
	"strings"
)

// A rule says to which setting a step belongs, by how its reason begins. An empty kind is the runtime's own work, which no setting changes.
type rule struct{ prefix, kind, what string }

// rules are tried in order; the first that fits counts. A step that none fits belongs where the one before it does.
var rules = []rule{
	{"the container's first process, from", "", "a process of its own"},
	{"a copy of a mount", "", "descriptors that the runtime opens"},
	{"the pipe that start", "", "descriptors that the runtime opens"},
	{"the host's procfs", "", "descriptors that the runtime opens"},
	{"a page shared", "", "descriptors that the runtime opens"},
	{"the state for a hook", "", "descriptors that the runtime opens"},
	{"modes of files that the plan makes", "", "preparation"},
	{"process.oomScoreAdj", "oom_score_adj", ""},
	{"process.rlimits", "rlimit", ""},
	{"the caller's limit", "rlimit", ""},
	{"the tasks file of a cgroup", "cgroup", ""},
	{"join the container's cgroup", "cgroup", ""},
	{"the CPUs of the container's", "cgroup", ""},
	{"a cgroup namespace", "namespace", ""},
	{"new namespaces", "namespace", ""},
	{"join the ", "namespace", ""},
	{"a namespace to join", "namespace", ""},
	{"the runtime writes the id mappings", "ids", ""},
	{"root of the user namespace", "ids", ""},
	{"the new time namespace", "namespace", ""},
	{"enter the new time", "namespace", ""},
	{"the container's process, in its pid", "namespace", ""},
	{"hostname", "host name", ""},
	{"domainname", "host name", ""},
	{"a socket to configure lo", "namespace", ""},
	{"loopback works", "namespace", ""},
	{"a session keyring", "", "keys: the host's stay out of reach"},
	{"namespaces are ready", "", "waiting for the runtime"},
	{"mounts made here do not reach", "", "the mount tree is cut off from the host's"},
	{"root.path", "root", ""},
	{"an empty directory to mask", "mask", ""},
	{"below the root, where", "mask", ""},
	{"the root is a mount", "root", ""},
	{"linux.maskedPaths", "mask", ""},
	{"linux.readonlyPaths", "read-only", ""},
	{"root.readonly", "root", ""},
	{"linux.sysctl", "sysctl", ""},
	{"into the container's root", "", "the root becomes /, and the host's tree is gone"},
	{"no descriptor of the host", "", "no descriptor of the host's stays open"},
	{"needed later", "", "no descriptor of the host's stays open"},
	{"process.capabilities", "capability", ""},
	{"the change of user keeps", "capability", ""},
	{"no ambient", "capability", ""},
	{"process.user", "user", ""},
	{"exactly the supplementary", "user", ""},
	{"process.noNewPrivileges", "no_new_privs", ""},
	{"process.cwd", "directory", ""},
	{"was the working directory", "directory", ""},
	{"is process.args", "program", ""},
	{"process.args", "program", ""},
	{"the program of the container", "program", ""},
	{"Landlock", "module", ""},
	{"AppArmor", "module", ""},
	{"SELinux", "module", ""},
	{"linux.mountLabel", "module", ""},
	{"no MPTCP", "module", ""},
	{"linux.seccomp", "seccomp", ""},
	{"/dev/std* opens", "", "standard streams"},
	{"a session of its own", "", "a session of its own"},
	{"the terminal", "", "the terminal"},
	{"no signal is blocked", "", "signals"},
}

// parts groups the steps by what they are for.
func (o *origins) parts() []Part {
	var out []Part
	current := Part{What: "preparation", Origin: "runtime"}
	for _, s := range o.in.Steps {
		next, ok := o.part(s.Why, s.Call)
		if !ok {
			next = current
		}
		if len(out) == 0 || next.What != current.What || next.Origin != current.Origin {
			out = append(out, Part{next.What, next.Origin, next.Reason, nil})
		}
		current = next
		last := &out[len(out)-1]
		last.Steps = append(last.Steps, Step{s.Number, s.Call, s.Why, s.Hint})
	}
	return out
}

// part finds what a step is for.
func (o *origins) part(why, call string) (Part, bool) {
	if p, ok := o.mountPart(why); ok {
		return p, true
	}
	for _, r := range rules {
		if !strings.HasPrefix(why, r.prefix) {
			continue
		}
		if r.kind == "" {
			return Part{What: r.what, Origin: "runtime"}, true
		}
		return o.setting(r.kind, why, call), true
	}
	return Part{}, false
}

// mountPart is for steps that name a mount's or a device's place.
func (o *origins) mountPart(why string) (Part, bool) {
	for i := range o.list {
		s := &o.list[i]
		place, _, _ := strings.Cut(s.What, ":")
		switch s.Kind {
		case "mount":
			if strings.HasSuffix(why, " on "+place) || why == "where "+place+" is" || strings.HasPrefix(why, "where "+place+" is,") ||
				why == "options of "+place || why == "propagation of "+place {
				return Part{"mount " + s.What, s.Origin, s.Reason, nil}, true
			}
		case "device":
			node, _, _ := strings.Cut(s.What, " ")
			if why == "device "+node || strings.HasPrefix(why, "the host's "+node+":") || strings.HasPrefix(why, node+" of the host") || strings.HasSuffix(why, " show "+node+" on") {
				return Part{"device " + s.What, s.Origin, s.Reason, nil}, true
			}
		}
	}
	if strings.HasPrefix(why, "cgroup hierarchy ") {
		return o.mountPart("where /sys/fs/cgroup is")
	}
	return Part{}, false
}

// setting finds the setting of a kind that a reason names, or all of the kind together.
func (o *origins) setting(kind, why, call string) Part {
	var all []*Setting
	for i := range o.list {
		s := &o.list[i]
		if s.Kind != kind {
			continue
		}
		all = append(all, s)
		name, _, _ := strings.Cut(s.What, "=")
		if word, _, _ := strings.Cut(s.What, " "); kind == "rlimit" && strings.Contains(call, "RLIMIT_"+strings.ToUpper(word)) {
			return Part{kind + " " + s.What, s.Origin, s.Reason, nil}
		}
		if kind == "mask" || kind == "read-only" || kind == "sysctl" {
			if word := why[strings.LastIndexAny(why, " ")+1:]; path.Clean(word) == path.Clean(name) || why == "linux.sysctl."+name {
				return Part{kind + " " + s.What, s.Origin, s.Reason, nil}
			}
		}
	}
	if len(all) == 1 {
		return Part{kind + ": " + all[0].What, all[0].Origin, all[0].Reason, nil}
	}
	var from []string
	for _, s := range all {
		if !slices.Contains(from, s.Origin) {
			from = append(from, s.Origin)
		}
	}
	if len(from) == 0 {
		from = []string{"runtime"}
	}
	return Part{What: plural[kind], Origin: strings.Join(from, ", ")}
}

// plural are kinds whose settings are carried out together.
var plural = map[string]string{
	"namespace": "namespaces", "rlimit": "resource limits", "capability": "capabilities", "mask": "masks", "read-only": "read-only paths", "seccomp": "the system call filter",
	"module": "security modules", "ids": "user and group ids", "root": "the root", "sysctl": "sysctls", "cgroup": "the cgroup", "user": "the user", "host name": "the host name",
	"oom_score_adj": "oom_score_adj", "no_new_privs": "no_new_privs", "directory": "the working directory", "program": "the program",
}
