package volume

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"golang.org/x/sys/unix"
)

// isBind reports whether a volume is a directory of the host.
func isBind(o map[string]string) bool {
	return slices.ContainsFunc(strings.Split(o["o"], ","), func(w string) bool { return w == "bind" || w == "rbind" })
}

// isTmpfs reports whether a volume is in memory.
func isTmpfs(o map[string]string) bool { return o["type"] == "tmpfs" && !isBind(o) }

// tmpfsOptions are those of tmpfs(5) that are passed on; the others are flags of the mount.
var tmpfsOptions = []string{"size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "huge"}

var mountFlags = map[string]uintptr{
	"rw": 0, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC, "noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
}

// checkOptions refuses what cannot be.
func checkOptions(o map[string]string) error {
	for key := range o {
		if !slices.Contains([]string{"type", "o", "device"}, key) {
			err := errdef.Errorf(errdef.Invalid, "driver option %.64q: the driver %s has no such one", key, Driver)
			if key == "size" {
				err = errdef.Errorf(errdef.Unsupported, "driver option size: a volume in a directory has no limit of its own")
				return errdef.WithHint(err, "type=tmpfs with o=size=...")
			}
			return errdef.WithHint(err, "type, o, device")
		}
	}
	switch kind := o["type"]; {
	case len(o) == 0:
		return nil
	case isBind(o):
		if kind != "" && kind != "none" && kind != "bind" {
			return errdef.Errorf(errdef.Invalid, "driver option type=%.64s: a bind mount has type=none", kind)
		}
		return checkBind(o)
	case kind == "tmpfs":
		_, _, err := tmpfs(o["o"])
		return err
	case kind == "":
		return errdef.WithHint(errdef.Errorf(errdef.Invalid, "driver options: there is no type"), "type=none with o=bind and device=/PATH, or type=tmpfs")
	case strings.HasPrefix(kind, "nfs") || kind == "cifs" || kind == "smb3":
		err := errdef.Errorf(errdef.Unsupported, "driver option type=%.64s: containers see volumes with ids of their own, which a network file system cannot show", kind)
		return errdef.WithHint(err, "mount it on the host, and give it with -v /PATH:/PATH:noidmap to a container with --userns host")
	}
	err := errdef.Errorf(errdef.Unsupported, "driver option type=%.64s: the engine mounts no disks", o["type"])
	return errdef.WithHint(err, "mount it on the host, and make a volume of the directory: type=none, o=bind, device=/PATH")
}

func checkBind(o map[string]string) error {
	device := o["device"]
	if !filepath.IsAbs(device) || filepath.Clean(device) != device {
		return errdef.Errorf(errdef.Invalid, "driver option device=%.256q: a bind mount wants an absolute path", device)
	}
	for _, w := range strings.Split(o["o"], ",") {
		if w != "bind" && w != "rbind" && w != "rw" && w != "" {
			err := errdef.Errorf(errdef.Unsupported, "driver option o=%.64s: it is not for a bind mount", w)
			return errdef.WithHint(err, "say it where the volume is used: -v NAME:/PATH:ro")
		}
	}
	return nil
}

// tmpfs splits the value of o into flags and data.
func tmpfs(text string) (flags uintptr, data string, err error) {
	flags = unix.MS_NOSUID | unix.MS_NODEV
	var rest []string
	for _, w := range strings.Split(text, ",") {
		key, _, valued := strings.Cut(w, "=")
		flag, known := mountFlags[w]
		switch {
		case w == "":
		case known:
			flags |= flag
		case valued && slices.Contains(tmpfsOptions, key):
			rest = append(rest, w)
		default:
			return 0, "", errdef.WithHint(errdef.Errorf(errdef.Unsupported, "driver option o=%.64s: it is not for a tmpfs", w), strings.Join(tmpfsOptions, "=, ")+"=")
		}
	}
	return flags, strings.Join(rest, ","), nil
}
