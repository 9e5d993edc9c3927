package cgroup

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A watcher is an `events` command that runs.
type watcher struct {
	cmd  *exec.Cmd
	path string
}

// start starts the runtime with these arguments, until it ends or the test does.
func (b *box) start(args ...string) *exec.Cmd {
	b.t.Helper()
	cmd, _ := b.launch(args...)
	return cmd
}

func (b *box) launch(args ...string) (cmd *exec.Cmd, output string) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd, files := b.command(ctx, args...)
	b.must(cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	b.t.Cleanup(func() { cancel(); <-done })
	return cmd, files[0].Name()
}

// events starts the command, and returns when it watches.
func (b *box) events(interval string) *watcher {
	b.t.Helper()
	cmd, output := b.launch("events", "--interval", interval, b.id)
	eventually(b.t, "events watches", func() bool { return watches(cmd.Process.Pid) })
	return &watcher{cmd, output}
}

// watches reports whether a process has what it waits for out-of-memory kills with, and waits.
func watches(pid int) bool {
	dir := "/proc/" + itoa(pid) + "/fd"
	names, _ := os.ReadDir(dir)
	for _, n := range names {
		link, _ := os.Readlink(dir + "/" + n.Name())
		if strings.Contains(link, "inotify") || !unified && strings.Contains(link, "oom_control") {
			time.Sleep(20 * time.Millisecond) // between the watch and the first look at the counter
			return true
		}
	}
	return false
}

// line waits for a line with a word in it.
func (w *watcher) line(t *testing.T, word string) (line string) {
	t.Helper()
	eventually(t, "an event with "+word, func() bool {
		data, _ := os.ReadFile(w.path)
		for l := range strings.Lines(string(data)) {
			if strings.Contains(l, word) && strings.HasSuffix(l, "\n") {
				line = l
				return true
			}
		}
		return false
	})
	return line
}
