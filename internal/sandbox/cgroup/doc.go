// Package cgroup makes the control groups of a container, limits what is in them, watches, freezes, kills and removes them.
//
// It knows the four layouts that hosts have: v1 (a hierarchy for each controller or pair of controllers), v2 (one hierarchy), hybrid
// (v1 controllers and an empty v2 hierarchy beside them) and none. It is not a library of cgroup file formats: it takes the resources of
// the OCI runtime specification and hands out descriptors.
//
//	layout, err := cgroup.Detect()
//	group, err := layout.Open(spec.Linux.CgroupsPath, id, cgroup.Options{})
//	err = group.Create(spec.Linux.Resources) // directories made, limits set, devices filtered; all undone if it cannot be done
//	fd, err := group.DirFD()                 // for CLONE_INTO_CGROUP
//	fds, err := group.ProcsFDs()             // for the child to write "0" into, before anything else
//	...
//	err = group.Kill(ctx)
//	err = group.Delete(ctx)
//
// What is asked for and cannot be had is an error that names the field and the file, never silence. A field that is zero asks for
// nothing where runc reads it so (shares, quota, period, memory limits), and -1 is "no limit". Two exceptions, both of the
// specification or the field: linux.resources.memory.kernel is accepted and ignored (deprecated since Linux 5.4; Ignored tells), and a
// rootless caller gets no device filter, since the kernel lets nobody without CAP_MKNOD in the first user namespace make a device.
//
// Joining. A v1 controller counts threads, and moving a process by its number into cgroup.procs makes the kernel wait for an RCU grace
// period: 6 to 20 ms measured. A process with one thread that writes "0" into `tasks` moves itself without that wait (Linux 5.5, commit
// 9a3284fad42f), in 10 µs per hierarchy. ProcsFDs therefore gives `tasks` where it can, and only a process with a single thread may use
// them. For v2 there is CLONE_INTO_CGROUP (Linux 5.7), which waits for nothing either; DirFD gives its descriptor, in hybrid mode too.
//
// Security. No path is used twice: a hierarchy's mount point is opened and its file system checked by its magic number, every step below
// goes through descriptors with openat2(RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS|RESOLVE_NO_MAGICLINKS|RESOLVE_NO_XDEV), and names with "..",
// empty components or NUL are refused. Devices are denied unless allowed, also when the resources say nothing of devices. A process that
// is to be killed is frozen first or held by a pidfd, so that a number that was used again is never signalled.
//
// A Group is not safe for concurrent use. It holds descriptors until Close.
package cgroup
