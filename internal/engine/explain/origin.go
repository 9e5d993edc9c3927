package explain

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/capability"
	"github.com/moby/moby/api/types/mount"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// origins finds where each part of a configuration comes from.
type origins struct {
	in      *Input
	level   defaults.Level
	spec    *specs.Spec
	base    *specs.Spec // what the level alone gives
	reasons map[string]string
	list    []Setting
}

func (o *origins) add(kind, what, origin, reason string) {
	o.list = append(o.list, Setting{kind, what, origin, reason})
}

func (o *origins) ofLevel() string { return "level " + o.level.String() }

// flag is the origin of what some flag has changed: the first of those that were given, --privileged before all.
func (o *origins) flag(given ...string) string {
	if o.in.Host.Privileged {
		return "--privileged"
	}
	for _, g := range given {
		if g != "" {
			return g
		}
	}
	return "engine"
}

// when is text if the condition holds.
func when(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

func (o *origins) all() {
	o.add("level", o.level.String(), cmp.Or(when(slices.Contains(o.in.Host.SecurityOpt, "level="+o.level.String()), "--level "+o.level.String()), "default"), "")
	o.namespaces()
	o.process()
	o.capabilities()
	o.filter()
	o.modules()
	o.root()
	o.mounts()
	o.paths()
	o.devices()
	o.limits()
	o.sysctls()
}

func (o *origins) namespaces() {
	h := &o.in.Host
	modes := map[specs.LinuxNamespaceType]string{
		specs.PIDNamespace: when(h.PidMode != "", "--pid "+string(h.PidMode)), specs.NetworkNamespace: when(h.NetworkMode != "", "--network "+string(h.NetworkMode)),
		specs.IPCNamespace: when(h.IpcMode != "", "--ipc "+string(h.IpcMode)), specs.UTSNamespace: when(h.UTSMode != "", "--uts "+string(h.UTSMode)),
		specs.CgroupNamespace: when(h.CgroupnsMode != "", "--cgroupns "+string(h.CgroupnsMode)), specs.UserNamespace: when(h.UsernsMode != "", "--userns "+string(h.UsernsMode)),
	}
	find := func(list []specs.LinuxNamespace, t specs.LinuxNamespaceType) (string, bool) {
		i := slices.IndexFunc(list, func(n specs.LinuxNamespace) bool { return n.Type == t })
		if i < 0 {
			return "", false
		}
		return list[i].Path, true
	}
	for _, t := range []specs.LinuxNamespaceType{
		specs.UserNamespace, specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.UTSNamespace, specs.IPCNamespace, specs.CgroupNamespace, specs.TimeNamespace,
	} {
		at, has := find(o.spec.Linux.Namespaces, t)
		_, usual := find(o.base.Linux.Namespaces, t)
		reason := o.reasons["namespace "+string(t)]
		switch {
		case has && at != "":
			o.add("namespace", string(t)+": that at "+at, o.flag(modes[t]), "")
		case has && usual:
			o.add("namespace", string(t)+": its own", o.ofLevel(), reason)
		case has:
			o.add("namespace", string(t)+": its own", o.flag(modes[t]), reason)
		case usual:
			o.add("namespace", string(t)+": the host's", o.flag(modes[t]), "given up: "+reason)
		default:
			o.add("namespace", string(t)+": the host's", o.ofLevel(), "")
		}
	}
	for _, m := range o.spec.Linux.UIDMappings {
		o.add("ids", fmt.Sprintf("%d to %d inside are %d to %d on the host", m.ContainerID, m.ContainerID+m.Size-1, m.HostID, m.HostID+m.Size-1), o.ofIDs(m), when(o.ofIDs(m) == "engine", "a range that no other container has"))
	}
}

// ofIDs is where ids come from: the engine, if they are of a range that it has for containers, or a flag.
func (o *origins) ofIDs(m specs.LinuxIDMapping) string {
	h := &o.in.Host
	switch {
	case m.HostID >= defaults.FirstID && !strings.HasPrefix(string(h.UsernsMode), "container:"):
		return "engine"
	case h.UsernsMode == "private" || h.UsernsMode == "":
		return o.flag("--uidmap")
	}
	return o.flag("--userns " + string(h.UsernsMode))
}

// process is what runs and as whom.
func (o *origins) process() {
	c, p := &o.in.Config, o.spec.Process
	var image struct{ user, dir string }
	if i := o.in.ImageConfig; i != nil {
		image.user, image.dir = i.Config.User, i.Config.WorkingDir
	}
	from := func(value, images, flag string) string {
		switch {
		case value == "":
			return "default"
		case value == images:
			return "image"
		}
		return flag + " " + value
	}
	o.add("user", fmt.Sprintf("%d:%d, groups %v", p.User.UID, p.User.GID, p.User.AdditionalGids), from(c.User, image.user, "--user"), "")
	o.add("directory", p.Cwd, from(c.WorkingDir, image.dir, "--workdir"), "")
	command := "image or command line"
	if i := o.in.ImageConfig; i != nil && slices.Equal(p.Args, append(slices.Clone(i.Config.Entrypoint), i.Config.Cmd...)) {
		command = "image"
	} else if i != nil && len(i.Config.Entrypoint) == 0 {
		command = "command line"
	}
	o.add("program", strings.Join(p.Args, " "), command, "")
	o.add("host name", cmp.Or(o.spec.Hostname, "the host's"), cmp.Or(when(c.Hostname != "", "--hostname "+c.Hostname), "engine"), "")
	reason := o.reasons["flag no_new_privs"]
	if reason != "" && !p.NoNewPrivileges {
		reason = "given up: " + reason
	}
	o.differs("no_new_privs", onOff(p.NoNewPrivileges), p.NoNewPrivileges == o.base.Process.NoNewPrivileges, o.flag("--security-opt no-new-privileges"), reason)
	for _, l := range p.Rlimits {
		name := strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_"))
		reason := ""
		for k, r := range o.reasons {
			if strings.HasPrefix(k, "rlimit "+name+" ") {
				reason = r
			}
		}
		o.differs("rlimit", fmt.Sprintf("%s %d:%d", name, l.Soft, l.Hard), slices.Contains(o.base.Process.Rlimits, l), "--ulimit "+name, reason)
	}
	if p.OOMScoreAdj != nil {
		o.add("oom_score_adj", fmt.Sprint(*p.OOMScoreAdj), "--oom-score-adj", "")
	}
}

// differs adds a setting that is the level's if it is the same as there.
func (o *origins) differs(kind, what string, same bool, flag, reason string) {
	if same {
		flag = o.ofLevel()
	}
	o.add(kind, what, flag, reason)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (o *origins) capabilities() {
	have, _ := capability.Parse(o.spec.Process.Capabilities.Bounding)
	usual, _ := capability.Parse(o.base.Process.Capabilities.Bounding)
	for _, name := range have.Names() {
		n, _ := capability.Number(name)
		o.differs("capability", name, usual.Has(n), o.flag("--cap-add "+strings.TrimPrefix(name, "CAP_")), o.reasons["capability "+name])
	}
	for _, name := range (usual &^ have).Names() {
		o.add("no capability", name, o.flag(when(len(o.in.Host.CapDrop) > 0, "--cap-drop "+strings.Join(o.in.Host.CapDrop, ","))), "taken from what the level gives")
	}
	o.add("no capability", "any other", o.ofLevel(), "not even a set-user-ID program gets one: they are out of the bounding set")
}

func (o *origins) filter() {
	p := o.spec.Linux.Seccomp
	opts := &o.in.Result.Options
	switch {
	case p == nil:
		o.add("seccomp", "no filter", o.flag("--security-opt seccomp=unconfined"), "")
	case opts.Seccomp != nil:
		o.add("seccomp", fmt.Sprintf("a profile of %d rules, all else: %s", len(p.Syscalls), p.DefaultAction), "--security-opt seccomp=PROFILE", "")
	default:
		o.add("seccomp", fmt.Sprintf("%d rules, all else: no such call", len(p.Syscalls)), o.ofLevel(), o.reasons["filter other calls: ENOSYS"])
		for _, group := range opts.Allow {
			o.add("seccomp", "calls of the group "+group, "--allow "+group, "")
		}
		for _, c := range o.spec.Process.Capabilities.Bounding {
			for _, group := range defaults.GroupsOf(c) {
				o.add("seccomp", "calls of the group "+group, "the capability "+c, "it could not be used without")
			}
		}
	}
}

func (o *origins) modules() {
	for _, name := range []string{"io.bulkhead.apparmor", "io.bulkhead.landlock"} {
		value, has := o.spec.Annotations[name]
		usual, had := o.base.Annotations[name]
		reason := o.reasons["module "+name+"="+usual]
		word := strings.TrimPrefix(name, "io.bulkhead.")
		switch {
		case has:
			o.differs("module", word+": "+value, value == usual, "a flag that lets the container mount", reason)
		case had:
			o.add("module", word+": none", o.flag(when(o.in.Result.Options.AppArmor != "", "--security-opt apparmor="+o.in.Result.Options.AppArmor), "a flag that lets the container mount"), "given up: "+reason)
		}
	}
	if a := o.spec.Process.ApparmorProfile; a != "" {
		o.add("module", "apparmor: "+a, "--security-opt apparmor="+a, "")
	}
	o.selinux()
}

func (o *origins) root() {
	o.add("root", "the image's layers, with a writable one of the container's own", "image", "")
	if o.spec.Root.Readonly {
		o.differs("root", "read-only", o.base.Root.Readonly, "--read-only", o.reasons["flag read-only root"])
	}
}

func (o *origins) mounts() {
	for i := range o.spec.Mounts {
		m := &o.spec.Mounts[i]
		what := m.Destination + ": " + m.Type
		if m.Type == "bind" {
			what = m.Destination + ": " + m.Source
		}
		what += " (" + strings.Join(m.Options, ",") + ")"
		at := slices.IndexFunc(o.in.Points, func(p pointType) bool { return p.Destination == path.Clean(m.Destination) })
		usual := slices.ContainsFunc(o.base.Mounts, func(b specs.Mount) bool {
			return b.Destination == m.Destination && b.Type == m.Type
		})
		switch {
		case at >= 0 && o.imageVolume(&o.in.Points[at]):
			o.add("mount", what, "image", "a volume that the image declares")
		case at >= 0:
			o.add("mount", what, "--"+o.in.Points[at].Flag, "")
		case usual:
			o.add("mount", what, o.ofLevel(), o.reasons["mount "+m.Destination])
		case m.Destination == "/sys" || m.Destination == "/dev/shm":
			o.add("mount", what, o.flag(when(o.in.Host.IpcMode == "host", "--ipc host"), "--network "+string(o.in.Host.NetworkMode)), "")
		default:
			o.add("mount", what, o.device(m.Destination), "")
		}
	}
}

// device is the flag that asked for a device node, which a user namespace has as a mount; else the mount is one of the engine's.
func (o *origins) device(dest string) string {
	for _, d := range o.in.Host.Devices {
		if at := path.Clean(cmp.Or(d.PathInContainer, d.PathOnHost)); dest == at || strings.HasPrefix(dest, at+"/") {
			return "--device"
		}
	}
	return "engine"
}

// imageVolume reports whether a point is there because the image declares it.
func (o *origins) imageVolume(p *pointType) bool {
	if p.Type != mount.TypeVolume || p.Name != "" || o.in.ImageConfig == nil {
		return false
	}
	for v := range o.in.ImageConfig.Config.Volumes {
		if path.Clean(v) == p.Destination {
			return true
		}
	}
	return false
}
