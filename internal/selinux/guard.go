package selinux

import (
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	"golang.org/x/sys/unix"
)

// How much of a place of the host must keep its labels.
type reach uint8

const (
	itself   reach = iota // the file or directory, so also whatever contains it; what is below may be a volume
	children              // and what stands right below: the homes in /home
	tree                  // and all below
)

// places are what a host does not work without, or what many programs share. What the library of Docker and Podman refuses is among them; they
// refuse it by name and only itself, and leave /usr/lib and a bind mount of /etc to the user's care.
var places = []struct {
	reach reach
	paths string
}{
	{tree, "/boot /dev /proc /sys /sys/fs/cgroup /usr /bin /sbin /lib /lib32 /lib64 /libx32 /usr/local/bin /usr/local/sbin /usr/local/lib /usr/local/lib64 /usr/libexec"},
	{tree, "/etc/selinux /etc/pam.d /etc/security /etc/ssh /etc/systemd /etc/sudoers.d /etc/init.d /etc/ld.so.conf.d /var/lib/selinux"},
	{itself, "/ /etc /home /media /mnt /opt /root /run /srv /tmp /var /usr/local /usr/src /usr/local/etc /usr/local/share /usr/local/src"},
	{itself, "/var/cache /var/lib /var/log /var/mail /var/opt /var/run /var/spool /var/tmp /run/user /run/lock /run/systemd /run/udev /run/dbus"},
	{itself, "/etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/sudoers /etc/subuid /etc/subgid"},
	{itself, "/etc/fstab /etc/hosts /etc/hostname /etc/resolv.conf /etc/nsswitch.conf /etc/localtime /etc/machine-id /etc/ld.so.cache /etc/ld.so.conf"},
	{itself, "/etc/pki /etc/ssl /etc/crypto-policies /etc/default /etc/sysconfig /etc/profile /etc/environment /etc/crontab /etc/cron.d"},
	{children, "/home"},
}

// pseudo are the file systems whose labels are the policy's alone.
var pseudo = map[int64]string{
	unix.PROC_SUPER_MAGIC: "procfs", unix.SYSFS_MAGIC: "sysfs", unix.SELINUX_MAGIC: "selinuxfs", unix.SECURITYFS_MAGIC: "securityfs",
	unix.CGROUP_SUPER_MAGIC: "a cgroup tree", unix.CGROUP2_SUPER_MAGIC: "a cgroup tree", unix.DEBUGFS_MAGIC: "debugfs", unix.TRACEFS_MAGIC: "tracefs",
	unix.BPF_FS_MAGIC: "a bpf file system", unix.DEVPTS_SUPER_MAGIC: "devpts", unix.EFIVARFS_MAGIC: "efivarfs", unix.PSTOREFS_MAGIC: "pstore",
	unix.NSFS_MAGIC: "a namespace", unix.BINFMTFS_MAGIC: "binfmt_misc", unix.SMACK_MAGIC: "smackfs",
}

const maxPasswd = 4 << 20 // bytes of /etc/passwd

// An identity is a file whatever it is called: device and inode, stat(2).
type identity struct{ dev, ino uint64 }

// A location is a place within a file system, the same under every mount of it: device of the file system and path inside, proc_pid_mountinfo(5).
type location struct {
	major, minor uint32
	path         string
}

// A guard knows the places of one host at one moment.
type guard struct {
	mounts []procfs.Mount
	names  map[identity]string
	where  []guarded
	verb   string // what is to be done to a tree
	hint   string // how it goes without
}

type guarded struct {
	location
	reach reach
	name  string
}

// newGuard looks at all places, the homes of users, and what the caller adds, each a whole tree. What is not there needs no care.
func newGuard(extra []string) (*guard, error) {
	proc, err := procfs.Host()
	if err != nil {
		return nil, err
	}
	g := &guard{names: map[identity]string{}, verb: "relabel", hint: "mount it without :z and :Z, or keep what containers use in a directory of its own"}
	if g.mounts, err = proc.Mountinfo(0); err != nil {
		return nil, err
	}
	add := func(name string, r reach) {
		if err == nil {
			err = g.add(name, r)
		}
	}
	for _, p := range places {
		for name := range strings.FieldsSeq(p.paths) {
			add(name, p.reach)
		}
	}
	for _, home := range homes() {
		add(home, itself)
		add(path.Join(home, ".ssh"), tree)
		add(path.Join(home, ".gnupg"), tree)
	}
	for _, name := range extra {
		if !path.IsAbs(name) {
			return nil, errdef.Errorf(errdef.Invalid, "guard %q: not an absolute path", name)
		}
		add(name, tree)
	}
	return g, err
}

// homes are the home directories of root and of people, from $HOME and /etc/passwd. Those of system users are volumes as often as not.
func homes() []string {
	list := []string{os.Getenv("HOME")}
	data, err := sys.ReadFileAt(unix.AT_FDCWD, "/etc/passwd", maxPasswd)
	if err != nil {
		return list
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 7 {
			continue
		}
		uid, err := strconv.ParseUint(f[2], 10, 32)
		if err == nil && (uid == 0 || uid >= 1000 && uid != 65534 || int(uid) == unix.Getuid()) && len(list) < 10_000 {
			list = append(list, f[5])
		}
	}
	return list
}

// add notes what a path leads to.
func (g *guard) add(name string, r reach) error {
	if !path.IsAbs(name) {
		return nil
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // what cannot be reached cannot be relabelled under that name
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return errdef.Errorf(errdef.Internal, "look at %q: %w", name, err)
	}
	id := identity{st.Dev, st.Ino}
	if g.names[id] == "" {
		g.names[id] = name
	}
	at, err := g.locate(fd)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "look where %q is: %w", name, err)
	}
	g.where = append(g.where, guarded{at, r, name})
	return nil
}

// locate says where in its file system an open file is: the root of the mount there, and the way from the mount point on.
func (g *guard) locate(fd int) (location, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return location{}, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return location{}, unix.ENOSYS
	}
	name, err := os.Readlink(fdPath(fd))
	if err != nil {
		return location{}, err
	}
	for i := range g.mounts {
		m := &g.mounts[i]
		if uint64(m.ID) != st.Mnt_id {
			continue
		}
		rest, ok := strings.CutPrefix(name, m.Point)
		if m.Point == "/" {
			rest, ok = name, true
		}
		if !ok || rest != "" && rest[0] != '/' {
			break
		}
		return location{m.Major, m.Minor, path.Join("/", m.Root, rest)}, nil
	}
	return location{}, errdef.Errorf(errdef.Conflict, "%q is on no mount of this process: it was moved or removed", name)
}

// check refuses the root of a tree that is to be relabelled if it is one of the places, lies in one that is guarded whole, or contains one.
func (g *guard) check(fd int, name string) error {
	refuse := func(format string, args ...any) error {
		err := errdef.Errorf(errdef.Denied, g.verb+" %q: "+format, append([]any{name}, args...)...)
		return errdef.WithHint(err, g.hint)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return errdef.Errorf(errdef.Internal, "%s %q: %w", g.verb, name, err)
	}
	magic, err := sys.FSType(fd)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "%s %q: %w", g.verb, name, err)
	}
	if what := pseudo[magic]; what != "" {
		return refuse("it is on %s, whose labels are the policy's", what)
	}
	if place := g.names[identity{st.Dev, st.Ino}]; place != "" {
		return refuse("it is %s, which the host needs as it is", place)
	}
	at, err := g.locate(fd)
	if err != nil {
		return errdef.Errorf(errdef.Internal, "%s %q: look where it is: %w", g.verb, name, err)
	}
	return g.checkLocation(at, refuse)
}

// checkLocation compares ways within file systems. The place with the longest way to the root of the tree decides whether it is in one.
func (g *guard) checkLocation(at location, refuse func(string, ...any) error) error {
	var in *guarded
	for i := range g.where {
		p := &g.where[i]
		if p.major != at.major || p.minor != at.minor {
			continue
		}
		if below(p.path, at.path) {
			return refuse("%s is in it, which the host needs as it is", p.name)
		}
		if below(at.path, p.path) && (in == nil || len(p.path) > len(in.path) || len(p.path) == len(in.path) && p.reach > in.reach) {
			in = p
		}
	}
	switch {
	case in == nil || in.reach == itself:
		return nil
	case in.reach == children && path.Dir(at.path) != in.path:
		return nil
	}
	return refuse("it is in %s, which the host needs as it is", in.name)
}

// below reports whether p is dir or a path below it.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}
