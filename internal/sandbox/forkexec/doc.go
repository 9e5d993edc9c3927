// Package forkexec starts a sandbox: it links a list of ops into a tiny program and runs it as a new process, blindly.
//
//	b, err := forkexec.Begin(unix.CLONE_NEWPID, -1, 3, 512)             // the kernel makes the namespaces, on a thread of its own
//	p, err := b.Run(&forkexec.Command{Ops: ops, Mems: mems, Files: fds}) // meanwhile the list was compiled
//	ev, err := p.Next()                                                  // a barrier, a failure with its step, or the end: execve
//
// What happens. The ops become a table of raw system calls with all strings and structures they point to. Table, data, and a machine of
// about 300 bytes that walks the table are written as a static ELF executable into a memfd, which is sealed. The child is made by
// clone3 in the caller's memory, runs five instructions of the same machine (wait, mark descriptors close-on-exec, execute the memfd), and
// from then on is a process of a few pages that holds nothing of the runtime. The descriptors that the list names come over the socket.
//
// Why a program of its own. Whatever in the container looks at /proc/PID/exe or executes /proc/self/exe finds a sealed memfd that nobody
// can write, not the runtime's binary on the host (CVE-2019-5736); there is no Go heap, no key, no log descriptor in the memory that
// a hostile process in a joined pid namespace could read; a created container that waits for its start costs some 40 KiB; and the
// parent pays for no copy of its page tables. It costs one execve of four pages, about 0.1 ms.
//
// The child talks to the parent over one SEQPACKET socket (op File op.SyncFile) in messages of 24 bytes: kind, and two values. A failing
// instruction sends its step and errno. When the list ends in execve the socket closes with it, and the parent reads end of file.
//
// Code that runs between clone and execve is machine_*.s alone. It uses no stack, no lock, no allocation and no thread-local storage;
// the child that runs it in the caller's memory has all signals blocked and its own signal table (CLONE_CLEAR_SIGHAND), so that no
// Go signal handler can run in it. This package holds the only unsafe code of the isolation core.
package forkexec
