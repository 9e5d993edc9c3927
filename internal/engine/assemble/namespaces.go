package assemble

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/defaults"
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// namespaces decides which of them are the container's own, the host's, or another container's.
func (b *build) namespaces() error {
	h := &b.r.Host
	if err := b.network(string(h.NetworkMode)); err != nil {
		return err
	}
	for _, n := range []struct {
		flag, mode string
		kind       specs.LinuxNamespaceType
		own        []string // words for a namespace of one's own
		lost       string
	}{
		{"pid", string(h.PidMode), specs.PIDNamespace, []string{"", "private"}, "that the host's processes are out of sight and reach"},
		{"ipc", string(h.IpcMode), specs.IPCNamespace, []string{"", "private", "shareable", "none"}, "that the host's shared memory and queues are out of reach"},
		{"uts", string(h.UTSMode), specs.UTSNamespace, []string{"", "private"}, "a host name of its own"},
		{"cgroupns", string(h.CgroupnsMode), specs.CgroupNamespace, []string{"", "private"}, "that the names of the host's cgroups are out of sight"},
	} {
		if slices.Contains(n.own, n.mode) {
			continue
		}
		if err := b.share(n.flag, n.mode, n.kind, n.lost); err != nil {
			return err
		}
	}
	if h.PidMode.IsContainer() || h.IpcMode.IsContainer() {
		if !b.sameUsers() {
			// A pid or ipc namespace belongs to a user namespace, and only that one may mount its /proc and queues.
			err := errdef.Errorf(errdef.Unsupported, "pid, ipc: the namespace of another container belongs to that one's user namespace, and this container has one of its own")
			return errdef.WithHint(err, "userns=container:NAME, too, or userns=host for both containers; network=container:NAME needs none of it; exec runs a program in a container")
		}
	}
	if h.IpcMode == "none" {
		b.spec.Mounts = slices.DeleteFunc(b.spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/shm" })
	}
	return b.userNamespace(string(h.UsernsMode))
}

// sameUsers reports whether the pid and ipc namespaces of other containers that are joined may be of the user namespace that this container has.
func (b *build) sameUsers() bool {
	h := &b.r.Host
	users, joins := strings.CutPrefix(string(h.UsernsMode), "container:")
	if !joins {
		ids, err := ParseIDs(h, nil, nil)
		return err == nil && ids.Host
	}
	return (!h.PidMode.IsContainer() || h.PidMode.Container() == users) && (!h.IpcMode.IsContainer() || h.IpcMode.Container() == users)
}

// share gives a container the host's namespace or that of another container.
func (b *build) share(flag, mode string, kind specs.LinuxNamespaceType, lost string) error {
	l := b.spec.Linux
	other, joins := strings.CutPrefix(mode, "container:")
	path, byPath := strings.CutPrefix(mode, "ns:")
	switch {
	case mode == "host":
		l.Namespaces = slices.DeleteFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
	case joins && other != "":
		if b.r.Facts.Namespace == nil {
			return errdef.Errorf(errdef.Unsupported, "%s=%s: this engine has no other containers", flag, mode)
		}
		var err error
		if path, err = b.r.Facts.Namespace(other, kind); err != nil {
			return err
		}
		b.join(kind, path)
		lost = strings.Replace(lost, "the host's", "container "+other+"'s", 1)
	case byPath && strings.HasPrefix(path, "/"):
		b.join(kind, path)
	default:
		err := errdef.Errorf(errdef.Invalid, "%s=%.64q: there is no such mode", flag, mode)
		return errdef.WithHint(err, "private, host, container:NAME")
	}
	b.weaker(flag+"="+mode, lost)
	return nil
}

func (b *build) join(kind specs.LinuxNamespaceType, path string) {
	for i := range b.spec.Linux.Namespaces {
		if b.spec.Linux.Namespaces[i].Type == kind {
			b.spec.Linux.Namespaces[i].Path = path
			return
		}
	}
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: kind, Path: path})
}

// network: none and host are the specification's business; all else is a network of the engine's, which fills the namespace.
func (b *build) network(mode string) error {
	switch {
	case mode == "host":
		b.spec.Linux.Sysctl = map[string]string{}
		return b.share("network", mode, specs.NetworkNamespace, "that the host's network, its loopback services and abstract sockets are out of reach")
	case strings.HasPrefix(mode, "container:"), strings.HasPrefix(mode, "ns:"):
		b.spec.Linux.Sysctl = map[string]string{}
		return b.share("network", mode, specs.NetworkNamespace, "a network of its own")
	}
	return nil
}

// userNamespace: on by default, with a range of ids that no other container has. ParseIDs says what the modes mean; the maps are in the facts.
func (b *build) userNamespace(mode string) error {
	l, h := b.spec.Linux, &b.r.Host
	b.userNS = hasNamespace(b.spec, specs.UserNamespace)
	ids, err := ParseIDs(h, nil, nil)
	if err != nil {
		return err
	}
	switch {
	case ids.Host:
		l.Namespaces = slices.DeleteFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
		l.UIDMappings, l.GIDMappings, b.userNS = nil, nil, false
		if mode == "host" && !h.Privileged {
			b.weaker("userns=host", "that root inside is nobody outside")
		}
	case !b.userNS && mode != "": // the level has none, and the flags want one
		b.userNS = true
		l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		l.UIDMappings, l.GIDMappings = slices.Clone(b.r.Facts.UIDs), slices.Clone(b.r.Facts.GIDs)
	}
	if ids.Join != "" {
		if err := b.share("userns", mode, specs.UserNamespace, "that it and container "+ids.Join+" are strangers to each other"); err != nil {
			return err
		}
	}
	b.strangers(mode)
	b.pingGroups()
	if h.Privileged {
		b.weaker("privileged", "nearly everything: all capabilities and devices, no filter, no masks, no security module; root inside is root outside")
	}
	return nil
}

// strangers records which ids of the container are somebody else's, too.
func (b *build) strangers(mode string) {
	if !b.userNS || b.r.Facts.Rootless {
		return
	}
	flag := "userns=" + mode
	if mode == "" || mode == "private" {
		flag = "uidmap, gidmap"
	}
	for _, kind := range []struct {
		name string
		maps []specs.LinuxIDMapping
	}{{"user", b.spec.Linux.UIDMappings}, {"group", b.spec.Linux.GIDMappings}} {
		root := slices.ContainsFunc(kind.maps, func(m specs.LinuxIDMapping) bool { return m.HostID == 0 })
		if root && kind.name == "user" {
			b.weaker(flag, "that nobody inside is root outside")
		}
		for _, m := range kind.maps {
			if m.HostID < defaults.FirstID {
				b.weaker(flag, "that the ids of the container are nobody's outside: the host's "+kind.name+"s "+span(m))
				break
			}
		}
	}
	for _, name := range b.r.Facts.Sharing {
		b.weaker(flag, "that it and container "+name+" are strangers to each other: they have ids in common")
	}
}

func span(m specs.LinuxIDMapping) string {
	first, last := uint64(m.HostID), uint64(m.HostID)+uint64(m.Size)-1
	if first == last {
		return strconv.FormatUint(first, 10)
	}
	return strconv.FormatUint(first, 10) + "-" + strconv.FormatUint(last, 10)
}

// pingGroups has ping allowed for groups that the container has: the kernel takes no others (ipv4_ping_group_range).
func (b *build) pingGroups() {
	const name = "net.ipv4.ping_group_range"
	if b.spec.Linux.Sysctl[name] == "" || !b.userNS || len(b.spec.Linux.GIDMappings) == 0 {
		return
	}
	if m := b.spec.Linux.GIDMappings[0]; m.ContainerID == 0 && m.Size < defaults.IDs {
		b.spec.Linux.Sysctl[name] = "0 " + strconv.FormatUint(uint64(m.Size)-1, 10)
	}
}
