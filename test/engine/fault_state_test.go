package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrokenState: a file of state that is empty, torn, garbage, too large, not there or a directory is named in a sentence, or healed; the container can be removed, and others do not notice.
func TestBrokenState(t *testing.T) {
	l := newLine(t)
	id := func(name string) string {
		return strings.TrimSpace(l.do("", "inspect", "--format", "{{.ID}}", name).out)
	}
	if r := l.do("", "run", "-d", "--network", "none", "--name", "good", "busybox", "sleep", "1000"); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	damages := map[string]func(path string, data []byte) error{
		"empty":     func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"torn":      func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)/2], 0o600) },
		"garbage":   func(path string, _ []byte) error { return os.WriteFile(path, []byte("\x00\xff{]\x1b[2J"), 0o600) },
		"no object": func(path string, _ []byte) error { return os.WriteFile(path, []byte("[1]"), 0o600) },
		"huge":      func(path string, _ []byte) error { return os.Truncate(path, 1<<40) },
		"absent":    func(path string, _ []byte) error { return os.Remove(path) },
		"directory": func(path string, _ []byte) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		},
	}
	for _, file := range []string{"root/containers/ID/container.json", "root/containers/ID/state.json", "root/names/bad", "run/ID/monitor.json", "run/ID/config.json", "run/runtime/ID/journal", "run/events/log"} {
		for kind, damage := range damages {
			for _, state := range []string{"running", "created"} {
				first := []string{"create"}
				if state == "running" {
					first = []string{"run", "-d"}
				}
				if r := l.do("", append(first, "--network", "none", "--name", "bad", "busybox", "sleep", "1000")...); r.code != 0 {
					t.Fatalf("%s %s %s: %+v", file, kind, state, r)
				}
				bad := id("bad")
				path := filepath.Join(l.dir, strings.ReplaceAll(file, "ID", bad))
				data, err := os.ReadFile(path)
				if err != nil {
					l.do("", "rm", "-f", bad)
					continue // there is no such file of one that is not started
				}
				if err := damage(path, data); err != nil {
					t.Fatal(err)
				}
				for _, args := range [][]string{{"ps"}, {"ps", "-a"}, {"inspect", bad}, {"logs", bad}, {"start", bad}, {"exec", "good", "true"}, {"inspect", "good"}, {"system", "check"}, {"stop", "-t", "0", bad}, {"rm", "-f", bad}} {
					r := l.do("", args...)
					own := args[len(args)-1] == bad && args[0] != "rm" || args[0] == "system" && strings.Contains(r.out, "container "+bad[:12])
					if strings.Contains(r.problems, "goroutine ") || r.code != 0 && !own || strings.Contains(r.problems, "\x1b") {
						t.Errorf("%s %s %s: %v: %+v", file, kind, state, args, r)
					}
					if args[0] == "ps" && !strings.Contains(r.out, "good") {
						t.Errorf("%s %s %s: %v: the other one is not seen: %+v", file, kind, state, args, r)
					}
				}
				if out := l.do("", "ps", "-aq", "--no-trunc").out; strings.Contains(out, bad) {
					t.Fatalf("%s %s %s: it is still there", file, kind, state)
				}
				if _, err := os.Stat(path); err == nil && strings.Contains(file, "ID") {
					t.Errorf("%s %s %s: left", file, kind, state)
				}
				if strings.HasPrefix(file, "run/events") {
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}
