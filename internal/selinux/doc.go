// Package selinux gives containers their SELinux labels: which label a process and its files get, how no two containers get the same
// categories, and how a volume is labelled for one container or for all.
//
// What SELinux does: a process of type container_t may touch files of type container_file_t and next to nothing else of the host, and
// the categories of the level, such as s0:c12,c345, keep one container from the files of another (multi-category security, MCS). The labels come
// from the policy (lxc_contexts, selinux_lxc_contexts(5)); Bulkhead brings no policy of its own.
//
//	options, err := selinux.ParseOptions([]string{"type:container_init_t"})      // the values of --security-opt label=
//	pool, err := selinux.OpenPool("/var/lib/bulkhead/selinux")
//	labels, err := pool.Allocate(ctx, containerID, options)
//	spec.Process.SelinuxLabel, spec.Linux.MountLabel = labels.Process, labels.Mount
//	done, err := selinux.Relabel(ctx, "/srv/data", selinux.Volume{Label: labels.Mount})         // -v /srv/data:/data:Z
//	err = pool.Release(ctx, containerID, labels.Level)                          // with the container
//
// The runtime writes the process label to attr/exec and attr/keycreate and the mount label into mount options (package sandbox/lsm); this
// package decides what these labels are. It links github.com/opencontainers/selinux, so that labels come out as Docker's and Podman's do,
// but for two things that the library does within one process and by paths: unique categories and relabelling.
//
// # Categories
//
// Who has which pair is kept by package category, in one directory, by any number of processes at once. The directory belongs on a disk that outlives a reboot, as the
// labels of volumes do, and all engine roots of a host share one, since the kernel's categories are one space. Other engines (Podman, CRI-O) draw from it as well, and nobody
// can see their reservations: with one foreign container, the chance that a new one meets its pair is 1 in 523 775.
//
// # Relabelling
//
// Relabel walks a tree by descriptors: no path is resolved twice, no symbolic link is followed, no mount below the root is entered, and what is moved while the
// walk goes on is labelled where it was found or not at all. Directories that a host needs are refused, under whatever name they come.
//
// Security: a label that was asked for on a host without SELinux is an error, and so is one that the policy does not know. Only the zero Options
// and label=disable need no SELinux. Permissive mode is not hidden: Current tells it, and the engine says it.
package selinux
