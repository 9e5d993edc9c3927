package rootfs

// A Kind is a file system type that a container's plan treats in a way of its own. The zero value is any other type.
type Kind uint8

// The kinds.
const (
	Other   Kind = iota
	Proc         // belongs to the pid namespace; only on an ordinary directory, never through a link
	Sysfs        // belongs to the network namespace; only on an ordinary directory, never through a link
	Mqueue       // belongs to the ipc namespace; its root may be labelled after mounting only
	Tmpfs        // files and mount points are made in it before it becomes read-only
	Devpts       // a new instance; needs gid and ptmxmode
	Cgroup       // the container's view of the hierarchy: v1 per controller, v2 one mount, by what the host has
	Cgroup2      // the unified hierarchy
	Bind         // not a file system at all
	Overlay      // layers; values may be long
)

var kinds = [...]struct {
	name   string
	kind   Kind
	pseudo bool
}{
	{"proc", Proc, true},
	{"sysfs", Sysfs, true},
	{"mqueue", Mqueue, true},
	{"tmpfs", Tmpfs, true},
	{"devpts", Devpts, true},
	{"cgroup", Cgroup, true},
	{"cgroup2", Cgroup2, true},
	{"bind", Bind, true},
	{"rbind", Bind, true},
	{"overlay", Overlay, false},
	{"ramfs", Other, true},
	{"devtmpfs", Other, true},
	{"securityfs", Other, true},
	{"debugfs", Other, true},
	{"tracefs", Other, true},
	{"bpf", Other, true},
	{"configfs", Other, true},
	{"pstore", Other, true},
	{"efivarfs", Other, true},
	{"hugetlbfs", Other, true},
	{"resctrl", Other, true},
	{"binfmt_misc", Other, true},
	{"fusectl", Other, true},
	{"rpc_pipefs", Other, true},
	{"selinuxfs", Other, true},
}

// KindOf returns how the file system type is treated.
func KindOf(fstype string) Kind {
	for i := range kinds {
		if kinds[i].name == fstype {
			return kinds[i].kind
		}
	}
	return Other
}

// Pseudo reports whether the type keeps no data of its own outside the kernel's memory, so that "read-only" is a matter of the mount.
func Pseudo(fstype string) bool {
	for i := range kinds {
		if kinds[i].name == fstype {
			return kinds[i].pseudo
		}
	}
	return false
}

// NeedsPlainDirectory reports whether the type may only be mounted on a directory that is there or made anew, with no link on the way:
// what the image says about /proc and /sys decides nothing (CVE-2019-19921).
func (k Kind) NeedsPlainDirectory() bool { return k == Proc || k == Sysfs }

// Namespace returns the name in runtime-spec of the namespace whose contents the file system shows, "" for none. Mounted by a process
// that shares this namespace with the host it shows the host's.
func (k Kind) Namespace() string {
	switch k {
	case Proc:
		return "pid"
	case Sysfs:
		return "network"
	case Mqueue:
		return "ipc"
	case Cgroup, Cgroup2:
		return "cgroup"
	}
	return ""
}
