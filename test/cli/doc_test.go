// Package cli tests the command `bulkhead` as its users have it: the real program, a real registry on loopback (Debian's docker-registry), images made of busybox,
// and skopeo and Podman as the peers that read what it writes and write what it reads.
//
//	go test ./test/cli                                 # or: make test-cli
//
// Each test has an engine root, a home and credentials of its own. What a terminal would show is read from a pseudo-terminal. Nothing leaves this machine. What is
// not installed skips its part, unless BULKHEAD_TEST_STRICT=1; but Docker's own command, beside which flags, output and statuses are compared, is used where it is.
package cli
