package plan

import (
	"path"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/sandbox/op"
	"golang.org/x/sys/unix"
)

const root = op.Slot("root")

// clean makes a path of the spec relative to the root: no leading slash, no dot elements. "" is the root itself.
func clean(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// target resolves a path below the root to a descriptor in a new slot, and makes what is missing on the way: directories, and at the end
// a directory or, for the mount of a file, an empty file. One call when it is there already. Nothing is ever made through a path of
// more than one component, and a component that is a link is resolved inside the root only (CVE-2021-30465, CVE-2024-45310).
func (b *builder) target(p string, dir bool, why string) op.Slot {
	rel := clean(p)
	t := b.slot("t")
	if rel == "" {
		b.add(op.InRoot(root, ".", 0).To(t).Because(why))
		return t
	}
	have := b.name("have")
	b.add(op.InRoot(root, rel, 0).To(t).Else(unix.ENOENT, "").Then(have).Because(why))
	parts := strings.Split(rel, "/")
	parent := op.At(root)
	var passed []op.Op
	for i, part := range parts {
		last := i == len(parts)-1
		if last && !dir {
			b.add(op.Mknodat(parent, part, unix.S_IFREG|0o644, 0).Else(unix.EEXIST, "").Because("an empty file to mount on").
				Hinted("the root file system is read-only or not the mapped root's: make " + p + " in the image"))
			break
		}
		b.add(op.Mkdirat(parent, part, 0o755).Else(unix.EEXIST, "").Because("a directory to mount on").
			Hinted("the root file system is read-only or not the mapped root's: make " + p + " in the image"))
		if !last {
			d := b.slot("d")
			b.add(op.InRoot(root, strings.Join(parts[:i+1], "/"), unix.O_DIRECTORY).To(d).Because("the directory on the way to " + p))
			parent = op.At(d)
			passed = append(passed, op.Close(parent))
		}
	}
	b.add(op.InRoot(root, rel, 0).To(t).Because(why).Hinted(p + " is a link to nothing inside the image: remove it or make what it names"))
	b.add(passed...)
	b.here(have)
	return t
}

// notProc fails when the descriptor lies on a procfs: what stands there is how the runtime and the kernel talk about the container,
// and a mount over it would redirect that (CVE-2019-16884, CVE-2025-31133).
func (b *builder) notProc(t op.Slot, p string) {
	const procMagic = 0x9fa0
	ok := b.name("noproc")
	buf := b.scratch("statfs", op.StatfsSize)
	b.add(
		op.Fstatfs(op.At(t), buf).Because("is "+p+" on a procfs"),
		op.Check(buf, 0, ^uint64(0), procMagic, 0).Else(op.AnyErrno, ok),
		op.Check("zero", 0, ^uint64(0), 1, unix.EPERM).Because("mount on "+p+", which is inside /proc").
			Hinted("a mount over /proc would redirect what the kernel says of the container: mount it elsewhere"),
	)
	b.here(ok)
}
