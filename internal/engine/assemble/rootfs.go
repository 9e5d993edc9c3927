package assemble

import (
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/docker/go-units"
)

// A Rootfs is a directory of the host that is a container's root instead of an image.
type Rootfs struct {
	Path    string // absolute
	Overlay bool   `json:",omitempty"` // what the container writes goes into a layer of its own
	IDs     *IDMap `json:",omitempty"` // idmap=: other ids than the container's
}

// ParseRootfs reads Podman's --rootfs: PATH[:O][:idmap[=...]]. The directory is always shown with the container's ids, so idmap alone changes nothing. nil: "" was given.
func ParseRootfs(text string) (*Rootfs, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(text, ":")
	r := &Rootfs{Path: filepath.Clean(parts[0])}
	if !filepath.IsAbs(parts[0]) {
		return nil, errdef.Errorf(errdef.Invalid, "rootfs %.256q: wants an absolute path", parts[0])
	}
	for _, o := range parts[1:] {
		value, custom := strings.CutPrefix(o, "idmap=")
		switch {
		case o == "O":
			r.Overlay = true
		case o == "idmap":
		case custom:
			m, err := idMap(value)
			if err != nil {
				return nil, errdef.Errorf(errdef.Invalid, "rootfs %.256q: idmap: %w", text, err)
			}
			r.IDs = m
		default:
			return nil, errdef.WithHint(errdef.Errorf(errdef.Invalid, "rootfs %.256q: there is no option %.64q", text, o), "PATH:O, PATH:idmap")
		}
	}
	return r, nil
}

// Dangerous reports whether a directory is the host itself for whoever may write there.
func Dangerous(path string) bool { return slices.Contains(dangerous, path) }

// StorageLimits reads --storage-opt: size= and inodes=, of what a container writes into its layer; 0 is no limit.
func StorageLimits(o map[string]string) (bytes, files uint64, err error) {
	for _, key := range keys(o) {
		switch key {
		case "size":
			n, err := units.RAMInBytes(o[key])
			if err != nil || n <= 0 {
				return 0, 0, errdef.Errorf(errdef.Invalid, "storage-opt size=%.64s: wants a number of bytes, as 1g", o[key])
			}
			bytes = uint64(n)
		case "inodes":
			n, err := strconv.ParseUint(o[key], 10, 64)
			if err != nil || n == 0 || n > math.MaxInt64 {
				return 0, 0, errdef.Errorf(errdef.Invalid, "storage-opt inodes=%.64s: wants a number of files", o[key])
			}
			files = n
		default:
			return 0, 0, errdef.WithHint(errdef.Errorf(errdef.Unsupported, "storage-opt %.64s: there is no such option", key), "size=, inodes=")
		}
	}
	return bytes, files, nil
}
