package sigpipe

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSignalsArrive(t *testing.T) {
	p, err := Catch(unix.SIGUSR1, unix.SIGUSR2, unix.Signal(40))
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Read(); got != nil {
		t.Fatalf("before any signal: %v", got)
	}
	var stop sync.WaitGroup
	done := make(chan struct{})
	for range 4 { // the runtime is busy on all threads meanwhile
		stop.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					_ = make([]byte, 1<<16)
					runtime.Gosched()
				}
			}
		})
	}
	seen := map[unix.Signal]int{}
	deadline := time.Now().Add(10 * time.Second)
	for i := 0; (i < 300 || len(seen) < 3) && time.Now().Before(deadline); i++ {
		for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, 40} {
			if err := unix.Kill(unix.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.FD()), Events: unix.POLLIN}}, 1000)
		for _, sig := range p.Read() {
			seen[sig]++
		}
	}
	close(done)
	stop.Wait()
	for _, sig := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, 40} {
		if seen[sig] == 0 {
			t.Errorf("signal %d never came: %v", sig, seen)
		}
	}
}

func TestReserved(t *testing.T) {
	if _, err := Catch(unix.SIGSEGV); err == nil {
		t.Error("SIGSEGV was taken from the Go runtime")
	}
	for _, sig := range All() {
		if reserved(sig) {
			t.Errorf("%d is among all", sig)
		}
	}
}
