package explain

import (
	"slices"
	"strings"
)

// selinux is what labels a container has, on a host where SELinux is in force.
func (o *origins) selinux() {
	process, files := o.spec.Process.SelinuxLabel, o.spec.Linux.MountLabel
	const keeps = "the policy lets its processes use its files and next to nothing else of the host, and no other container has its categories"
	from := o.labelOrigin()
	switch {
	case process != "":
		reason := keeps
		if slices.ContainsFunc(o.in.Result.Options.Labels, func(v string) bool { return strings.HasPrefix(v, "type:") || strings.HasPrefix(v, "level:") }) {
			reason = ""
		}
		o.add("module", "selinux: "+process, from, reason)
	case files != "":
		o.add("module", "selinux: none", from, "given up: "+keeps)
	}
	if files != "" {
		o.add("module", "selinux: its files are "+files, from, "")
	}
}

// labelOrigin is the flag that decides about the labels, as the engine reads them: label= before all others.
func (o *origins) labelOrigin() string {
	if l := o.in.Result.Options.Labels; len(l) > 0 {
		return "--security-opt label=" + strings.Join(l, ", label=")
	}
	h := &o.in.Host
	return o.flag(
		when(h.PidMode == "host" || h.PidMode.IsContainer(), "--pid "+string(h.PidMode)),
		when(h.IpcMode == "host" || h.IpcMode.IsContainer(), "--ipc "+string(h.IpcMode)),
	)
}
