// Package category hands out the pairs of SELinux categories that keep one container from the files of another, as in s0:c12,c345.
//
//	pool, err := category.Open("/var/lib/bulkhead/selinux")
//	level, err := pool.Draw(ctx, containerID)          // or pool.Claim(ctx, containerID, "s0:c1,c2") for one that the user has named
//	err = pool.Release(ctx, containerID, level)        // with the container
//	n, err := pool.Reclaim(ctx, func(id string) bool { ... })
//
// A pair is a file in one directory, which names the containers that have it. Changes are made under a flock of the directory and by rename, so any number of
// processes may draw and release at once, and one that is killed leaves at most a claim that names its container: Reclaim drops the claims of containers that are no
// more. Nothing here asks the kernel or reads a policy, so that the monitor of a container, which gives its pair back, links no more than this.
//
// Security: the directory must belong to who opens it and be closed to the writes of others; claims are bounded in size, and a line that is none names nobody.
package category
