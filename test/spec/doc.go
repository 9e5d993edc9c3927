// Package spec holds bulkhead-runtime to the runtime specification, field by field: one test per field of config.md and config-linux.md (1.3)
// runs the real program on a small bundle, and looks from inside the container and from outside whether the field has its effect.
//
//	go test ./test/spec                                 # as root; builds bulkhead-runtime
//	RUNTIME=/usr/local/sbin/bulkhead-runtime go test ./test/spec
//	BULKHEAD_TEST_STRICT=1 go test ./test/spec          # what this machine cannot show fails
//
// A bundle is a static busybox and the program of package inside. Every container has an id that begins with "spec-PID-", a bundle below
// one temporary directory, and a state root of its own. When all tests are done no cgroup with such an id, no mount below that
// directory and no process with its mark may be left; that is the last test.
//
// It is not a conformance suite for other runtimes: where the specification leaves a choice, the tests hold what Bulkhead chose, and say so.
//
// Nothing here touches namespaces, devices or cgroups that the tests did not make themselves. Tests run two at a time.
package spec
