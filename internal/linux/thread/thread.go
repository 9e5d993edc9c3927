// Package thread runs work that changes its thread for good: one that enters namespaces, gives up ids or capabilities, or traces a process.
//
// Such a thread must not serve anybody else afterwards, so it ends with the work: the goroutine is locked to it and never unlocked, and the Go runtime then ends the
// thread instead of reusing it. There is one thread for which that does not hold, the process's first. The Go runtime cannot end it and keeps it for ever as it is: with
// it /proc/PID would show the namespaces of the work as those of the whole process, /proc/self/mountinfo the mounts of another, and what it traces would stay traced.
// Which thread a goroutine runs on is chance. Spend therefore looks, and if the first thread is what it was given, it holds that thread busy and spends another one.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Spend runs f on a thread that nobody uses afterwards and that is not the first of the process, and returns when f does. The thread ends a moment later. Goroutines
// that f starts run elsewhere.
func Spend(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			defer runtime.UnlockOSThread()
			Spend(f) // this thread is taken meanwhile
			return
		}
		f()
	}()
	<-done
}
