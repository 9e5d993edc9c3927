// Package conformance runs other people's programs against an OCI runtime and compares what
// they say with a list that is kept true.
//
// Four judges take part:
//
//   - the validation programs of github.com/opencontainers/runtime-tools, built from the module
//     that runtimetools/go.mod pins (a module of its own, so that ours stays light);
//   - Podman, containerd and Docker as Debian ships them, which drive the runtime the way it is
//     driven in earnest: through conmon, through io.containerd.runc.v2, through dockerd.
//
// The runtime under test is bulkhead-runtime, built from this tree, or the program that the
// environment variable RUNTIME names:
//
//	go test ./test/conformance
//	RUNTIME=/usr/sbin/runc go test ./test/conformance -run 'TestRuntimeTools/delete'
//
// expectations.txt has a line for each validation program that does not pass in every point:
// which point, with which runtime, on which machine, and why. A point that fails without a line
// fails the test, and so does a line whose point passes.
//
// Every judge runs in a cell: PID, mount, IPC, UTS, network and cgroup namespaces of its own,
// with a fresh /run and /dev/shm and a cgroup of its own as the root of every hierarchy. Where
// there is but one hierarchy, of version 2, the cell's processes stand in a leaf below that root,
// which hands all controllers down, as the root of a host does that systemd runs. Fixed
// paths such as /cgrouptest therefore never collide with another run, killing the cell's first
// process ends whatever a judge left running, and mounts that leaked vanish with it. What was
// left is reported all the same.
//
// The cell protects the host from mistakes, not from attacks: judges run as root with every
// capability the caller has. A test of containment belongs in test/attack.
//
// The tests need root. Where a peer is not installed its test is skipped, except with CI=true or BULKHEAD_TEST_STRICT=1,
// where a missing peer is a failure.
package conformance
