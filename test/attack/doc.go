// Package attack runs real attacks against a real runtime and looks from outside whether they reached anything.
//
//	go test ./test/attack                        # root; builds bulkhead-runtime and attacks it
//	RUNTIME=/usr/sbin/runc go test ./test/attack # attacks another one with runc's command line
//
// The attacker is root inside the container, has every capability that this machine has where a test says so, wrote the image, and
// controls a second container on the same volume. Each test stands for a class of incidents and names them.
//
// A test that no runtime fails tells nothing. Each attack is therefore made twice: against test/attack/careless, a small
// runtime that makes the mistakes of the book, where it has to succeed, and against the runtime under test, where it must not
// (function prove). An attack is a function that returns what it reached; an empty string means nothing.
//
// It needs root, Linux and busybox-static. Whatever a test makes, it removes, and TestMain fails on any process, mount,
// cgroup or state directory of the runtime under test that is left. Other packages' tests do not belong here: whether a runtime
// does what the specification says is test/conformance.
//
// Security: attacks on the careless runtime really succeed. They are aimed at copies and at files of the test, and the one
// switch of the host that they do change (kernel.printk_ratelimit_burst) is put back.
package attack
