// Package cgroup holds tests that see each limit of a container bite: from inside real containers, and against the kernel's own counters.
//
// A test makes a bundle (a box), runs bulkhead-runtime on it, and puts a load into it that the limit has to hold back; the same load would
// run free without the limit, so that a limit that is not set fails the test. Time under an emulator is uneven: tests compare counters of
// the kernel with one another (CPU time with periods, bytes with the clock that throttles them), never the wall clock with a figure.
//
// The load is this test program itself, started in the container under the name "inside", so nothing but the runtime and its systemd helper
// is needed; they are taken from the directory BULKHEAD_TEST_BIN, or built. On a machine with systemd every limit is tried both ways, by
// writing the control files and through a transient unit (--systemd-cgroup). What the machine lacks (a controller, swap, huge pages, a disk
// below the temporary directory) skips, but fails where BULKHEAD_TEST_VM=1 says that the machine is the lab's and must have it.
package cgroup
