package monitor

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// fanOf is a fan that keeps no log, and a way to attach to it.
func fanOf(t *testing.T) (*fan, func(first bool) *control.Conn) {
	t.Helper()
	log, err := openLog(&control.Log{Driver: "none"})
	if err != nil {
		t.Fatal(err)
	}
	f := newFan(log)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return f, func(first bool) *control.Conn {
		t.Helper()
		theirs, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = theirs.Close() })
		ours, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := reply(ours, control.Reply{Ends: true}); err != nil {
			t.Fatal(err)
		}
		c, err := control.Ask(theirs, control.Request{Op: "attach"})
		if err != nil {
			t.Fatal(err)
		}
		if !f.add(ours, first) {
			t.Fatal("the fan takes nobody")
		}
		return c
	}
}

// TestFanStalled: a hundred clients that never read cost a second together, once, and are told that what they have is not all; who reads gets all.
func TestFanStalled(t *testing.T) {
	before := runtime.NumGoroutine()
	f, attach := fanOf(t)
	var stalled []*control.Conn
	for range 100 {
		stalled = append(stalled, attach(false))
	}
	good := attach(false)
	var got bytes.Buffer
	var reading sync.WaitGroup
	var end error
	reading.Go(func() { end = good.Copy(&got, io.Discard) })
	piece := bytes.Repeat([]byte("x"), 32<<10)
	began := time.Now()
	const pieces = 40 // more than the kernel keeps for one who does not read
	for range pieces {
		f.write(1, piece)
	}
	if took := time.Since(began); took > 20*time.Second { // a hundred seconds if each had one of its own
		t.Errorf("output was held up for %s", took)
	}
	if n := f.count(); n != 1 {
		t.Errorf("%d clients are left", n)
	}
	f.close()
	reading.Wait()
	if end != nil || got.Len() != pieces*len(piece) {
		t.Errorf("%d bytes of %d: %v", got.Len(), pieces*len(piece), end)
	}
	for i, c := range stalled {
		if err := c.Copy(io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "the log has what was printed") {
			t.Fatalf("client %d takes what it has for all: %v", i, err)
		}
	}
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// TestFanFirst: the client that started the container holds it up, but not for ever.
func TestFanFirst(t *testing.T) {
	f, attach := fanOf(t)
	f.firstPatience = 1500 * time.Millisecond
	c := attach(true)
	piece := bytes.Repeat([]byte("x"), 32<<10)
	began := time.Now()
	for range 40 {
		f.write(1, piece)
	}
	if took := time.Since(began); took < f.firstPatience || f.count() != 0 {
		t.Errorf("it is let go of after %s; %d clients are left", took, f.count())
	}
	if err := c.Copy(io.Discard, io.Discard); err == nil {
		t.Error("it takes what it has for all")
	}
	// One that reads slowly is waited for, and gets all.
	slow := attach(true)
	done := make(chan int, 1)
	go func() {
		var n counter
		_ = slow.Copy(&n, io.Discard)
		done <- int(n)
	}()
	for range 40 {
		f.write(1, piece)
	}
	f.close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case n := <-done:
		if n != 40*len(piece) {
			t.Errorf("%d bytes of %d", n, 40*len(piece))
		}
	case <-ctx.Done():
		t.Error("it does not end")
	}
}

// counter reads slowly.
type counter int

func (c *counter) Write(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	*c += counter(len(p))
	return len(p), nil
}
