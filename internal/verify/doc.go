// Package verify asks the kernel whether a running container is confined as it was declared, and says where it is not.
//
//	facts, err := verify.Read(declared) // reads /proc, cgroup files, mount tables, namespaces; changes nothing
//	report := verify.Compare(declared, facts)
//	for _, c := range report.Differences() { ... c.What, c.Declared, c.Found, c.Hint }
//
// What was declared is the configuration that the runtime kept at the create, not what the engine would make today. What is found is read at that moment from the
// kernel: of all processes that are in the container's cgroup or in one of its own namespaces, whoever put them there, so that a process that somebody brought in
// from outside is seen as well as one that left. Nothing is taken from a file that the container or its monitor writes.
//
// Reading and comparing are apart. Compare is pure: it has no idea of /proc, and its tests are tables.
//
// A check is ok, differs or unknown. Less than declared is no difference: a program that dropped a capability, stepped down from root, lowered its limits or added a
// filter of its own is confined more than was asked for. Nor is what a container may do itself: who may mount (CAP_SYS_ADMIN) makes mounts, and these are told
// as unknown, since nobody can say whose they are. Unknown is also what cannot be read from outside: Landlock's rules, which calls a seccomp filter refuses.
//
// Security. Paths inside are resolved in the container's root with openat2(2) to descriptors that open nothing (O_PATH), so that neither a link nor a device nor a
// FIFO of the container leads or stops the reader; what is read is bounded. A container that is hostile can at most make verify say more differences. Who is root on the host
// and wants to deceive can: verify finds what was changed, not who may change it.
package verify
