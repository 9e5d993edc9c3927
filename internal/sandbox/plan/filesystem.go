package plan

import (
	"path/filepath"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// filesystem builds the root and moves into it.
func (b *builder) filesystem() error {
	if b.spec.Root == nil {
		return errdef.Errorf(errdef.Invalid, "root: missing")
	}
	path := b.host(b.spec.Root.Path)
	if (b.newNS|b.joinFlags())&unix.CLONE_NEWNS == 0 {
		return b.chrootOnly(path)
	}
	propagation, err := rootPropagation(b.spec)
	if err != nil {
		return err
	}
	b.attachRoot(path, propagation)
	for i := range b.spec.Mounts {
		if err := b.mount(i, &b.spec.Mounts[i]); err != nil {
			return errdef.WithKind(errdef.KindOf(err), errorAt("mounts", i, err))
		}
	}
	if err := b.dev(); err != nil {
		return err
	}
	if err := b.console(); err != nil {
		return err
	}
	for _, m := range b.readonly {
		b.add(op.MountSetattr(op.At(m), false, unix.MOUNT_ATTR_RDONLY, 0, 0).Because("option ro, now that all is made in it"), op.Close(op.At(m)))
	}
	if err := b.sysctls(); err != nil {
		return err
	}
	if h := b.spec.Hooks; h != nil && len(h.CreateContainer) > 0 {
		b.barrier(BarrierPivot, "the root is ready, the old one still there: createContainer hooks")
	}
	b.protectPaths()
	if b.spec.Root.Readonly {
		if clean(b.spec.Process.Cwd) != "" {
			b.add(op.Close(op.At(b.target(b.spec.Process.Cwd, true, "process.cwd, made while that is possible"))))
		}
		b.add(op.MountSetattr(op.At(root), false, unix.MOUNT_ATTR_RDONLY, 0, 0).Because("root.readonly"))
	}
	b.enterRoot(propagation)
	return nil
}

// host makes a path of the spec that names something on the host absolute.
func (b *builder) host(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(b.in.Bundle, p)
}

// chrootOnly is for a container without a mount namespace of its own: nothing may be mounted, because it would be in the host's.
func (b *builder) chrootOnly(path string) error {
	l := b.spec.Linux
	if len(b.spec.Mounts) > 0 || b.spec.Root.Readonly || l != nil && len(l.MaskedPaths)+len(l.ReadonlyPaths) > 0 {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.namespaces: mounts, masked paths or a read-only root without a mount namespace"),
			"add {\"type\": \"mount\"} to linux.namespaces: without it they would change the host")
	}
	if b.spec.Process.Terminal {
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "process.terminal: without a mount namespace"),
			"add {\"type\": \"mount\"} to linux.namespaces: the terminal is one of the container's own devpts")
	}
	b.add(
		op.Openat(op.AtCwd, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).To(root).Because("root.path"),
		op.Fchdir(op.At(root)).Because("root.path"),
		op.Chroot(".").Because("no mount namespace: change the root directory only"),
		op.Chdir("/").Because("the root directory"),
	)
	return b.sysctls()
}

// attachRoot makes all mounts of the new mount namespace private or slave, and puts a copy of the rootfs over itself, so that it is a
// mount of its own. Below it lies an empty read-only tmpfs, whose copies mask directories.
func (b *builder) attachRoot(path string, propagation uint64) {
	shared := propagation&unix.MS_SHARED != 0
	if shared {
		b.add(op.Propagation("/", propagation|unix.MS_REC).Because("linux.rootfsPropagation " + b.spec.Linux.RootfsPropagation))
		if b.in.Facts.RootParent != "" {
			b.add(op.Propagation(b.in.Facts.RootParent, unix.MS_PRIVATE).Because("pivot_root wants the mount that holds the root private"))
		}
	} else {
		first := propagation | unix.MS_REC
		if propagation&(unix.MS_PRIVATE|unix.MS_UNBINDABLE) != 0 {
			first = unix.MS_PRIVATE | unix.MS_REC // unbindable would forbid the copies below; it is set at the end
		}
		b.add(op.Propagation("/", first).Because("mounts made here do not reach the host"))
	}
	if at := b.in.Facts.RootAt; at != "" {
		b.openSources()
		first := uint64(unix.MS_PRIVATE) // pivot_root takes no shared root; what the specification says comes at the end
		if propagation&unix.MS_SLAVE != 0 {
			first = unix.MS_SLAVE
		}
		tree := b.want(FileWant{Name: "tree.root", Kind: Tree, Path: path, Recursive: true})
		b.add(
			op.Raw("fcntl", unix.SYS_FCNTL, tree, op.Flag(unix.F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"), op.Num(0)).To(root).
				Because("root.path: the container's file system, which the runtime has opened: its directories are closed to the container's root"),
			op.MountSetattr(op.At(root), true, 0, 0, first).Because("mounts made here do not reach the host"),
		)
		path = at
	} else {
		b.add(
			op.OpenTree(op.AtCwd, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE).To(root).
				Because("root.path: the container's file system, resolved once").Hinted("root.path must be a directory that the runtime can reach"),
		)
	}
	if b.spec.Linux != nil && len(b.spec.Linux.MaskedPaths) > 0 {
		fs := b.slot("fs")
		b.add(
			op.Fsopen("tmpfs").To(fs).Because("an empty directory to mask directories with"),
			op.FsString(fs, "nr_inodes", "2"), op.FsString(fs, "size", "1"), op.FsString(fs, "mode", "0555"),
		)
		b.context(fs, "tmpfs", nil)
		b.add(
			op.FsCreate(fs),
			op.Fsmount(fs, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC).To("mask"),
			op.Close(op.At(fs)),
			op.MoveMountTo(op.At("mask"), op.AtCwd, path).Because("below the root, where only copies of it will be seen"),
		)
	}
	b.add(op.MoveMountTo(op.At(root), op.AtCwd, path).Because("the root is a mount of its own"))
}

// enterRoot makes the root the root directory, and lets go of the old one.
func (b *builder) enterRoot(propagation uint64) {
	if b.in.NoPivot {
		b.moveRoot(propagation)
	} else {
		b.pivotRoot(propagation)
	}
	b.add(op.Chdir("/").Because("the new root directory"))
	if propagation != unix.MS_SLAVE|unix.MS_REC {
		b.add(op.Propagation("/", propagation).Because("linux.rootfsPropagation"))
	}
}

// pivotRoot makes the root the root directory and unmounts the old one, which lies over it then.
func (b *builder) pivotRoot(propagation uint64) {
	shared := propagation&unix.MS_SHARED != 0
	if shared {
		b.add(op.Openat(op.AtCwd, "/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).To("oldroot").Because("the old root, to be told from the new one"))
	}
	b.add(
		op.Fchdir(op.At(root)).Because("into the container's root"),
		op.PivotRoot(".", ".").Because("the root becomes /, the old one lies over it").Hinted("a root on an initramfs cannot be pivoted: use --no-pivot"),
	)
	if shared { // "." is the new root still, whose volumes stay shared
		b.add(
			op.Fchdir(op.At("oldroot")).Because("the old root, where mounts are shared with the host"),
			op.Propagation(".", unix.MS_SLAVE|unix.MS_REC).Because("unmounting the old root does not reach the host"),
		)
	}
	b.add(op.Umount2(".").Because("nothing of the host's file systems is left"))
}

// moveRoot is for --no-pivot. Where mounts are shared with the host, what happens to the old ones must not reach it: a second copy of the
// container's tree, at no place, keeps its volumes shared meanwhile.
func (b *builder) moveRoot(propagation uint64) {
	moved := root
	if propagation&unix.MS_SHARED != 0 {
		moved = "moved"
		b.add(
			op.OpenTree(op.At(root), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE).To(moved).
				Because("--no-pivot: the root, out of the reach of the next step"),
			op.Propagation("/", unix.MS_SLAVE|unix.MS_REC).Because("--no-pivot: what happens to the old mounts does not reach the host"),
		)
	}
	b.hideHostKernel()
	b.add(
		op.Fchdir(op.At(moved)).Because("into the container's root"),
		op.MoveMountTo(op.At(moved), op.AtCwd, "/").Because("--no-pivot: the root over the old one"),
		op.Chroot(".").Because("--no-pivot"),
	)
}

// hideHostKernel takes the host's procfs and sysfs out of the mount namespace: with --no-pivot the old root stays below, and a user namespace
// may mount a fresh procfs only where an unmasked one is. Where the kernel has locked them, an empty tmpfs covers them.
func (b *builder) hideHostKernel() {
	for _, p := range []string{"/proc", "/sys"} {
		cover, hidden := b.name("cover"), b.name("hidden")
		b.add(
			op.Umount2(p).Else(unix.EINVAL, cover).Then(hidden).Because("--no-pivot: the host's "+p+" does not stay below the root"),
			op.Mount("tmpfs", p, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0").Named(cover).
				Else(unix.ENOENT, "").Because("--no-pivot: the host's "+p+" is covered"),
		)
		b.here(hidden)
	}
}

// rootPropagation returns MS_* of linux.rootfsPropagation; the default is rslave, as with runc.
func rootPropagation(spec *specs.Spec) (uint64, error) {
	if spec.Linux == nil || spec.Linux.RootfsPropagation == "" {
		return unix.MS_SLAVE | unix.MS_REC, nil
	}
	o, err := rootfs.ParseOptions("bind", []string{spec.Linux.RootfsPropagation})
	if err != nil || o.Propagation == 0 {
		return 0, errdef.WithHint(errdef.Errorf(errdef.Invalid, "linux.rootfsPropagation: unknown value %q", spec.Linux.RootfsPropagation),
			"it is one of shared, slave, private, unbindable, each with or without a leading r")
	}
	p := o.Propagation
	if o.PropagationRec {
		p |= unix.MS_REC
	}
	return p, nil
}

func errorAt(list string, i int, err error) error {
	return errdef.WithHint(errdef.Errorf(errdef.KindOf(err), "%s[%d]: %w", list, i, err), errdef.Hint(err))
}

// protectPaths masks and write-protects linux.maskedPaths and linux.readonlyPaths. What does not exist is skipped.
func (b *builder) protectPaths() {
	if b.spec.Linux == nil {
		return
	}
	for _, p := range b.spec.Linux.ReadonlyPaths {
		skip := b.name("norp")
		t, m := b.slot("t"), b.slot("m")
		b.add(
			op.InRoot(root, clean(p), 0).To(t).Else(unix.ENOENT, skip).Else(unix.ENOTDIR, skip).Because("linux.readonlyPaths "+p),
			op.OpenTree(op.At(t), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE).To(m).Because("a mount of its own for "+p),
			op.MountSetattr(op.At(m), true, unix.MOUNT_ATTR_RDONLY, 0, 0).Because("read-only"),
			op.MoveMount(op.At(m), op.At(t)).Because("over "+p),
			op.Close(op.At(m)), op.Close(op.At(t)),
		)
		b.here(skip)
	}
	for _, p := range b.spec.Linux.MaskedPaths {
		b.maskPath(p)
	}
}

// maskPath covers a file with /dev/null and a directory with the empty one.
func (b *builder) maskPath(p string) {
	skip, file, over := b.name("nomask"), b.name("file"), b.name("over")
	t, m := b.slot("t"), b.slot("m")
	null := b.null()
	stat := b.scratch("statx", op.StatxSize)
	const clone = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH
	b.add(
		op.InRoot(root, clean(p), 0).To(t).Else(unix.ENOENT, skip).Else(unix.ENOTDIR, skip).Because("linux.maskedPaths "+p),
		op.Statx(op.At(t), stat).Because("file or directory"),
		op.Check(stat, statxWord(op.StatxMode), unix.S_IFMT<<statxShift(op.StatxMode), unix.S_IFDIR<<statxShift(op.StatxMode), 0).Else(op.AnyErrno, file),
		op.OpenTree(op.At("mask"), "", clone).To(m).Then(over).Because("a copy of the empty directory"),
		op.OpenTree(op.At(null), "", clone).To(m).Named(file).Because("a copy of /dev/null"),
		op.MoveMount(op.At(m), op.At(t)).Named(over).Because("masks "+p),
		op.Close(op.At(m)), op.Close(op.At(t)),
	)
	b.here(skip)
}

// Checks compare 8 aligned bytes; a smaller field of struct statx is compared by shifting the mask.
func statxWord(off int) int   { return off &^ 7 }
func statxShift(off int) uint { return uint(off&7) * 8 }

// null opens the host's /dev/null once, and makes sure that it is the device 1:3 (CVE-2025-31133).
func (b *builder) null() op.Slot {
	const s = op.Slot("null")
	if b.nullDev {
		return s
	}
	b.nullDev = true
	stat := b.scratch("statx", op.StatxSize)
	rdev := uint64(1) | 3<<32
	b.add(
		op.OpenTree(op.AtCwd, "/dev/null", unix.OPEN_TREE_CLOEXEC).To(s).Because("the host's /dev/null, to mask files with"),
		op.Statx(op.At(s), stat),
		op.Check(stat, op.StatxRdev, ^uint64(0), rdev, unix.ENODEV).Because("it is the null device 1:3").Hinted("the host's /dev/null is not the null device"),
	)
	return s
}
