package thread

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spent runs something for which the thread is of no use afterwards, and returns the thread.
func spent(t *testing.T) int {
	t.Helper()
	var tid int
	var err error
	Spend(func() {
		tid = unix.Gettid()
		err = unix.Setpriority(unix.PRIO_PROCESS, 0, 7) // of the thread (setpriority(2), "C library/kernel differences")
	})
	if err != nil {
		t.Fatal(err)
	}
	return tid
}

func TestSpend(t *testing.T) {
	pid := os.Getpid()
	for range 200 {
		if tid := spent(t); tid == pid {
			t.Fatal("the first thread was spent")
		}
	}
	if prio, err := unix.Getpriority(unix.PRIO_PROCESS, pid); err != nil || prio == 20-7 {
		t.Errorf("the first thread was changed: %d %v", prio, err)
	}
	last := spent(t)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(last)); os.IsNotExist(err) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the thread lives on")
		}
	}
}

// TestFirstThread has Spend called where the scheduler would take the first thread: all others are taken.
func TestFirstThread(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	first := make(chan bool)
	for range 2000 { // until a goroutine runs on the first thread
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			on := unix.Gettid() == unix.Getpid()
			if on {
				first <- true
				Spend(func() { first <- unix.Gettid() != unix.Getpid() })
				return
			}
			first <- false
		}()
		if <-first {
			if !<-first {
				t.Error("the first thread was spent")
			}
			return
		}
	}
}
