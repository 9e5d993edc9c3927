// Package registry tests the registry client against real registries on loopback: Debian's docker-registry and distribution v3 (a module of its own in
// ./distribution), with and without TLS, with passwords and with tokens; skopeo is the peer that reads what we pushed and pushes what we read.
//
//	go test ./test/registry                            # or: make test-registry
//	go test ./test/registry -run TestBoth/debian       # one of the two
//
// Each test starts registries of its own, on ports that the kernel chooses, and ends them. CAs, keys, passwords and tokens are made in the test.
// Nothing leaves this machine. A registry that is not installed skips its half, unless BULKHEAD_TEST_STRICT=1.
package registry
