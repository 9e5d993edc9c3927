package lsm

// RootLabel is the attribute that holds a file's SELinux label.
const RootLabel = "security.selinux"

// TakesRootLabel reports whether a new file system of the type is labelled after mounting, by the attribute RootLabel of its root: the kernel makes
// that of mqueue with the IPC namespace, when nobody can give options yet.
func TakesRootLabel(fstype string) bool { return fstype == "mqueue" }

// IsContext reports whether a mount option gives a label itself, as those of mounts with label=nested do: linux.mountLabel is not put on such a mount.
func IsContext(option string) bool {
	switch option {
	case "context", "rootcontext", "fscontext", "defcontext":
		return true
	}
	return false
}
