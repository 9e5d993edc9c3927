package plan

import (
	"slices"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"golang.org/x/sys/unix"
)

// mountLabel is linux.mountLabel for a new file system with these options, "" if there is none or they give a label themselves.
func (b *builder) mountLabel(data []rootfs.Param) string {
	l := b.spec.Linux
	if l == nil || slices.ContainsFunc(data, func(p rootfs.Param) bool { return lsm.IsContext(p.Key) }) {
		return ""
	}
	return l.MountLabel
}

// context gives a new file system the container's label as a parameter.
func (b *builder) context(fs op.Slot, fstype string, data []rootfs.Param) {
	if label := b.mountLabel(data); label != "" && lsm.TakesContext(fstype) {
		b.add(op.FsString(fs, "context", label).Because("linux.mountLabel"))
	}
}

// legacyContext is the text of mount(2)'s options with the label. The quotes are for the comma between categories.
func (b *builder) legacyContext(fstype string, o *rootfs.Options) string {
	label := b.mountLabel(o.Data)
	if label == "" || !lsm.TakesContext(fstype) {
		return o.LegacyData
	}
	return o.LegacyData + `,context="` + label + `"`
}

// rootLabel labels the root of a new mount where that is no parameter. A file system that takes no labels has the policy's for all its files. In a user
// namespace the root of mqueue belongs to who made the namespaces, root of the host, and keeps its label: the policy then lets a confined program
// make no queue.
func (b *builder) rootLabel(mnt op.Slot, fstype string) {
	label := b.mountLabel(nil)
	if label == "" || !lsm.TakesRootLabel(fstype) {
		return
	}
	d := b.slot("d")
	set := op.Fsetxattr(op.At(d), lsm.RootLabel, label).Else(unix.EOPNOTSUPP, "").Because("linux.mountLabel").
		Hinted("the policy must have the label, and let the runtime relabel to it")
	if b.userns {
		set = set.Else(unix.EPERM, "")
	}
	b.add(
		op.Openat(op.At(mnt), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0).To(d).Because("linux.mountLabel: the root of "+fstype),
		set,
		op.Close(op.At(d)),
	)
}
