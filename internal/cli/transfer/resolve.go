package transfer

import (
	"path"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

// What is known of the place that something is copied to.
type Place struct {
	Exists, Dir bool
}

// ContentOnly reports whether a path means what is in a directory, not the directory: it ends with /. (or is . itself).
func ContentOnly(p string) bool {
	return p == "." || strings.HasSuffix(p, "/.")
}

// ends reports whether a path can be a directory only.
func ends(p string) bool { return strings.HasSuffix(p, "/") || ContentOnly(p) }

// Resolve returns the directory that the archive is unpacked in and the name of its top, for a source that is a directory or not and a destination as written.
// base is the source's own name.
func Resolve(source, base string, dir bool, dest string, at Place) (parent, name string, err error) {
	clean := path.Clean(dest)
	switch {
	case !dir && ends(source):
		return "", "", errdef.Errorf(errdef.Invalid, "%q: it is no directory", source)
	case at.Exists && at.Dir && dir && ContentOnly(source):
		return clean, ".", nil
	case at.Exists && at.Dir:
		return clean, base, nil
	case at.Exists && dir:
		return "", "", errdef.Errorf(errdef.Invalid, "%q: a directory cannot be copied over a file", dest)
	case at.Exists && ends(dest):
		return "", "", errdef.Errorf(errdef.Invalid, "%q: it is no directory", dest)
	case !at.Exists && !dir && ends(dest):
		return "", "", errdef.WithHint(errdef.Errorf(errdef.NotFound, "%q: the directory is not there", dest), "make it first")
	}
	return path.Dir(clean), path.Base(clean), nil
}
