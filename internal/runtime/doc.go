// Package runtime is the life of a container, from a bundle to its last trace: create, start, state, kill, delete, run, exec and the rest
// of what an OCI runtime is asked to do.
//
//	r := &runtime.Runtime{Root: "/run/bulkhead/runtime"}
//	err := r.Create(ctx, "web", &runtime.CreateOptions{Bundle: "/srv/web"})  // confined, and waiting
//	err = r.Start(ctx, "web")                                               // the user's program runs
//	err = r.Kill(ctx, "web", unix.SIGTERM)
//	err = r.Delete(ctx, "web", false)
//
// It decides the order of things and what happens when one of them fails; the things themselves are done below it: package launch starts
// processes, cgroup limits and counts them, state remembers them, bundle says what is wanted. Nothing here keeps truth in memory: every
// call reads the record, asks the kernel, and acts. There is no daemon, and any number of calls may be made at once.
//
// # Order, and crashes
//
// Create writes down what it is about to make before it makes it, so that a Delete or Create after a crash finds everything: the record
// (with the cgroup's paths), then the cgroup, then the process, then the record with the process. Delete takes away in the opposite
// order, with the record last. A process is known by pid and start time and signalled through a pidfd, so that a pid used again
// is left alone.
//
// # Locks
//
// Create, Start, Delete and Update hold the container's lock alone, Pause and Resume share it, and so does Exec until its process runs. State,
// List, Kill, PIDs and Events take none, so that a hook may ask for the state of the container whose create it is part of, and a container whose create
// hangs can still be killed. Waiting for a lock ends with the context, or after LockTimeout.
//
// # Hooks
//
// prestart and createRuntime run when the namespaces exist and before the root is pivoted; createContainer and startContainer are run by
// package launch; poststart follows Start. If one of these fails, so does the command, and the container is stopped: a create leaves
// nothing behind (poststop hooks included), a start leaves a stopped container. poststop hooks follow Delete; their failure is a warning.
// This is what runtime.md of the runtime specification, section Lifecycle, asks for.
//
// # Security
//
// The package runs with the rights of whoever calls it and adds none. The bundle is read once: everything after Create works from the copy
// of the configuration in the state directory. In the foreground the container gets none of the caller's descriptors but pipes,
// sockets and /dev/null: a terminal or a file is put behind a pipe of our own, because the holder of a terminal can type into it (TIOCSTI),
// and the holder of a file can open it again for writing through /proc/self/fd.
package runtime
