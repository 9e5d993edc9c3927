// Package plan compiles an OCI config.json and facts about the host into the list of system calls that makes the container.
//
//	p, err := plan.Compile(&plan.Input{Spec: spec, Bundle: "/bundle", ID: "c1", Facts: facts})
//	for _, o := range p.Ops { fmt.Println(o) }
//
// The compiler is pure: it makes no system call and reads no file, so the same input gives the same list, golden files show it, and it
// runs without root. What it must know of the host (cgroup layout, which bind sources are directories, limits) stands in Facts, which
// package launch gathers. What the list needs from the parent, descriptors above all, stands in Plan.Files.
//
// The order of a list, and why it is this one:
//
//  1. With the host's rights: oom score, joining cgroups, raising limits, joining namespaces that belong to others.
//  2. Namespaces. With a new user namespace everything after this has no right on the host any more. The ids are mapped before
//     anything of the image is touched (CVE-2023-25809).
//  3. The root file system, resolved once to a descriptor; every mount resolved below it with openat2(RESOLVE_IN_ROOT), mounted through
//     descriptors; devices, masked and read-only paths.
//  4. pivot_root; the old root is gone before any program of the image runs.
//  5. The process: terminal, working directory (through a descriptor, so that it lies inside the root: CVE-2024-21626), ids,
//     capabilities, no_new_privs.
//  6. Waiting for `start`, then close-on-exec for all descriptors but those to preserve, the seccomp filter as the last call
//     before execve.
//
// A path inside the container's root never appears in a call without a descriptor of that root beside it.
package plan
