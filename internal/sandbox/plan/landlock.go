package plan

import (
	"slices"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"golang.org/x/sys/unix"
)

const ruleset = op.Slot("landlock")

// A pathRule allows what a mount of the specification allows. Rules of Landlock add up along a path: what / has, all below has too.
type pathRule struct {
	path   string // relative to the root, "." for the root itself
	rights uint64
	why    string
	file   bool // may be no directory
	mount  bool // must be the root of a mount
}

// landlock makes the ruleset, inside the new root and with root's rights, and fills it. It is put in force by restrict.
//
// The rules say what the mounts say. What Landlock adds is that nobody inside can change that any more, whatever capabilities it has: in a domain with
// rules for files every mount, umount, remount and pivot_root fails. And a process of the domain can trace or look into no process outside of it.
func (b *builder) landlock() {
	l := b.in.Landlock
	if l == nil {
		return
	}
	b.add(op.LandlockRuleset(l.FS, l.Net, l.Scoped, l.Size(), l.String()).To(ruleset).
		Because("Landlock denies all of this but where a rule allows it").Hinted("take " + lsm.LandlockAnnotation + " out of the configuration"))
	if l.FS != 0 {
		for _, r := range b.pathRules() {
			b.pathRule(r)
		}
		if !b.spec.Process.Terminal {
			b.stdioRules()
		}
	}
	for _, p := range l.Bind {
		b.add(op.LandlockPort(ruleset, unix.LANDLOCK_ACCESS_NET_BIND_TCP, p, "{BIND_TCP, "+itoa(int(p))+"}").Because("this port may be bound"))
	}
	for _, p := range l.Connect {
		b.add(op.LandlockPort(ruleset, unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, p, "{CONNECT_TCP, "+itoa(int(p))+"}").Because("this port may be connected to"))
	}
}

// pathRules reads the specification.
func (b *builder) pathRules() []pathRule {
	write := uint64(lsm.LandlockWrite)
	if c := b.spec.Process.Capabilities; c != nil {
		for _, name := range c.Bounding {
			if name == "CAP_MKNOD" {
				write |= lsm.LandlockMakeDevice
			}
		}
	}
	top := pathRule{path: ".", rights: lsm.LandlockRead, why: "the container's files may be read and executed"}
	writable := b.spec.Root == nil || !b.spec.Root.Readonly
	if writable {
		top.rights |= write
		top.why = "root.readonly is false: files may be read, executed and written; what is mounted read-only stays so, for nothing can be mounted again"
	}
	rules := []pathRule{
		top,
		{
			path: "dev", rights: unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
			why: "devices are used here and nowhere else",
		},
	}
	if writable {
		return rules
	}
	for i := range b.spec.Mounts {
		m := &b.spec.Mounts[i]
		o, err := rootfs.ParseOptions(m.Type, m.Options)
		kind := rootfs.KindOf(m.Type)
		if err != nil || o.Remount || (o.AttrSet|o.RecAttrSet)&unix.MOUNT_ATTR_RDONLY != 0 || kind == rootfs.Proc || clean(m.Destination) == "" {
			continue // reported by mount; not for writing
		}
		within := func(r pathRule) bool { return rootfs.Under(clean(m.Destination), r.path) }
		if slices.ContainsFunc(rules[2:], within) {
			continue // has the rights of what it lies in
		}
		rules = append(rules, pathRule{
			path: clean(m.Destination), rights: lsm.LandlockRead | write, why: "mounts: " + m.Destination + " may be written",
			file: o.Bind && !b.in.Facts.Sources[b.host(m.Source)].Dir, mount: true,
		})
	}
	return rules
}

// pathRule adds one rule. What is not there needs none.
func (b *builder) pathRule(r pathRule) {
	t, done, none := b.slot("t"), b.name("ruled"), b.name("norule")
	handled := b.in.Landlock.FS
	b.add(op.InRoot(root, r.path, 0).To(t).Else(unix.ENOENT, none).Because(r.why))
	if r.mount && b.joining {
		// The way to a mount may lead through what the container writes: it could have been bent since. A mount itself cannot be moved.
		const mountRoot = 0x2000 // STATX_ATTR_MOUNT_ROOT, kernel 5.8
		stat := b.scratch("statx", op.StatxSize)
		b.add(
			op.Statx(op.At(t), stat).Because("is it the mount still"),
			op.Check(stat, 8, mountRoot, mountRoot, unix.EPERM).Else(op.AnyErrno, done).Because("is it the mount still"),
		)
	}
	add := func(rights uint64) op.Op {
		mem := b.mem(op.LandlockPathMem(b.name("beneath"), rights&handled))
		b.add(op.Copy32(t, mem, op.LandlockFD).Because(r.why))
		return op.LandlockPath(ruleset, mem, "{"+rightsText(rights&handled)+", $"+string(t)+"}").Because(r.why)
	}
	if !r.file {
		b.add(add(r.rights))
	} else {
		b.add(add(r.rights).Else(unix.EINVAL, "").Then(done))
		b.add(add(r.rights & lsm.LandlockFile))
	}
	b.here(done)
	b.add(op.Close(op.At(t)))
	b.here(none)
}

// stdioRules lets the program open again what it was given as standard input, output and error (/dev/stdout), if that is a file of the host's.
// Pipes and sockets need no rule, and take none.
func (b *builder) stdioRules() {
	handled := b.in.Landlock.FS
	for fd := range 3 {
		rights := uint64(unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV)
		if fd > 0 {
			rights |= unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
		}
		mem := op.LandlockPathMem(b.name("beneath"), rights&handled)
		mem.Init = append(mem.Init, byte(fd), 0, 0, 0)
		b.add(op.LandlockPath(ruleset, b.mem(mem), "{"+rightsText(rights&handled)+", "+itoa(fd)+"}").Else(op.AnyErrno, "").
			Because("/dev/std* opens again what the caller gave as descriptor " + itoa(fd)))
	}
}

// rightsText prints rights as a number: landlock(7) lists them in the order of its bits.
func rightsText(rights uint64) string { return "0x" + strconv.FormatUint(rights, 16) }

// restrict puts the ruleset in force, for the process and all that come from it, for ever.
func (b *builder) restrict(kept map[string]op.Arg) {
	if b.in.Landlock == nil {
		return
	}
	b.add(op.LandlockRestrict(kept["landlock"]).Because("Landlock is in force from here on").
		Hinted("needs process.noNewPrivileges or CAP_SYS_ADMIN, and at most 15 domains around this one (landlock(7))"))
	if f := &b.in.PortGuard; len(f.Program) > 0 {
		b.mem(op.FilterMem("portguard", f.Program))
		b.add(op.Seccomp(f.Flags, "portguard", itoa(len(f.Program)/8)+" instructions").
			Because("no MPTCP, SCTP, SMC and io_uring socket: rules for ports hold for plain TCP only"))
	}
}
