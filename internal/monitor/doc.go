// Package monitor is the parent of one container: it starts the program, keeps its output, hands it to who is attached, records how it ended, and starts it again if that was
// asked for. There is one process of it per container and no other of the engine's.
//
//	err := monitor.Main(runDirectory) // with descriptors 3 to 6 as package control says
//
// It links the runtime, so that nothing stands between: the container's first process is its child, and its exit status comes from waitid(2). It is born in a
// mount namespace of its own, in which the container's root is mounted, and which goes with it: a killed monitor leaves no mount behind.
//
// Order of things. The lock is taken first: from then on the monitor lives, for all to see. The engine waits for one Ready in a pipe, which says that the program runs or
// why not. When the program ends, the rest of the container is ended with it, the output is drained, and the end is recorded, on the disk, before anybody who waits is told.
//
// If the monitor is killed, the container goes on without one: its output has no reader, and the next write ends it by SIGPIPE or not. The engine finds the lock
// free, ends what is left, and records an exit with status 137.
//
// Memory is what each container costs, so the collector is told to be tight, and nothing is linked that is not needed.
package monitor
