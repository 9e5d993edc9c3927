// Package confine starts the program that unpacks layers as a hardened container of this engine's own core.
//
//	err := confine.Start(&confine.Options{Box: dir, Target: layers})     // returns when the worker has ended
//
// What the worker has: a root file system that holds nothing but its program, read-only, and the target directory; a user namespace with no more
// capabilities than making files and setting owners, modes and attributes of files takes, over that directory's files; process, network, IPC, UTS, cgroup and mount
// namespaces of its own; the system calls of Calls; Landlock rules where the kernel has Landlock; bounded memory, descriptors and core size; and the
// socket to the engine. It has no /proc, no /sys and no /dev.
//
// Ids: for root each id that this process has stands for itself, because images use more of them than a container is given (Docker unpacks any); for
// another user it is his own id as root and his ranges of /etc/subuid and /etc/subgid from 1 on.
//
// This process, the starter, stays as the worker's parent. It ends the worker when its own standard input is closed, which also happens when the engine
// dies, whatever the worker does or ignores.
package confine
