package plan

import (
	"slices"
	"strconv"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const treeClone = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_NO_AUTOMOUNT

// mount adds one entry of mounts.
func (b *builder) mount(i int, m *specs.Mount) error {
	dest, err := rootfs.CleanDestination(m.Destination)
	if err != nil {
		return err
	}
	if dest == "/" {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "destination: is the root itself"), "root.path says what the root is")
	}
	o, err := rootfs.ParseOptions(m.Type, m.Options)
	if err != nil {
		return err
	}
	if to := b.in.Facts.TargetLinks[dest]; to != "" {
		dest = to
	}
	kind := rootfs.KindOf(m.Type)
	if err := rootfs.CheckProc(kind, o.Bind, dest); err != nil {
		return err
	}
	switch {
	case o.Remount:
		return b.remount(dest, &o)
	case o.Bind:
		return b.bind(i, m, dest, &o)
	case kind == rootfs.Cgroup || kind == rootfs.Cgroup2:
		return b.cgroup(dest, m, &o)
	}
	return b.newFS(m, dest, kind, &o)
}

// newFS mounts a new file system: fsopen, its parameters, fsmount, move_mount.
func (b *builder) newFS(m *specs.Mount, dest string, kind rootfs.Kind, o *rootfs.Options) error {
	if reason := o.LegacyReason(); reason != "" {
		return b.classic(m, dest, o)
	}
	why := m.Type + " on " + dest
	if mode := b.in.Facts.TargetModes[dest]; kind == rootfs.Tmpfs && mode != 0 && !hasParam(o.Data, "mode") {
		o.Data = append(o.Data, rootfs.Param{Key: "mode", Value: strconv.FormatUint(uint64(mode), 8)})
	}
	mnt := b.fsmount(m.Type, m.Source, o, why)
	var t op.Slot
	if kind.NeedsPlainDirectory() || o.DestNoFollow {
		t = b.plainTarget(dest, true)
	} else {
		t = b.target(dest, true, "where "+dest+" is")
	}
	if kind != rootfs.Proc {
		b.notProc(t, dest)
	}
	if o.TmpCopyUp {
		b.copyUp(t, mnt, dest)
	}
	b.add(op.MoveMount(op.At(mnt), op.At(t)).Because(why))
	b.attributes(op.At(mnt), o, dest)
	b.add(op.Close(op.At(t)))
	switch {
	case kind == rootfs.Proc && dest == "/proc":
		b.proc = op.At(mnt)
	case kind == rootfs.Tmpfs && o.AttrSet&unix.MOUNT_ATTR_RDONLY != 0:
		b.readonly = append(b.readonly, mnt)
	default:
		b.add(op.Close(op.At(mnt)))
	}
	return nil
}

func hasParam(list []rootfs.Param, key string) bool {
	return slices.ContainsFunc(list, func(p rootfs.Param) bool { return p.Key == key })
}

// fsmount makes a detached mount of a new file system. A tmpfs that is to be read-only becomes so later, when all is made in it.
func (b *builder) fsmount(fstype, source string, o *rootfs.Options, why string) op.Slot {
	fs, mnt := b.slot("fs"), b.slot("m")
	b.add(op.Fsopen(fstype).To(fs).Because(why).Hinted("this kernel has no file system " + fstype + ", or does not allow it here"))
	if source != "" {
		b.add(op.FsString(fs, "source", source).Because("source"))
	}
	for _, f := range o.SuperFlags {
		b.add(op.FsFlag(fs, f.Key).Because("option " + f.Key))
	}
	for _, d := range o.Data {
		if d.Flag {
			b.add(op.FsFlag(fs, d.Key).Because("option " + d.String()).Hinted(fstype + " has no such option"))
		} else {
			b.add(op.FsString(fs, d.Key, d.Value).Because("option " + d.String()).Hinted(fstype + " has no such option, or not with this value"))
		}
	}
	b.context(fs, fstype, o.Data)
	attrs := o.AttrSet
	if fstype == "tmpfs" {
		attrs &^= unix.MOUNT_ATTR_RDONLY // later: mount points and devices are made in it, and files copied
	}
	create := op.FsCreate(fs).Because(why)
	if b.userns {
		create = create.Hinted("in a user namespace the kernel allows " + fstype + " only with the namespaces that it shows made new too, and with nothing masked on the host")
	}
	b.add(create, op.Fsmount(fs, attrs).To(mnt).Because(why), op.Close(op.At(fs)))
	b.rootLabel(mnt, fstype)
	return mnt
}

// plainTarget is target without following any link: for proc and sysfs, about which the image decides nothing (CVE-2019-19921), and
// for dest-nofollow.
func (b *builder) plainTarget(dest string, dir bool) op.Slot {
	first := len(b.p.Ops)
	t := b.target(dest, dir, "where "+dest+" is, with no link on the way")
	const flags = uint64(unix.O_PATH | unix.O_CLOEXEC)
	for k := first; k < len(b.p.Ops); k++ {
		o := &b.p.Ops[k]
		if o.Call != "openat2" {
			continue
		}
		extra := uint64(0)
		if o.Out != t || dir {
			extra = unix.O_DIRECTORY
		}
		how := op.Openat2(o.Args[0], o.Args[1].Str, flags|extra, 0, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS)
		o.Args[2] = how.Args[2]
		o.Hint = dest + " of the image is a link or no directory: it must be a plain directory, or not be there"
	}
	return t
}

// attributes applies what is left of the options to an attached mount.
func (b *builder) attributes(mnt op.Arg, o *rootfs.Options, dest string) {
	if o.RecAttrSet|o.RecAttrClr != 0 {
		b.add(op.MountSetattr(mnt, true, o.RecAttrSet, o.RecAttrClr, 0).Because("recursive options of " + dest))
	}
	if o.Propagation != 0 {
		b.add(op.MountSetattr(mnt, o.PropagationRec, 0, 0, o.Propagation).Because("propagation of " + dest))
	}
}

// remount changes the mount that is at dest.
func (b *builder) remount(dest string, o *rootfs.Options) error {
	t := b.slot("t")
	b.add(op.InRoot(root, clean(dest), 0).To(t).Because("the mount to change"))
	if !o.Bind && len(o.SuperFlags)+len(o.Data) > 0 {
		fs := b.slot("fs")
		b.add(op.Fspick(t).To(fs).Because("remount of " + dest))
		for _, f := range append(append([]rootfs.Param(nil), o.SuperFlags...), o.Data...) {
			if f.Flag {
				b.add(op.FsFlag(fs, f.Key).Because("option " + f.Key))
			} else {
				b.add(op.FsString(fs, f.Key, f.Value).Because("option " + f.String()))
			}
		}
		b.add(op.FsReconfigure(fs).Because("remount of "+dest), op.Close(op.At(fs)))
	}
	if o.AttrSet|o.AttrClr != 0 {
		b.add(op.MountSetattr(op.At(t), false, o.AttrSet, o.AttrClr, 0).Because("remount of " + dest).
			Hinted("nothing is mounted on " + dest + ", or its options are locked by the owner of the mount"))
	}
	b.attributes(op.At(t), &rootfs.Options{
		RecAttrSet: o.RecAttrSet, RecAttrClr: o.RecAttrClr, Propagation: o.Propagation, PropagationRec: o.PropagationRec,
	}, dest)
	return nil
}

// classic mounts with mount(2), on the resolved directory as the working directory: for parameters that fsconfig(2) cannot take.
func (b *builder) classic(m *specs.Mount, dest string, o *rootfs.Options) error {
	t := b.target(dest, true, "where "+dest+" is")
	b.notProc(t, dest)
	b.add(
		op.Fchdir(op.At(t)).Because("mount(2) takes a path: this is it"),
		op.Mount(m.Source, ".", m.Type, uint64(o.LegacyFlags), b.legacyContext(m.Type, o)).Because(m.Type+" on "+dest+": "+o.LegacyReason()),
		op.Chdir("/"),
	)
	if o.Propagation != 0 || o.RecAttrSet|o.RecAttrClr != 0 {
		mnt := b.slot("m")
		b.add(op.InRoot(root, clean(dest), 0).To(mnt).Because("the new mount"))
		b.attributes(op.At(mnt), &rootfs.Options{
			RecAttrSet: o.RecAttrSet, RecAttrClr: o.RecAttrClr, Propagation: o.Propagation, PropagationRec: o.PropagationRec,
		}, dest)
	}
	return nil
}

// copyUp lets the parent copy what the image has at dest into the new tmpfs, both through descriptors.
func (b *builder) copyUp(from, to op.Slot, dest string) {
	r := b.slot("dir")
	b.add(op.Openat(op.At(from), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).To(r).Because("what the image has in " + dest))
	b.sendFD(FDCopyFrom, r, "tmpcopyup: copy from here")
	b.sendFD(FDCopyTo, to, "tmpcopyup: copy to here")
	b.barrier(BarrierCopyUp, "tmpcopyup of "+dest)
	b.add(op.Close(op.At(r)))
}

// bind adds a bind mount.
func (b *builder) bind(i int, m *specs.Mount, dest string, o *rootfs.Options) error {
	if m.Source == "" {
		return errdef.Errorf(errdef.Invalid, "source: missing for a bind mount")
	}
	if o.CopySymlink {
		return errdef.WithHint(errdef.Errorf(errdef.Unsupported, "options: copy-symlink is not supported"), "mount what the link names")
	}
	source := b.host(m.Source)
	src := b.in.Facts.Sources[source]
	if src.Missing {
		return errdef.WithHint(errdef.Errorf(errdef.NotFound, "source: %q does not exist: %w", source, unix.ENOENT), "a bind mount needs its source on the host")
	}
	if dest == "/proc" && !src.ProcRoot {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "destination: %q is not the root of a procfs", source), "only a procfs may be mounted on /proc")
	}
	mnt, err := b.bindTree(i, m, source, o)
	if err != nil {
		return err
	}
	if o.AttrSet|o.AttrClr != 0 {
		b.add(op.MountSetattr(mnt, false, o.AttrSet, o.AttrClr, 0).Because("options of " + dest).
			Hinted("options of a mount that belong to another user namespace cannot be cleared"))
	}
	var t op.Slot
	if o.DestNoFollow {
		t = b.plainTarget(dest, src.Dir)
	} else {
		t = b.target(dest, src.Dir, "where "+dest+" is")
	}
	if !rootfs.Under(dest, "/proc") {
		b.notProc(t, dest)
	}
	b.add(op.MoveMount(mnt, op.At(t)).Because(source + " on " + dest))
	b.attributes(mnt, o, dest)
	b.add(op.Close(mnt), op.Close(op.At(t)))
	return nil
}

// bindTree gives a detached copy of the mount at source: made by the child, or by the parent where the child's user namespace has no
// right to it or it is to be shown through a mapping.
func (b *builder) bindTree(i int, m *specs.Mount, source string, o *rootfs.Options) (op.Arg, error) {
	if tree, open := b.sources[i]; open {
		return tree, nil
	}
	want := FileWant{Name: "tree." + itoa(i), Kind: Tree, Path: source, Recursive: o.BindRec, NoFollow: o.SrcNoFollow}
	if o.IDMap || len(m.UIDMappings)+len(m.GIDMappings) > 0 {
		want.Kind, want.MapRec, want.UIDs, want.GIDs = TreeIDMap, o.IDMapRec, m.UIDMappings, m.GIDMappings
		if len(want.UIDs)+len(want.GIDs) == 0 && b.spec.Linux != nil {
			want.UIDs, want.GIDs = b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings
		}
		if len(want.UIDs) == 0 || len(want.GIDs) == 0 {
			return op.Arg{}, errdef.WithHint(errdef.Errorf(errdef.Invalid, "options: idmap without mappings"), "give uidMappings and gidMappings, or a new user namespace")
		}
		return b.want(want), nil
	}
	if b.in.Facts.Sources[source].HostOnly {
		return b.want(want), nil
	}
	flags := uint64(treeClone)
	if o.BindRec {
		flags |= unix.AT_RECURSIVE
	}
	if o.SrcNoFollow {
		flags |= unix.AT_SYMLINK_NOFOLLOW
	}
	s := b.slot("m")
	b.add(op.OpenTree(op.AtCwd, source, flags).To(s).Because("bind mount of " + source))
	return op.At(s), nil
}

// openSources opens the sources of all bind mounts, while paths still lead where the host has them: below the place that the root is about to be put over, the image
// would be found instead, and a symbolic link of the image's leads anywhere. What cannot be opened is told when it is its turn.
func (b *builder) openSources() {
	b.sources = map[int]op.Arg{}
	for i := range b.spec.Mounts {
		m := &b.spec.Mounts[i]
		o, err := rootfs.ParseOptions(m.Type, m.Options)
		if err != nil || !o.Bind || o.Remount || m.Source == "" {
			continue
		}
		source := b.host(m.Source)
		if b.in.Facts.Sources[source].Missing {
			continue
		}
		if tree, err := b.bindTree(i, m, source, &o); err == nil {
			b.sources[i] = tree
		}
	}
}
