package selinux

import (
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/linux/sys"
	policy "github.com/opencontainers/selinux/go-selinux"
	"golang.org/x/sys/unix"
)

// Set gives one file of the engine's own, which a container will see, a label; a link itself. An empty label changes nothing, and on a file system that keeps no labels its
// one label decides.
func Set(path, label string) error {
	if label == "" || Of(path) == label {
		return nil
	}
	err := sys.Retry(func() error { return unix.Lsetxattr(path, attribute, []byte(label), 0) })
	if err != nil && err != unix.EOPNOTSUPP {
		return errdef.Errorf(kindOf(err), "label %q: %w", path, err)
	}
	return nil
}

// Of is the label of a file, or of a link itself; "" where there is none or none can be read.
func Of(path string) string {
	buf := make([]byte, maxLabel)
	n, err := unix.Lgetxattr(path, attribute, buf)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(buf[:n]), "\x00")
}

// Shared is the label of files for the containers of a mount label and all others: without categories.
func Shared(mount string) (string, error) { return (&Volume{Label: mount, Shared: true}).label() }

// Common is the policy's label for files that all containers may use; "" without SELinux.
func Common() (string, error) {
	if Current() == Disabled {
		return "", nil
	}
	_, file, err := defaults(Plain)
	if err != nil {
		return "", err
	}
	return Shared(file.String())
}

// Layers is the policy's label for the layers of images, which all containers read and none writes: one for that, as container_ro_file_t, or else Common.
func Layers() (string, error) {
	if Current() == Disabled {
		return "", nil
	}
	if l := policy.ROFileLabel(); l != "" {
		return l, nil
	}
	return Common()
}

// SameType reports whether two labels have one type and one level; users and roles of files matter to no container.
func SameType(a, b string) bool {
	x, err := parseLabel(a)
	if err != nil {
		return false
	}
	y, err := parseLabel(b)
	return err == nil && x.kind == y.kind && x.level == y.level
}

// UsableType reports whether a label's type is one that the policy has for files of containers: mount is a container's own mount label.
func UsableType(label, mount string) bool {
	l, err := parseLabel(label)
	if err != nil {
		return false
	}
	if m, err := parseLabel(mount); err == nil && l.kind == m.kind {
		return true
	}
	ro, err := parseLabel(policy.ROFileLabel())
	return err == nil && l.kind == ro.kind
}
