package verify

import (
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/linux/procfs"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/lsm"
	"github.com/bulkhead-engine/bulkhead/internal/sandbox/rootfs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// nestedLabels reports whether the inside may label files and processes itself: it sees selinuxfs.
func (c *comparison) nestedLabels() bool {
	return slices.ContainsFunc(c.d.Spec.Mounts, func(m specs.Mount) bool { return m.Source == "/sys/fs/selinux" })
}

// mountLabel compares the label of all files in a mount with the one that was declared. A mount that has a label of its own in its options is not given this one.
func (c *comparison) mountLabel(at string, o *rootfs.Options, found *procfs.Mount) {
	want := c.linux().MountLabel
	if !c.f.SELinux || want == "" || !lsm.TakesContext(found.Type) || o != nil && slices.ContainsFunc(o.Data, func(p rootfs.Param) bool { return lsm.IsContext(p.Key) }) {
		return
	}
	have := contextOf(found.Super)
	text := have
	if have == "" {
		text = "none for all files"
	}
	c.check("modules", at+" SELinux label of files", want, text, have == want).hint(hintMount)
}

// contextOf is the value of context= among the options of a file system; the kernel puts one with a comma into quotes.
func contextOf(options string) string {
	for rest := options; rest != ""; {
		value, is := strings.CutPrefix(rest, "context=")
		if is && strings.HasPrefix(value, `"`) {
			label, _, _ := strings.Cut(value[1:], `"`)
			return label
		}
		if is {
			label, _, _ := strings.Cut(value, ",")
			return label
		}
		_, after, quoted := strings.Cut(rest, `"`)
		comma := strings.IndexByte(rest, ',')
		if quoted && (comma < 0 || len(rest)-len(after)-1 < comma) { // what stands in quotes is not looked at
			_, rest, _ = strings.Cut(after, `"`)
			rest = strings.TrimPrefix(rest, ",")
			continue
		}
		if comma < 0 {
			break
		}
		rest = rest[comma+1:]
	}
	return ""
}
