package rootfs

import (
	"path"
	"strings"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
)

const (
	pathMax = 4096 // PATH_MAX with the NUL, linux/limits.h
	nameMax = 255  // NAME_MAX
)

// CleanDestination returns a destination of config.json as a clean path from the container's root, "/" for the root itself. A relative
// one is taken from the root (runtime-spec config.md, mounts.destination; deprecated there). ".." is resolved by text and never leaves
// the root; links are resolved later, by the kernel, inside the root.
//
// Errors are of kind Invalid: empty, a NUL byte, longer than the kernel's PATH_MAX or NAME_MAX.
func CleanDestination(destination string) (string, error) {
	switch {
	case destination == "":
		return "", errdef.Errorf(errdef.Invalid, "path: empty")
	case strings.IndexByte(destination, 0) >= 0:
		return "", errdef.Errorf(errdef.Invalid, "path %q: NUL byte", destination)
	case len(destination) >= pathMax:
		return "", errdef.Errorf(errdef.Invalid, "path %.64q...: longer than %d bytes", destination, pathMax-1)
	}
	clean := path.Clean("/" + destination)
	for rest := clean[1:]; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if len(name) > nameMax {
			return "", errdef.Errorf(errdef.Invalid, "path %.64q...: a name is longer than %d bytes", clean, nameMax)
		}
	}
	return clean, nil
}

// Under reports whether the clean path p is dir or lies below it.
func Under(p, dir string) bool {
	return p == dir || dir == "/" || len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// The files that lxcfs and a few orchestrators emulate; runc and crun let the same through.
var procOverlays = [...]string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/slabinfo", "/proc/stat", "/proc/swaps",
	"/proc/sys/crypto/fips_enabled", "/proc/sys/kernel/ns_last_pid", "/proc/uptime",
}

// CheckProc says whether a mount of the kind may cover the clean destination, as far as /proc goes. On /proc itself only a new procfs,
// or a bind mount, whose source the caller must verify to be the root of a procfs (PROC_SUPER_MAGIC, inode 1); below it only bind
// mounts of the few files that are known to be emulated. Anything else could redirect what the runtime, or a security module, writes
// through procfs (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881). Errors are of kind Invalid.
func CheckProc(kind Kind, bind bool, destination string) error {
	if !Under(destination, "/proc") {
		return nil
	}
	if destination == "/proc" {
		if bind || kind == Proc {
			return nil
		}
		return errdef.Errorf(errdef.Invalid, "mount on /proc: only a proc file system may be there")
	}
	for _, allowed := range procOverlays {
		if destination == allowed && bind {
			return nil
		}
	}
	return errdef.WithHint(errdef.Errorf(errdef.Invalid, "mount on %q: inside /proc", destination),
		"only single files that are commonly emulated, such as /proc/meminfo, can be bind-mounted inside /proc")
}
