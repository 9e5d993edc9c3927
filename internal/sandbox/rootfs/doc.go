// Package rootfs turns the words of config.json about a container's file system into numbers: mount options into MOUNT_ATTR_* and
// fsconfig(2) parameters, destinations into clean paths, the devices and links that every container has.
//
// It is pure: no system call, no file, no clock; the plan compiler calls it and golden files show what came out.
//
//	o, err := rootfs.ParseOptions("tmpfs", []string{"nosuid", "strictatime", "mode=755", "size=65536k"})
//	// o.AttrSet = MOUNT_ATTR_NOSUID|MOUNT_ATTR_STRICTATIME, o.Data = mode=755, size=65536k
//
// Three layers of a mount are told apart, because the kernel's new interface does: attributes of the mount (fsmount(2),
// mount_setattr(2)), flags of the superblock (fsconfig(2), FSCONFIG_SET_FLAG) and parameters of the file system (FSCONFIG_SET_STRING).
// The MS_* word of classic mount(2), which mixes them, is given as well for kernels and file systems that need it.
//
// Security: an option that is not known is handed to the file system, which refuses what it does not know; for a bind mount, where the
// kernel would drop it in silence, it is listed in Options.Ignored so that the caller can say so. A bind mount only changes the
// attributes that are named, so nosuid, nodev and noexec of the source survive (classic remounting would drop them).
package rootfs
