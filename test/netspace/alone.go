package netspace

import (
	"fmt"
	"os"
	"runtime"

	"github.com/bulkhead-engine/bulkhead/internal/linux/netlink"
	"golang.org/x/sys/unix"
)

// alone says that this process is in a network namespace of its own already.
const alone = "BULKHEAD_TEST_ALONE"

// Alone gives the whole test, and what it starts, a network namespace of its own, with a loopback device that is up: engines in it make bridges and rules that the machine never sees.
// It is to be the first thing in TestMain, for the test's program is executed again. Without root nothing happens.
func Alone() {
	if os.Getenv(alone) != "" || os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = up()
	}
	if err == nil {
		err = unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), alone+"=1"))
	}
	fmt.Println("a network namespace for the test:", err)
	os.Exit(1)
}

func up() error {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return netlink.LoopbackUp(fd)
}
