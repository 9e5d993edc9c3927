package forkexec

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

const orphanage = "BULKHEAD_TEST_ORPHANS"

// TestOrphans: children that were made at the same time end with their parent, whatever each of them inherited of the others.
func TestOrphans(t *testing.T) {
	if os.Getenv(orphanage) != "" {
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if b, err := Begin(0, -1, 3, 40); err == nil {
					<-b.done
				}
			})
		}
		all.Wait()
		os.Exit(0) // and the children wait to be told what they are
	}
	for range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOrphans$")
		cmd.Env = append(os.Environ(), orphanage+"=1")
		out, err := cmd.StdoutPipe() // which the children have, too
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(io.Discard, out)
		}()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("children outlive their parent")
		}
		_ = out.Close()
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}
