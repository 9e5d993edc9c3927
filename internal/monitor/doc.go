// Package monitor is the parent of one container: it starts the program, keeps its output, hands it to who is attached, records how it ended, and starts it again if that was
// asked for. There is one process of it per container and no other of the engine's.
//
//	err := monitor.Main(runDirectory) // with descriptors from 3 on as package control says
//
// It links the runtime, so that nothing stands between: the container's first process is its child, and its exit status comes from waitid(2). It is born in a
// mount namespace of its own, in which the container's root is mounted, and which goes with it: a killed monitor leaves no mount behind.
//
// Order of things. The lock is taken first: from then on the monitor lives, for all to see. The engine waits for one Ready in a pipe, which says that the program runs or
// why not. When the program ends, the rest of the container is ended with it, the output is drained, and the end is recorded, on the disk, before anybody who waits is told.
//
// Output goes line by line to a driver: json-file, journald, syslog or none. A driver that is slow or away holds the program up for a bounded time or not at all, and what is lost is told in the log
// itself, in its place.
//
// Health checks are programs that the monitor runs in the container, one at a time, with a deadline and what is kept of their output bounded. They end with the run that they belong to; a paused container is not checked.
//
// A reader that stalls never holds the output up for ever: all who are attached have a second together for each piece of it, the one that started the container an hour, since there the user
// waits as for a pipe. Then they are let go of, and told that what they have is not all; the log has it.
//
// Programs that run in the container beside its own (exec) are the monitor's children, too: it records how they ended, has their terminals, and takes what they print when the engine that had
// their streams goes or is killed.
//
// What happens (start, die, oom, health_status ...) is added to the record of package event; that it cannot be is no reason to do anything to the container.
//
// If the monitor is killed, the container goes on without one: its output has no reader, and the next write ends it by SIGPIPE or not. The engine finds the lock
// free, ends what is left, and records an exit with status 137.
//
// Memory is what each container costs. Nothing is collected during a start, which is over before that brings anything; when the program has run for a second, and again half a minute after something has
// happened, free memory goes back to the kernel, and so do the pages of this program's code, which are the page cache's. Nothing is linked that is not needed.
package monitor
