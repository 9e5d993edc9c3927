package image

import (
	"bytes"
	"context"
	"testing"
)

// TestWorkerTakenOver: a worker that runs the attacker's code reaches no file, network, process or namespace outside, makes no other system call than those
// of the list, and gets nothing out of the engine but device nodes in the layer's directory, which it cannot open.
func TestWorkerTakenOver(t *testing.T) {
	s := newSite(t, "layerworker")
	before := s.outside(t)
	_, err := s.run(t, &attack{data: bytes.Repeat([]byte{0}, 1024)})
	if err == nil || err.Error() != "nothing" {
		t.Errorf("it reached: %v", err)
	}
	if after := s.outside(t); after != before {
		t.Errorf("outside changed:\n%s\nwas\n%s", after, before)
	}
}

// TestWorkerThatIsSilent does not answer: a request ends with its context all the same.
func TestWorkerThatIsSilent(t *testing.T) {
	s := newSite(t, "layerworker")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.w.Remove(ctx, "0"); err == nil {
		t.Error("it answers")
	}
	if _, err := s.run(t, &attack{}); err == nil {
		t.Error("a worker that was given up still answers")
	}
}
