// Package bundle reads an OCI bundle: a directory with a config.json and, mostly, the root file system that it names.
//
//	b, err := bundle.Load("/run/containerd/.../web")
//	if err != nil {
//		return err // errdef.Invalid; names the field: config.json: process.cwd: want an absolute path, found "tmp"
//	}
//	for _, w := range b.Warnings { ... }
//	use(b.Spec, b.Rootfs)
//
// Load opens config.json, decodes it (see package ocijson for what is JSON here), and checks every field that runtime-spec 1.3 defines
// for Linux, so that whatever comes later may rely on it: paths are absolute where the specification wants them so, numbers fit the kernel
// interface they are written to, names are known, nothing that becomes a C string holds a NUL byte, and settings that need a namespace
// have it. [Validate] is the check alone, for a spec that was made and not read. What is wrong is an error of one sentence that names the
// field, with a hint that says the way out; only the first is reported.
//
// What it does not do: it asks the kernel nothing but whether the files are there, and whether the network namespace that is joined is
// the caller's own. Whether this kernel has a feature, a mount's options make sense, or a seccomp filter compiles is found out by the
// packages that compile them.
//
// # Where runc differs
//
// runc 1.1 to 1.4 was the model for what must be accepted, because containerd, CRI-O and Podman write what runc takes. Where it only
// warns, so do we ([Warnings]): relative mount destinations, capabilities that the kernel does not know, personality flags. Beyond runc
// we refuse
//
//   - a path with a NUL, a namespace path that is relative, identifiers that the kernel would refuse in the middle of the start
//     (unmapped users, overlapping mappings, limits above their maximum, the reserved SCHED_ISO);
//   - the user and group 4294967295: it is (uid_t)-1, which setresuid(2) takes for "leave as it is", so such a process would stay root;
//   - sysctl names and values with anything but the few characters they are made of (CVE-2022-0811 smuggled a second sysctl in
//     with a '+');
//   - ".." in cgroupsPath.
//
// A config.json may be a symbolic link, as for runc, but must lead to a regular file of at most [MaxConfigSize] bytes: a FIFO or a
// device is refused without waiting for it. The root directory itself must not be a symbolic link, also as for runc.
//
// Sections of other platforms (solaris, windows, vm, zos, freebsd) are ignored.
//
// # Security
//
// The spec is the wish of whoever calls the runtime, with that caller's rights; checks here prevent mistakes and confusion, they
// do not make a hostile spec safe to run with more rights than its author has.
package bundle
