package plan

import (
	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cgroup shows the container its own cgroups: through its cgroup namespace, where it has one, else by a bind mount of its own
// directories (config-linux.md: a mount of type cgroup shows the cgroup of the container).
func (b *builder) cgroup(dest string, m *specs.Mount, o *rootfs.Options) error {
	facts := &b.in.Facts.Cgroup
	why := "the container's own cgroup on " + dest
	private := (b.newNS|b.joinFlags())&unix.CLONE_NEWCGROUP != 0
	if facts.Unified || m.Type == "cgroup2" {
		var mnt op.Slot
		switch {
		case private:
			mnt = b.fsmount("cgroup2", "", &rootfs.Options{AttrSet: o.AttrSet, Data: o.Data}, why)
		case facts.Own == "":
			return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "type: %s without a cgroup namespace, and the container has no cgroup v2", m.Type),
				"add {\"type\": \"cgroup\"} to linux.namespaces")
		default:
			mnt = b.ownTree(facts.Own, o.AttrSet, why)
		}
		t := b.target(dest, true, "where "+dest+" is")
		b.notProc(t, dest)
		b.add(op.MoveMount(op.At(mnt), op.At(t)).Because(why))
		b.attributes(op.At(mnt), o, dest)
		return nil
	}
	if len(facts.V1) == 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "type: cgroup, and this host has no cgroup hierarchy"), "remove the mount from config.json")
	}
	b.cgroupV1(dest, o, private)
	return nil
}

// cgroupV1 is a tmpfs with a directory for each hierarchy, read-only at the end if asked for.
func (b *builder) cgroupV1(dest string, o *rootfs.Options, private bool) {
	why := "a directory of cgroup hierarchies on " + dest
	top := &rootfs.Options{
		AttrSet: o.AttrSet &^ unix.MOUNT_ATTR_RDONLY,
		Data:    []rootfs.Param{{Key: "mode", Value: "755"}, {Key: "size", Value: "64k"}},
	}
	tmpfs := b.fsmount("tmpfs", "", top, why)
	t := b.target(dest, true, "where "+dest+" is")
	b.notProc(t, dest)
	b.add(op.MoveMount(op.At(tmpfs), op.At(t)).Because(why))
	for _, h := range b.in.Facts.Cgroup.V1 {
		b.hierarchy(tmpfs, &h, o.AttrSet, private)
	}
	if o.AttrSet&unix.MOUNT_ATTR_RDONLY != 0 {
		b.add(op.MountSetattr(op.At(tmpfs), false, unix.MOUNT_ATTR_RDONLY, 0, 0).Because("option ro of " + dest))
	}
	b.attributes(op.At(tmpfs), o, dest)
}

// hierarchy mounts one hierarchy into the tmpfs, which nobody else can write to yet.
func (b *builder) hierarchy(tmpfs op.Slot, h *CgroupMount, attrs uint64, private bool) {
	why := "cgroup hierarchy " + h.Dir
	var mnt op.Slot
	switch {
	case private && h.Unified:
		mnt = b.fsmount("cgroup2", "", &rootfs.Options{AttrSet: attrs}, why)
	case private:
		fs := b.slot("fs")
		mnt = b.slot("m")
		b.add(op.Fsopen("cgroup").To(fs).Because(why))
		for _, p := range h.Params {
			if len(p) > 5 && p[:5] == "name=" {
				// A named hierarchy has no controller: "none" says so.
				b.add(op.FsFlag(fs, "none").Because(why), op.FsString(fs, "name", p[5:]).Because(why))
			} else {
				b.add(op.FsFlag(fs, p).Because(why))
			}
		}
		b.add(op.FsCreate(fs).Because(why), op.Fsmount(fs, attrs).To(mnt).Because(why), op.Close(op.At(fs)))
	default:
		mnt = b.ownTree(h.Own, attrs, why)
	}
	d := b.slot("d")
	b.add(
		op.Mkdirat(op.At(tmpfs), h.Dir, 0o755).Because(why),
		op.Openat(op.At(tmpfs), h.Dir, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0).To(d),
		op.MoveMount(op.At(mnt), op.At(d)).Because(why),
		op.Close(op.At(mnt)), op.Close(op.At(d)),
	)
	for _, link := range h.Links {
		b.add(op.Symlinkat(h.Dir, op.At(tmpfs), link).Because("another name of " + h.Dir))
	}
}

// ownTree is a bind mount of a cgroup directory of the host.
func (b *builder) ownTree(path string, attrs uint64, why string) op.Slot {
	mnt := b.slot("m")
	b.add(op.OpenTree(op.AtCwd, path, treeClone).To(mnt).Because(why))
	if attrs != 0 {
		clr := uint64(0)
		if attrs&unix.MOUNT_ATTR__ATIME != 0 {
			clr = unix.MOUNT_ATTR__ATIME
		}
		b.add(op.MountSetattr(op.At(mnt), false, attrs, clr, 0).Because(why))
	}
	return mnt
}
