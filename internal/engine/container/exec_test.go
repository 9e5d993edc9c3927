package container

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-engine/bulkhead/internal/errdef"
	"github.com/bulkhead-engine/bulkhead/internal/monitor/control"
)

// TestForgetExecs: a script that runs more programs than are kept, one after the other within minutes, goes on; how the last of them ended is known. Programs that have not ended are counted.
func TestForgetExecs(t *testing.T) {
	s := &Service{o: Options{Root: t.TempDir(), Run: t.TempDir()}}
	id := strings.Repeat("ab", 32)
	for _, dir := range []string{s.dir(id), s.execDir(id)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	last := ""
	write := func(n int, ended bool) {
		last = id[:execPrefix] + fmt.Sprintf("%040x", n)
		if err := s.writeExec(&execRecord{ID: last, Container: id, Started: true}); err != nil {
			t.Fatal(err)
		}
		if !ended {
			return
		}
		if err := control.WriteExecEnd(s.runDir(id), last, control.ExecEnd{ExitCode: 7, Finished: time.Now().UTC().Add(time.Duration(n) * time.Millisecond)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range maxExecs {
		write(n, true)
	}
	if err := s.forgetExecs(id); err != nil {
		t.Fatal(err)
	}
	if e, err := s.readExec(last); err != nil || e.ExitCode == nil || *e.ExitCode != 7 {
		t.Errorf("the last that ended: %+v, %v", e, err)
	}
	if _, err := s.readExec(id[:execPrefix] + fmt.Sprintf("%040x", 0)); !errdef.Is(err, errdef.NotFound) {
		t.Errorf("the first that ended: %v", err)
	}
	for n := range maxExecs {
		write(maxExecs+n, false)
	}
	if err := s.forgetExecs(id); !errdef.Is(err, errdef.Unavailable) {
		t.Errorf("%d that have not ended: %v", maxExecs, err)
	}
}
