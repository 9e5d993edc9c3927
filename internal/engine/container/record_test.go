package container

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMaking: a command that was killed makes nothing any more, even while its parent has not asked how it ended.
func TestMaking(t *testing.T) {
	if !making(strconv.Itoa(os.Getpid())) {
		t.Error("this process is said to be gone")
	}
	for _, none := range []string{"", "x", "0", "-1", "99999999999"} {
		if making(none) {
			t.Errorf("%q is said to be a process", none)
		}
	}
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(c.Process.Pid)
	alive := making(pid)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, c.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil { // it has ended, and is a zombie
		t.Fatal(err)
	}
	if zombie := making(pid); !alive || zombie {
		t.Errorf("alive: %t, ended: %t", alive, zombie)
	}
	_ = c.Wait()
}
