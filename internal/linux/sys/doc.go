// Package sys holds what golang.org/x/sys/unix lacks of the kernel's interface, for the parent process: struct layouts, thin wrappers
// over calls that x/sys does not have, and the names of constants for printing.
//
// It decides nothing and caches nothing but the kernel's version. Calls that x/sys wraps well are not repeated here.
//
//	sys.MountAttrString(unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID) // "MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID"
//
// The numbers are those of the generic table and of amd64; constants that differ on an architecture come from x/sys. Wrappers retry
// EINTR and return the bare errno, so that the caller's text names the step and the object.
package sys
