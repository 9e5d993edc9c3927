// Package procfs reads and writes the host's procfs from the runtime's own processes, through one verified handle.
//
// /proc is a directory like any other: it can be mounted over, in whole or in parts, and a write that lands on another file than the
// one meant has broken runtimes before (CVE-2019-16884, CVE-2025-52881). The handle is therefore checked once: file system magic,
// inode of a procfs root; and everything below it is opened with openat2(2), RESOLVE_BENEATH, NO_XDEV (nothing may be mounted over a
// part of it) and NO_MAGICLINKS (no jump out through /proc/PID/fd). Only OpenLink follows the one magic link that it is asked for.
//
//	proc, err := procfs.Host()
//	st, err := proc.Stat(pid)
//	fmt.Println(st.StartTime)
//
// It is for the runtime's own view. What a container sees in its procfs is prepared by the plan, inside the container.
// Parsers take bytes, so that they are tested and fuzzed without a process; they tolerate fields that newer kernels add.
package procfs
